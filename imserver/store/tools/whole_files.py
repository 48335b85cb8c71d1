"""Writing files so that they are either there whole or not there at all.

A file is made under a temporary name beside its target, brought to disk, and only then given its
name. What is left of an attempt that was killed ends in `.partial` and may be deleted.

Law: nothing here may open the file of a database that this process serves. Closing any descriptor
of it would drop the locks that SQLite holds on it (POSIX gives them up for the whole process).
"""

from __future__ import annotations

import gzip
import os
import secrets
import zlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, Protocol

from imserver.store.database import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTIAL: Final = ".partial"
SIDE_FILES: Final = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database

GZIP_MAGIC: Final = b"\x1f\x8b"
GZIP_LEVEL: Final = 3  # higher ones take far longer and save a few per cent
_CHUNK: Final = 1 << 20  # bytes


class Progress(Protocol):
    """Is told how long work gets on; what it raises abandons the work."""

    def __call__(self, doing: str, done: int, total: int) -> None:
        """`done` of `total` units of the step called `doing`; a total of 0 is not known."""


def no_progress(doing: str, done: int, total: int) -> None:
    """Tell nobody."""


@contextmanager
def making(target: Path) -> Iterator[Path]:
    """A new, empty file to fill under a temporary name; it becomes `target` when all went well.

    Only its owner may read it. It is on disk under its name when the context is left; where that
    raises, nothing is left behind. An existing `target` is replaced.

    Raises:
        StoreError: it cannot be made; the text says why in one sentence.
    """
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
        yield partial
        flush(partial)
        os.replace(partial, target)
        flush(target.parent)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error
    finally:
        discard(partial)


def discard(database: Path) -> None:
    """Delete a file and what SQLite may have left beside it."""
    for suffix in ("", *SIDE_FILES):
        with suppress(OSError):
            os.unlink(f"{database}{suffix}")


def flush(path: Path) -> None:
    """Bring a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def is_compressed(path: Path) -> bool:
    """Whether a file is one that `compress` made."""
    with path.open("rb") as file:
        return file.read(len(GZIP_MAGIC)) == GZIP_MAGIC


def compress(source: Path, target: Path, progress: Progress) -> None:
    """Fill `target` with `source` as gzip, and read it again to see that it is whole.

    Raises:
        StoreError: it does not read back.
    """
    size = source.stat().st_size
    done = 0
    with (
        source.open("rb") as plain,
        target.open("wb") as file,
        gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as packed,
    ):
        while chunk := plain.read(_CHUNK):
            packed.write(chunk)
            done += len(chunk)
            progress("compressing", done, size)
    read = 0
    for chunk in _unpacked(target):  # compared with gzip's own checksum on the way
        read += len(chunk)
        progress("verifying what was compressed", read, size)
    if read != done:
        raise StoreError(f"{target} does not hold what was written to it")


def decompress(source: Path, target: Path, progress: Progress) -> None:
    """Fill `target` with what a compressed file holds.

    Raises:
        StoreError: the file is damaged or not whole.
    """
    done = 0
    with target.open("wb") as plain:
        for chunk in _unpacked(source):
            plain.write(chunk)
            done += len(chunk)
            progress("decompressing", done, 0)


def _unpacked(path: Path) -> Iterator[bytes]:
    with gzip.open(path) as packed:
        try:
            while chunk := packed.read(_CHUNK):
                yield chunk
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise StoreError(f"{path} is damaged or not whole: {error}") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from error

"""Writing files so that they are either there whole or not there at all.

A file is made under a temporary name beside its target, brought to disk, and only then given its
name. What is left of an attempt that was killed ends in `.partial` and may be deleted.

Laws:

- What is made never takes the place of the database that it is made of.
- Nothing here may open the file of a database that this process serves. Closing any descriptor of
  it would drop the locks that SQLite holds on it (POSIX gives them up for the whole process).
"""

from __future__ import annotations

import gzip
import os
import secrets
import zlib
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final, Protocol

from imserver.store.database import StoreError
from imserver.store.ownership import as_owner_of, make_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARTIAL: Final = ".partial"
SIDE_FILES: Final = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database
_OF_DATABASE: Final = ("", *SIDE_FILES, ".lock")

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
    raises, nothing is left behind. An existing `target` is replaced. Meanwhile root works as the
    owner of the folder (see `ownership`), so what is read must be open before.

    Raises:
        StoreError: it cannot be made; the text says why in one sentence.
    """
    partial = target.with_name(f"{target.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with as_owner_of(target.parent):
            try:
                make_file(partial)
                yield partial
                flush(partial)
                os.replace(partial, target)
                flush(target.parent)
            finally:
                discard(partial)
    except OSError as error:
        raise StoreError(f"cannot write {target}: {error.strerror or error}") from error


@contextmanager
def passing(beside: Path) -> Iterator[Path]:
    """A new, empty file beside another, gone when the context is left; see `making`.

    Raises:
        StoreError: it cannot be made.
    """
    path = beside.with_name(f"{beside.name}.{secrets.token_hex(4)}{PARTIAL}")
    try:
        with as_owner_of(path.parent):
            try:
                make_file(path)
                yield path
            finally:
                discard(path)
    except OSError as error:
        raise StoreError(f"cannot write {path}: {error.strerror or error}") from error


def must_not_be(target: Path, database: Path) -> None:
    """Refuse a place for something new that is a database, or belongs to it, by whatever name.

    Raises:
        StoreError: it is.
    """
    whole = database.resolve()
    own = [whole.with_name(f"{whole.name}{each}") for each in _OF_DATABASE]
    place = target.parent.resolve() / target.name
    if place in own or any(_is_same(target, each) for each in own):
        raise StoreError(f"{target} is {database} itself, or belongs to it")


def must_not_be_descriptor(file: IO[bytes], database: Path) -> None:
    """Refuse an open file that is a database, or belongs to it; see `must_not_be`.

    Raises:
        StoreError: it is.
    """
    try:
        found = os.fstat(file.fileno())
    except OSError:  # no file of the system
        return
    for each in _OF_DATABASE:
        with suppress(OSError):
            if os.path.samestat(found, os.stat(f"{database}{each}")):
                raise StoreError(f"standard output is the database {database}, or belongs to it")


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


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


def is_compressed(file: IO[bytes]) -> bool:
    """Whether a file is one that `compress` made; afterwards it stands at its beginning."""
    found = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
    file.seek(0)
    return found


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
    for chunk in _unpacked(target, target):  # compared with gzip's own checksum on the way
        read += len(chunk)
        progress("verifying what was compressed", read, size)
    if read != done:
        raise StoreError(f"{target} does not hold what was written to it")


def decompress(source: IO[bytes], name: Path, target: Path, progress: Progress) -> None:
    """Fill `target` with what a compressed file holds; `name` is what messages call it.

    Raises:
        StoreError: the file is damaged or not whole.
    """
    done = 0
    with target.open("wb") as plain:
        for chunk in _unpacked(source, name):
            plain.write(chunk)
            done += len(chunk)
            progress("decompressing", done, 0)


def _unpacked(file: Path | IO[bytes], path: Path) -> Iterator[bytes]:
    with gzip.open(file) as packed:
        try:
            while chunk := packed.read(_CHUNK):
                yield chunk
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise StoreError(f"{path} is damaged or not whole: {error}") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error.strerror or error}") from error

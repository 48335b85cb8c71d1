"""Contents on the disk, named by their SHA-256 and stored once.

Laws:

- No name that a user gave is ever a part of a path; contents are `<2 digits>/<digest>`.
- A content is whole or not there: it is written beside, synced, and renamed. What an end without
  order left of one is deleted at the next start.
- Files are for the server's own account alone (0600, folders 0700).
"""

from __future__ import annotations

import os
import re
import shutil
from contextlib import suppress
from hashlib import sha256
from secrets import token_hex
from typing import TYPE_CHECKING, Final, NamedTuple

from imserver.store.ownership import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_DIGEST: Final = re.compile("[0-9a-f]{64}")
_PARTIAL: Final = "incoming"  # the folder of what is not whole yet
PICTURES: Final = ("thumbnail", "preview")
_PREVIEWS: Final = "pictures"  # the folder of what was made of pictures
_COPY: Final = 1024 * 1024  # bytes at once
HEAD_BYTES: Final = 16 * 1024  # by which a type is told


class Written(NamedTuple):
    """A content that is whole."""

    digest: str  # SHA-256, in hexadecimal
    size: int
    head: bytes  # the first of it


class Incoming:
    """A content under way. Its methods wait for the disk: call them in a worker thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open(  # noqa: SIM115 - closed by `keep` and `drop`
            os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600), "w+b", 0
        )
        self._hash = sha256()
        self._head = bytearray()
        self.size = 0

    @property
    def path(self) -> Path:
        """Where it is until it is whole."""
        return self._path

    def write(self, data: bytes) -> None:
        """Add to it.

        Raises:
            OSError: the disk is full, or fails.
        """
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._hash.update(data)
        if len(self._head) < HEAD_BYTES:
            self._head += data[: HEAD_BYTES - len(self._head)]
        self.size += len(data)

    def finish(self) -> Written:
        """Bring it to the disk.

        Raises:
            OSError: that failed.
        """
        os.fsync(self._file.fileno())
        self._file.close()
        return Written(self._hash.hexdigest(), self.size, bytes(self._head))

    def beside(self, kind: str) -> Path:
        """Where what is made of it is, until it is kept."""
        return self._path.with_name(f"{self._path.name}.{kind}")

    def look_again(self) -> Written:
        """What it is after somebody has changed it, brought to the disk.

        Raises:
            OSError: that failed.
        """
        found = sha256()
        size = 0
        with self._path.open("r+b") as file:
            while data := file.read(_COPY):
                found.update(data)
                size += len(data)
            os.fsync(file.fileno())
        return Written(found.hexdigest(), size, bytes(self._head))

    def drop(self) -> None:
        """Give it up; one that was kept stays."""
        with suppress(OSError):
            self._file.close()
        for path in (self._path, *map(self.beside, PICTURES)):
            path.unlink(missing_ok=True)


class Contents:
    """The folder of contents."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def prepare(self) -> None:
        """Make the folder, and delete what is left of uploads that were cut short.

        Raises:
            OSError: it cannot be made.
        """
        make_folder(self.folder)
        make_folder(self.folder / _PREVIEWS)
        shutil.rmtree(self.folder / _PARTIAL, ignore_errors=True)
        make_folder(self.folder / _PARTIAL)

    def begin(self) -> Incoming:
        """A new content.

        Raises:
            OSError: it cannot be made.
        """
        return Incoming(self.folder / _PARTIAL / token_hex(16))

    def keep(self, incoming: Incoming, digest: str) -> None:
        """Give a content that is finished its place; one that is there already stays.

        Raises:
            OSError: that failed.
        """
        target = self.path(digest)
        if target.exists():
            incoming.drop()
            return
        make_folder(target.parent)
        os.replace(incoming.path, target)
        for folder in (target.parent, self.folder):
            _sync_folder(folder)

    def path(self, digest: str) -> Path:
        """Where a content is, if it is there."""
        assert _DIGEST.fullmatch(digest), "only a digest names a content"
        return self.folder / digest[:2] / digest

    def picture_path(self, digest: str, kind: str) -> Path:
        """Where a `thumbnail` or a `preview` of a picture is, if it is there."""
        assert _DIGEST.fullmatch(digest)
        assert kind in PICTURES
        return self.folder / _PREVIEWS / f"{digest}.{kind}"

    def delete(self, digest: str) -> None:
        """Delete a content and what was made of it.

        Raises:
            OSError: that failed.
        """
        self.path(digest).unlink(missing_ok=True)
        for kind in PICTURES:
            self.picture_path(digest, kind).unlink(missing_ok=True)

    def digests(self) -> Iterator[str]:
        """All contents there are."""
        for path in self.folder.glob("[0-9a-f][0-9a-f]/*"):
            if _DIGEST.fullmatch(path.name) and path.parent.name == path.name[:2]:
                yield path.name

    def foreign(self) -> Iterator[Path]:
        """What is in the folder and is no content of ours."""
        for path in self.folder.glob("*/*"):
            if path.parent.name in (_PARTIAL, _PREVIEWS):
                continue
            if not _DIGEST.fullmatch(path.name) or path.parent.name != path.name[:2]:
                yield path

    def is_sound(self, digest: str) -> bool:
        """Whether a content is what its name says.

        Raises:
            OSError: it cannot be read.
        """
        found = sha256()
        with self.path(digest).open("rb") as file:
            while data := file.read(_COPY):
                found.update(data)
        return found.hexdigest() == digest


def mirror(source: Contents, target: Contents) -> int:
    """Copy contents that a mirror lacks, each whole and synced; says how many those were.

    Raises:
        OSError: one could not be copied; those before it are.
    """
    target.prepare()
    copied = 0
    for digest in source.digests():
        if target.path(digest).exists():
            continue
        incoming = target.begin()
        try:
            with source.path(digest).open("rb") as file:
                while data := file.read(_COPY):
                    incoming.write(data)
            if incoming.finish().digest == digest:  # else it is damaged, and `check` says so
                target.keep(incoming, digest)
                copied += 1
        except FileNotFoundError:  # it was deleted meanwhile
            pass
        finally:
            incoming.drop()
    return copied


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

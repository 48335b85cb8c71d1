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
    from collections.abc import Callable, Iterator
    from pathlib import Path

FOLDER: Final = "files"  # in the folder of all data
_DIGEST: Final = re.compile("[0-9a-f]{64}")
_PARTIAL: Final = "incoming"  # the folder of what is not whole yet
PICTURES: Final = ("thumbnail", "preview")
_UPLOADS: Final = "uploads"  # the folder of uploads that may be gone on with
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

    def __init__(self, path: Path, *, again: bool = False) -> None:
        self._path = path
        flags = os.O_RDWR | os.O_CLOEXEC | (0 if again else os.O_CREAT | os.O_EXCL)
        self._file = open(os.open(path, flags, 0o600), "r+b", 0)  # noqa: SIM115 - see `drop`
        self._hash = sha256()
        self._head = bytearray()
        self.size = 0

    @property
    def path(self) -> Path:
        """Where it is until it is whole."""
        return self._path

    def go_to_end(self) -> None:
        """Write behind what is there."""
        self.size = self._file.seek(0, os.SEEK_END)

    def take_in(self) -> None:
        """Look at all that is there, as if it had just come.

        Raises:
            OSError: it cannot be read.
        """
        while data := self._file.read(_COPY):
            self._note(data)

    def write(self, data: bytes) -> None:
        """Add to it.

        Raises:
            OSError: the disk is full, or fails.
        """
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]
        self._note(data)

    def _note(self, data: bytes) -> None:
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

    def pause(self) -> None:
        """Bring what has come to the disk; it is gone on with later.

        Raises:
            OSError: that failed.
        """
        os.fsync(self._file.fileno())
        self._file.close()

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
        make_folder(self.folder / _UPLOADS)
        shutil.rmtree(self.folder / _PARTIAL, ignore_errors=True)
        make_folder(self.folder / _PARTIAL)

    def begin(self) -> Incoming:
        """A new content.

        Raises:
            OSError: it cannot be made.
        """
        return Incoming(self.folder / _PARTIAL / token_hex(16))

    # -- uploads that may be cut off and gone on with --------------------------------------------

    def _upload(self, upload_id: str) -> Path:
        assert upload_id.isascii()
        assert upload_id.replace("_", "").isalnum()
        return self.folder / _UPLOADS / upload_id

    def note(self, upload_id: str, note: bytes) -> None:
        """Begin an upload, and keep what is to be known of it.

        Raises:
            OSError: that failed.
        """
        Incoming(self._upload(upload_id)).pause()
        incoming = Incoming(self._upload(f"{upload_id}_note"))
        incoming.write(note)
        incoming.pause()

    def notes(self) -> list[bytes]:
        """What was noted of all uploads.

        Raises:
            OSError: it cannot be read.
        """
        return [path.read_bytes() for path in (self.folder / _UPLOADS).glob("*_note")]

    def upload_size(self, upload_id: str) -> int:
        """How much of an upload has come.

        Raises:
            OSError: it is not there.
        """
        return self._upload(upload_id).stat().st_size

    def go_on(self, upload_id: str) -> Incoming:
        """An upload, to be added to.

        Raises:
            OSError: it is not there.
        """
        incoming = Incoming(self._upload(upload_id), again=True)
        incoming.go_to_end()
        return incoming

    def whole(self, upload_id: str) -> Incoming:
        """An upload that has come whole.

        Raises:
            OSError: it cannot be read.
        """
        incoming = Incoming(self._upload(upload_id), again=True)
        incoming.take_in()
        return incoming

    def drop_upload(self, upload_id: str) -> None:
        """Forget an upload.

        Raises:
            OSError: that failed.
        """
        for path in (self.folder / _UPLOADS).glob(f"{upload_id}*"):
            path.unlink(missing_ok=True)

    # -- contents that are whole -----------------------------------------------------------------

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
            if path.parent.name in (_PARTIAL, _PREVIEWS, _UPLOADS):
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


def mirror(source: Contents, target: Contents, look_up: Callable[[], None] = lambda: None) -> int:
    """Copy contents that a mirror lacks, each whole and synced; says how many those were.

    `look_up` is called between pieces, and may raise to end it. A content in the mirror is as old
    as the last time that its source had it: see `thin_out`.

    Raises:
        OSError: one could not be copied; those before it are.
    """
    target.prepare()
    copied = 0
    for digest in source.digests():
        look_up()
        if target.path(digest).exists():
            os.utime(target.path(digest))
            continue
        incoming = target.begin()
        try:
            with source.path(digest).open("rb") as file:
                while data := file.read(_COPY):
                    incoming.write(data)
                    look_up()
            if incoming.finish().digest == digest:  # else it is damaged, and `check` says so
                target.keep(incoming, digest)
                copied += 1
        except FileNotFoundError:  # it was deleted meanwhile
            pass
        finally:
            incoming.drop()
    return copied


def thin_out(target: Contents, before: float) -> None:
    """Delete what a mirror's source has not had since a time, in seconds since the epoch.

    Raises:
        OSError: that failed.
    """
    for digest in list(target.digests()):
        if target.path(digest).stat().st_mtime < before:
            target.delete(digest)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

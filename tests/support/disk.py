"""A disk that fails on command: a VFS of SQLite's that stands before the real one.

While a `Disk` is mounted, every file that SQLite opens in this process is on it. Calls are counted,
and the one that a fault was armed for fails, alone or with all that follow until `heal`.

It also knows what a power cut would leave: what was synced, and of the rest whatever the caller
likes. A sync that fails loses what it should have kept, as Linux does it: the next one succeeds
and says nothing of that.
"""

from __future__ import annotations

import os
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import apsw

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from random import Random


class Fault(NamedTuple):
    """What fails, and how."""

    call: str  # the VFS method
    code: int  # the extended result that SQLite is given
    half: bool = False  # half of what is written gets there before


FAULTS = {
    "write": Fault("xWrite", apsw.SQLITE_IOERR_WRITE),
    "full": Fault("xWrite", apsw.SQLITE_FULL),
    "short write": Fault("xWrite", apsw.SQLITE_FULL, half=True),
    "sync": Fault("xSync", apsw.SQLITE_IOERR_FSYNC),
    "read": Fault("xRead", apsw.SQLITE_IOERR_READ),
    "size": Fault("xFileSize", apsw.SQLITE_IOERR_FSTAT),
    "truncate": Fault("xTruncate", apsw.SQLITE_IOERR_TRUNCATE),
    "lock": Fault("xLock", apsw.SQLITE_IOERR_LOCK),
    "open": Fault("xOpen", apsw.SQLITE_CANTOPEN),
}


class _Medium:
    """What of one file is on the platter, and what only the system has."""

    def __init__(self, kept: bytes) -> None:
        self._kept = bytearray(kept)
        self._pending: list[tuple[int, bytes | None]] = []  # None: cut off at this size

    def change(self, offset: int, data: bytes | None) -> None:
        self._pending.append((offset, data))

    def sync(self) -> None:
        for change in self._pending:
            _apply(self._kept, *change)
        self._pending.clear()

    def lose(self) -> None:
        self._pending.clear()

    def after_power_cut(self, luck: Random | None) -> bytes:
        left = bytearray(self._kept)
        for change in self._pending:
            if luck is not None and luck.random() < 0.5:
                _apply(left, *change)
        return bytes(left)


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
        return
    content.extend(bytes(max(0, offset - len(content))))
    content[offset : offset + len(data)] = data


class Disk(apsw.VFS):
    """Owner of what is armed, of the count of calls, and of what a power cut would leave."""

    NAME = "faulty"

    def __init__(self) -> None:
        self._media: dict[str, _Medium] = {}
        self._armed: Fault | None = None
        self._before = 0  # calls that still succeed
        self._lasting = False
        self.struck = 0  # calls that failed since something was armed
        self.calls: Counter[str] = Counter()  # all there were, by method
        super().__init__(self.NAME, "unix")

    def arm(self, fault: Fault, *, after: int = 0, lasting: bool) -> None:
        """Let a call fail when `after` others of its kind were made: that one, or all from it."""
        self._armed, self._before, self._lasting = fault, after, lasting
        self.struck = 0

    def heal(self) -> None:
        """Let everything succeed again."""
        self._armed = None

    def power_cut(self, folder: Path, luck: Random | None = None) -> None:
        """Put the files into `folder` as they would be found after one.

        What was not synced is gone; with `luck`, about half of it is there.
        """
        for path, medium in self._media.items():
            (folder / os.path.basename(path)).write_bytes(medium.after_power_cut(luck))

    def strikes(self, call: str) -> Fault | None:
        """Count a call; returns what becomes of it, if it fails."""
        self.calls[call] += 1
        fault = self._armed
        if fault is None or fault.call != call:
            return None
        if self._before:
            self._before -= 1
            return None
        self.struck += 1
        if not self._lasting:
            self._armed = None
        return fault

    def check(self, call: str) -> None:
        """Count a call.

        Raises:
            apsw.Error: it fails.
        """
        if (fault := self.strikes(call)) is not None:
            raise apsw.exception_for(fault.code)

    def medium(self, path: str) -> _Medium:
        """What is known of a file."""
        if path not in self._media:
            with open(path, "rb") as file:
                self._media[path] = _Medium(file.read())
        return self._media[path]

    # -- what SQLite calls --------------------------------------------------------------------

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> _File:
        self.check("xOpen")
        return _File(self, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        self._media.pop(filename, None)
        super().xDelete(filename, syncdir)

    def excepthook(self, *error: object) -> None:
        """Nobody is to hear of what was ordered."""


class _File(apsw.VFSFile):
    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int]) -> None:
        super().__init__("unix", name, flags)
        self._disk = disk
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        assert path is not None, "a temporary file, where they are to be in memory"
        self._medium = disk.medium(path)

    def xWrite(self, data: bytes, offset: int) -> None:
        if (fault := self._disk.strikes("xWrite")) is not None:
            if fault.half:
                self._write(data[: len(data) // 2], offset)
            raise apsw.exception_for(fault.code)
        self._write(data, offset)

    def _write(self, data: bytes, offset: int) -> None:
        super().xWrite(data, offset)
        self._medium.change(offset, bytes(data))

    def xTruncate(self, size: int) -> None:
        self._disk.check("xTruncate")
        super().xTruncate(size)
        self._medium.change(size, None)

    def xSync(self, flags: int) -> None:
        try:
            self._disk.check("xSync")
        except apsw.Error:
            self._medium.lose()
            raise
        super().xSync(flags)
        self._medium.sync()

    def xRead(self, amount: int, offset: int) -> bytes:
        self._disk.check("xRead")
        return super().xRead(amount, offset)

    def xFileSize(self) -> int:
        self._disk.check("xFileSize")
        return super().xFileSize()

    def xLock(self, level: int) -> None:
        self._disk.check("xLock")
        super().xLock(level)

    def excepthook(self, *error: object) -> None:
        """See `Disk`."""


@contextmanager
def mounted() -> Iterator[Disk]:
    """A sound disk on which everything is that SQLite opens until the context is left."""
    disk = Disk()
    apsw.set_default_vfs(disk.NAME)
    try:
        yield disk
    finally:
        apsw.set_default_vfs("unix")
        disk.unregister()

"""Backups by the clock: one every so often, the oldest deleted when there are too many.

Laws:

- A failure is logged as a warning, tried again, and disturbs nobody.
- Nothing is deleted before its replacement is there and sound, and nothing at all that is not
  named as a backup of ours.
- When the next one is due is said by the names of those that are there: a restart changes nothing.
- The names sort by time: it is UTC.
"""

from __future__ import annotations

import logging
import re
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import trio

from imserver.store.database import StoreError
from imserver.store.files.contents import FOLDER, Contents, mirror, thin_out
from imserver.store.ownership import make_folder
from imserver.store.tools import whole_files as files
from imserver.store.tools.backup import back_up

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

logger = logging.getLogger(__name__)

_NAME: Final = re.compile(r"imserver-(\d{8}T\d{6}Z)\.db(\.gz)?")
_LEFT_OVER: Final = re.compile(_NAME.pattern + r"\.[0-9a-f]{8}(\.db)?" + re.escape(files.PARTIAL))
_TIME: Final = "%Y%m%dT%H%M%SZ"
_MOST_WAIT: Final = 60.0  # seconds until the clock is looked at again: it may be set
_RETRY: Final = 600.0  # seconds until a failed backup is tried again, at the most


def backup_name(now_ms: int, *, compressed: bool) -> str:
    """What a backup made at a time is called."""
    stamp = datetime.fromtimestamp(now_ms / 1000, UTC).strftime(_TIME)
    return f"imserver-{stamp}.db{'.gz' if compressed else ''}"


class Rotation:
    """The scheduled backups of one database. Owner of the files so named in its folder."""

    def __init__(
        self,
        database: Path,
        folder: Path,
        *,
        every: float,
        keep: int,
        compressed: bool,
        clock: Callable[[], int],
    ) -> None:
        self._database = database
        self._folder = folder
        self._every = every  # seconds
        self._keep = keep
        self._compressed = compressed
        self._clock = clock  # milliseconds since the epoch

    async def run(self) -> None:
        """Back up when it is time, until cancelled; the backup under way is then given up."""
        while True:
            try:
                wait = await trio.to_thread.run_sync(self._wait)
                if wait > 0:
                    await trio.sleep(min(wait, _MOST_WAIT))
                    continue
                made = await trio.to_thread.run_sync(self._back_up)
                logger.info("backed up to %s", made)
            except Exception as error:
                expected = isinstance(error, StoreError | OSError)
                logger.warning("the scheduled backup failed: %s", error, exc_info=not expected)
                await trio.sleep(min(self._every, _RETRY))

    # -- in a worker thread -------------------------------------------------------------------

    def _wait(self) -> float:
        """Seconds until the next one is due; none or fewer if it is."""
        now = self._clock() / 1000
        made = [_time(path) for path in self._backups()]
        # One from the future says nothing: the clock was wrong then, or is now.
        last = max((time for time in made if time <= now), default=now - self._every)
        return last + self._every - now

    def _backups(self) -> list[Path]:
        """Those that are there, oldest first."""
        if not self._folder.exists():
            return []
        return sorted(path for path in self._folder.iterdir() if _NAME.fullmatch(path.name))

    def _back_up(self) -> Path:
        make_folder(self._folder)
        for path in self._folder.iterdir():
            if _LEFT_OVER.fullmatch(path.name):  # of a process that was killed
                files.discard(path)
        target = self._folder / backup_name(self._clock(), compressed=self._compressed)
        made = back_up(
            self._database, target, compressed=self._compressed, progress=_check_cancelled
        )
        # Whatever the clock says, the one just made is none of the oldest.
        others = [path for path in self._backups() if path != target]
        for path in others[: max(0, len(others) + 1 - self._keep)]:
            with suppress(FileNotFoundError):
                path.unlink()
        self._copy_files()
        return made.path

    def _copy_files(self) -> None:
        """Bring the mirror of the files' contents up to date; what no backup needs goes."""
        source = Contents(self._database.with_name(FOLDER))
        target = Contents(self._folder / FOLDER)
        if target.folder.is_dir() or any(True for _ in source.digests()):
            mirror(source, target, trio.from_thread.check_cancelled)
            thin_out(target, min(path.stat().st_mtime for path in self._backups()))


def _time(path: Path) -> float:
    found = _NAME.fullmatch(path.name)
    assert found is not None
    return datetime.strptime(found[1], _TIME).replace(tzinfo=UTC).timestamp()


def _check_cancelled(doing: str, done: int, total: int) -> None:
    trio.from_thread.check_cancelled()

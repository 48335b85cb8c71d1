"""Copies of the database, taken beside a running server.

Laws:

- A copy is one moment of the source: all pages are read inside one read transaction. (SQLite's
  online backup without it begins again whenever another process commits: beside a busy server it
  never ends. `VACUUM INTO` would do too, but takes twice as long.)
- A reader keeps the server from reusing its WAL, which grows meanwhile; nobody waits for it. What
  has gathered there is brought into the database by the one who copied, not by the server's next
  commit.
- A copy has no WAL: it is one file, complete in itself. It gets its name only after SQLite has
  found it sound.
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw

from imserver.store import reading
from imserver.store.beside import fold_wal, read_beside
from imserver.store.database import StoreError
from imserver.store.ownership import make_file
from imserver.store.tools import whole_files as files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imserver.store.tools.whole_files import Progress

_PAGES: Final = 1024  # copied between two reports
_INSTRUCTIONS: Final = 1_000_000  # of SQLite's machine between two reports while it verifies


class Backup(NamedTuple):
    """A backup as it was written."""

    path: Path
    size: int  # bytes
    newest_seq: int


def back_up(
    database: Path, target: Path, *, compressed: bool, progress: Progress = files.no_progress
) -> Backup:
    """Copy a database, whether a server is running on it or not; a `target` is replaced.

    Raises:
        StoreError: it cannot be read, or the copy cannot be written; nothing is left behind.
    """
    files.must_not_be(target, database)
    with read_beside(database) as source, files.making(target) as partial:
        if compressed:
            with _second(partial) as plain:
                newest = copy(source, plain, progress)
                files.compress(plain, partial, progress)
        else:
            newest = copy(source, partial, progress)
        size = partial.stat().st_size
    fold_wal(database)
    return Backup(target, size, newest)


def copy(source: apsw.Connection, target: Path, progress: Progress) -> int:
    """Fill an empty file with a sound copy of a database; returns the newest `seq` in it.

    Raises:
        StoreError: the source is damaged, or the disk is full.
    """
    try:
        with closing(apsw.Connection(str(target))) as db:
            # A copy that is not whole is thrown away, so it needs no journal, and it is brought
            # to disk when it is whole.
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")
            _copy_pages(source, db, progress)
            db.execute("PRAGMA journal_mode = DELETE")  # the copied header says WAL
            verify(db, progress)
            return reading.newest_seq(db)
    except apsw.FullError as error:
        raise StoreError(f"cannot write {target}: the disk is full") from error
    except apsw.Error as error:
        raise StoreError(f"cannot copy the database: {error}") from error


def _copy_pages(source: apsw.Connection, target: apsw.Connection, progress: Progress) -> None:
    source.execute("BEGIN")
    try:
        reading.one(source, "SELECT count(*) FROM sqlite_schema")  # this moment
        with target.backup("main", source, "main") as pages:
            while not pages.done:
                pages.step(_PAGES)
                progress("copying", pages.page_count - pages.remaining, pages.page_count)
    finally:
        source.execute("ROLLBACK")


def verify(db: apsw.Connection, progress: Progress) -> None:
    """Let SQLite look at every page.

    Raises:
        StoreError: the database is damaged.
    """
    with reporting(db, "verifying", progress):
        found = reading.one(db, "PRAGMA integrity_check(1)")
    if found[0] != "ok":
        raise StoreError(f"the database is damaged: {' '.join(found[0].split())}")


@contextmanager
def reporting(db: apsw.Connection, doing: str, progress: Progress) -> Iterator[None]:
    """Say now and then that SQLite is at work; what `progress` raises ends the work."""

    def report() -> bool:
        progress(doing, 0, 0)
        return False

    db.set_progress_handler(report, _INSTRUCTIONS)
    try:
        yield
    finally:
        db.set_progress_handler(None)


@contextmanager
def _second(partial: Path) -> Iterator[Path]:
    """A second temporary file, for what is compressed into the first."""
    path = partial.with_name(f"{partial.name.removesuffix(files.PARTIAL)}.db{files.PARTIAL}")
    make_file(path)
    try:
        yield path
    finally:
        files.discard(path)

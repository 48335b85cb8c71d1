"""Putting a backup in the database's place.

Laws:

- Until the one rename that puts it there, the database that is replaced is as it was; afterwards
  it lies beside the new one.
- No WAL of another database may ever lie beside a database: SQLite would apply it.
- Root follows no link and leaves no race: in a folder of another account it is that account.
- What a restore takes away was seen by clients. Its places in the order are not given out again,
  and a cursor among them is refused for ever: `meta` keeps the range.
"""

from __future__ import annotations

import os
import stat
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import IO, TYPE_CHECKING, Final, NamedTuple

import apsw

from imserver.store import queries, reading, schema
from imserver.store.beside import read_beside
from imserver.store.database import StoreError, newer, schema_version, take_lock
from imserver.store.ownership import as_owner_of
from imserver.store.search.parts import index_beside, remove_index
from imserver.store.tools import backup
from imserver.store.tools import whole_files as files
from imserver.store.tools.foreign import strange_schema

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imserver.store.tools.whole_files import Progress

    Source = tuple[Path, apsw.Connection | None, IO[bytes] | None]

# More messages than anyone stores between two backups, and nothing to an id: those have 63 bits.
ASSUMED_LOST: Final = 1_000_000_000
MOST_LOST: Final = 1_000_000_000_000


class Restored(NamedTuple):
    """What a restore came to."""

    newest_seq: int  # in the backup
    next_seq: int  # the place in the order that the next message takes
    kept: Path | None  # where the database is that was replaced


def restore(
    source: Path,
    database: Path,
    *,
    replace: bool,
    lost: int | None = None,
    progress: Progress = files.no_progress,
) -> Restored:
    """Make a backup the database; no server may be running on it.

    Without `replace`, an existing database is refused. `lost` is how many messages were stored
    since the backup was made, at the most (0 to `MOST_LOST`). None: as the database says that is
    replaced, or `ASSUMED_LOST`.

    Raises:
        StoreError: the text says why in one sentence; nothing has changed.
    """
    files.must_not_be(source, database)
    with _opened(source) as (db, packed), as_owner_of(database.parent):
        if db is None and packed is None:
            raise StoreError(f"there is no file {source}")
        return _replace(
            (source, db, packed), database.resolve(), replace=replace, lost=lost, progress=progress
        )


@contextmanager
def _opened(source: Path) -> Iterator[tuple[apsw.Connection | None, IO[bytes] | None]]:
    """A backup: an open database, or an open compressed file, or neither if it is not there."""
    if not source.is_file():
        yield None, None
        return
    try:
        with as_owner_of(source.parent):
            file: IO[bytes] | None = source.open("rb")
        assert file is not None
        if not files.is_compressed(file):
            file.close()
            file = None
    except OSError as error:
        raise StoreError(f"cannot read {source}: {error.strerror}") from error
    if file is not None:
        with file:
            yield None, file
    else:
        with read_beside(source) as db:  # no mere copy of the file: a WAL may lie beside it
            yield db, None


def _replace(
    source: Source, database: Path, *, replace: bool, lost: int | None, progress: Progress
) -> Restored:
    lock = take_lock(database)
    try:
        if database.exists() and not replace:
            raise StoreError(f"{database} exists already")
        with files.making(database) as partial:
            _unpack(source, partial, progress)
            newest = _accept(source[0], partial)
            known = _newest_of(database)
            if lost is not None:
                upto = newest + lost
            else:
                upto = newest + ASSUMED_LOST if known is None else known
            following = _mark_lost(partial, newest, upto)
            keep_mode(database, partial)
            if known is not None:
                _fold(database)
            kept = _keep_aside(database)
        return Restored(newest, following, kept)
    finally:
        os.close(lock)


def _unpack(source: Source, target: Path, progress: Progress) -> None:
    """Fill a new file with what is in a backup, and see that it is sound."""
    name, db, packed = source
    if db is not None:
        backup.copy(db, target, progress)  # verifies it
    elif packed is not None:
        files.decompress(packed, name, target, progress)
        with read_beside(target, called=name) as unpacked:
            backup.verify(unpacked, progress)


def _accept(source: Path, unpacked: Path) -> int:
    """Make sure that it is a database that we know; returns the newest `seq` in it."""
    with read_beside(unpacked, called=source) as db:
        version = schema_version(db)
        if version > schema.VERSION:
            raise newer(source, version)
        strange = strange_schema(db)
        if strange:
            raise StoreError(f"{source} holds what no imserver puts there: {strange[0]}")
        return reading.newest_seq(db)


def _newest_of(database: Path) -> int | None:
    """The newest `seq` in the database that is to be replaced, if it can say."""
    try:
        with read_beside(database) as db:
            return reading.newest_seq(db)
    except StoreError:
        return None


def _mark_lost(partial: Path, newest: int, upto: int) -> int:
    """Keep the places after `newest` up to `upto` from being given out; returns the next one."""
    if upto <= newest:
        return newest + 1
    # One place more: the floor may be a client's cursor from now on, what is lost may not.
    floor = upto + 1
    with closing(apsw.Connection(str(partial))) as db, db:
        db.execute(queries.SET_META, (f"{queries.LOST_AFTER}{newest:020d}", upto))
        db.execute(queries.SET_META, (queries.SEQ_FLOOR, floor))
    return floor + 1


def keep_mode(database: Path, partial: Path) -> None:
    """Give the new file the old one's mode."""
    with suppress(FileNotFoundError):
        os.chmod(partial, stat.S_IMODE(database.stat().st_mode))


def _keep_aside(database: Path) -> Path | None:
    """Give what is there another name too; all that is left of it is ready to be replaced."""
    remove_index(index_beside(database))
    now = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = database.with_name(f"{database.name}.replaced-{now}")
    kept = None
    if database.exists():
        try:
            os.link(database, aside)
        except OSError:  # a file system without links
            database.rename(aside)
        kept = aside
    for suffix in files.SIDE_FILES:
        with suppress(FileNotFoundError):
            os.rename(f"{database}{suffix}", f"{aside}{suffix}")
    return kept


def _fold(database: Path) -> None:
    """Bring the WAL into the file and end it. Not for a damaged one: SQLite may drop its WAL."""
    with suppress(apsw.Error), closing(apsw.Connection(str(database))) as db:
        schema_version(db)  # a connection that has read nothing knows of no WAL
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)

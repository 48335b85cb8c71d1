"""Everything that is kept, as lines of JSON, and back into an empty database.

Rows are streamed: memory is bounded, whatever the size. An export is one moment of the database.
An import makes a new file beside the target, which gets its name only when every rule of `check`
holds.
"""

from __future__ import annotations

import os
import zlib
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING, Any, Final, NamedTuple, Union

import apsw
import msgspec

from imserver.store import reading, runs, schema
from imserver.store.beside import fold_wal, read_beside, require_current, sort_in_files
from imserver.store.database import StoreError, migrate, schema_version, take_lock
from imserver.store.lines import FORMAT, End, Header, Record, Target, UnknownUser
from imserver.store.message_rows import MessageLine
from imserver.store.ownership import as_owner_of
from imserver.store.tools import records
from imserver.store.tools import whole_files as files
from imserver.store.tools.backup import copy
from imserver.store.tools.check import check
from imserver.store.tools.records import KINDS
from imserver.store.tools.restore import keep_mode
from imserver.store.tools.user_export import SELECT_OF_USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from imserver.store.lines import Line
    from imserver.store.tools.whole_files import Progress

_LINES: Final = 1000  # between two reports, and in one transaction

_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(Union[(Header, *KINDS, End)])


class Moved(NamedTuple):
    """What was exported or imported."""

    lines: int
    users: int
    messages: int


@contextmanager
def still(database: Path, progress: Progress = files.no_progress) -> Iterator[apsw.Connection]:
    """A database to read from for as long as anybody likes, without growing a server's WAL.

    It is a copy that nobody else sees, unless the place can only be read: nothing grows there.

    Raises:
        StoreError: it cannot be read, or there is no room for the copy.
    """
    if not os.access(database.parent, os.W_OK):
        with read_beside(database) as db:
            yield db
        return
    with read_beside(database) as db, files.passing(database) as place:
        copy(db, place, progress)
        found = apsw.Connection(str(place), flags=apsw.SQLITE_OPEN_READONLY)
        schema_version(found)  # opened for good, before its name goes
    fold_wal(database)
    with closing(found):
        yield found


def export(
    db: apsw.Connection,
    database: Path,
    out: IO[bytes],
    *,
    version: str,
    now_ms: int,
    user_id: str | None = None,
    progress: Progress = files.no_progress,
) -> Moved:
    """Write all of an open database, or what concerns one user; `database` names it in messages.

    Raises:
        StoreError: it cannot be read, or there is no such user.
        OSError: it cannot be written.
    """
    try:
        return _export(db, database, out, version, now_ms, user_id, progress)
    except apsw.Error as error:
        raise StoreError(f"cannot read {database}: {error}") from error


def _export(
    db: apsw.Connection,
    database: Path,
    out: IO[bytes],
    version: str,
    now_ms: int,
    user_id: str | None,
    progress: Progress,
) -> Moved:
    counts: dict[type[Record], int] = {}
    require_current(db, database)
    sort_in_files(db)
    db.execute("BEGIN")
    args: dict[str, Any] = {}
    meta: dict[str, Any] = {}
    if user_id is None:
        meta = dict(reading.every(db, "SELECT key, value FROM meta", ()))
    else:
        args = {"uid": reading.find_uid(db, user_id), "user": user_id}
        if args["uid"] is None:
            raise StoreError(f"there is no user {user_id!r}")
    header = Header(
        format=FORMAT,
        schema=schema.VERSION,
        version=version,
        exported_ms=now_ms,
        user=user_id,
        meta=meta,
    )
    out.write(_encode(header))
    for kind in KINDS:
        if user_id is not None:
            rows = db.execute(SELECT_OF_USER[kind], args)
            counts[kind] = _write_all(rows, kind, out, 0, progress)
            continue
        total = _total(db, kind)
        counts[kind] = _write_all(db.execute(kind.SELECT), kind, out, total, progress)
        if counts[kind] != total:
            raise StoreError(
                f"{total - counts[kind]} rows of {kind.FROM} in {database} refer to nothing: "
                "see imserver check"
            )
    lines = sum(counts.values()) + 1
    out.write(_encode(End(lines=lines)))
    db.execute("ROLLBACK")
    return Moved(lines + 1, counts[records.UserLine], counts[MessageLine])


def _total(db: apsw.Connection, kind: type[Record]) -> int:
    row = db.execute(f"SELECT count(*) FROM {kind.FROM}").fetchone()
    assert row is not None
    return int(row[0])


def _write_all(
    rows: Iterable[Any], kind: type[Record], out: IO[bytes], total: int, progress: Progress
) -> int:
    doing = f"exporting {_words(kind)}"
    batch: list[bytes] = []
    done = 0
    for done, row in enumerate(rows, 1):
        batch.append(_encode(kind.of(*row)))
        if len(batch) == _LINES:
            out.write(b"".join(batch))
            batch.clear()
            progress(doing, done, total)
    out.write(b"".join(batch))
    return done


def _encode(line: Line) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _words(kind: type[Line]) -> str:
    return f"{kind.__struct_config__.tag}s".replace("_", " ")


def load(
    source: IO[bytes], name: str, database: Path, *, progress: Progress = files.no_progress
) -> Moved:
    """Make the database of what `export` wrote; `name` is what messages call the source.

    Raises:
        StoreError: a line is wrong, the lines are not whole, or there is a database with anything
            in it already, or the source cannot be read; nothing has changed.
    """
    with as_owner_of(database.parent):
        return _load(source, name, database.resolve(), progress)


def _load(source: IO[bytes], name: str, database: Path, progress: Progress) -> Moved:
    lock = take_lock(database)
    try:
        _require_nothing(database)
        with files.making(database) as partial:
            with closing(apsw.Connection(str(partial))) as db:
                # What goes wrong is thrown away, so nothing need be undone.
                db.execute("PRAGMA journal_mode = OFF")
                db.execute("PRAGMA synchronous = OFF")
                db.execute("PRAGMA foreign_keys = ON")
                migrate(db, schema.VERSION)
                counts = _Loading(db, name).load(source, progress)
            for finding in check(partial, progress):
                if finding.problems:
                    raise StoreError(f"{name} breaks a law: {finding.examples[0]}")
            keep_mode(database, partial)
            files.discard(database)  # there was nothing in it
        return counts
    except apsw.Error as error:
        raise StoreError(f"cannot write {database}: {error}") from error
    finally:
        os.close(lock)


def _require_nothing(database: Path) -> None:
    if not database.exists():
        return
    with read_beside(database) as db:
        require_current(db, database)
        if any(_total(db, kind) for kind in KINDS) or reading.newest_seq(db):
            raise StoreError(f"{database} exists already, and is not empty")


class _Loading:
    """One import. Owner of what is known about the lines so far."""

    def __init__(self, db: apsw.Connection, name: str) -> None:
        self._db = db
        self._target = Target(db)
        self._name = name
        self._number = 0  # of the line under way
        self._whole = False
        self._counts = dict.fromkeys((records.UserLine, MessageLine), 0)

    def load(self, source: IO[bytes], progress: Progress) -> Moved:
        """Put every line into the database.

        Raises:
            StoreError: naming the line that is wrong.
        """
        self._db.execute("BEGIN")
        for line in self._lines(source):
            self._number += 1
            try:
                self._take(_decoder.decode(line))
            except (UnknownUser, apsw.ConstraintError, msgspec.DecodeError, OverflowError) as error:
                raise self._wrong(str(error)) from error
            if self._number % _LINES == 0:
                self._db.execute("COMMIT; BEGIN")
                progress("importing", self._number, 0)
        if not self._whole:
            raise StoreError(f"{self._name} is not whole: its last line is missing")
        runs.note_all(self._db)
        self._db.execute("COMMIT")
        return Moved(self._number, self._counts[records.UserLine], self._counts[MessageLine])

    def _lines(self, source: IO[bytes]) -> Iterator[bytes]:
        try:
            while line := source.readline():
                yield line
        except (OSError, EOFError, zlib.error) as error:
            raise StoreError(f"cannot read {self._name}: {error}") from error

    def _take(self, line: Line) -> None:
        if self._whole:
            raise self._wrong("the end came before it")
        if isinstance(line, Header) is not (self._number == 1):
            raise self._wrong("the header is the first line, and no other is")
        match line:
            case Header():
                self._begin(line)
            case Record():
                line.put(self._target)
                if type(line) in self._counts:
                    self._counts[type(line)] += 1
            case End():
                if line.lines != self._number - 1:
                    raise self._wrong(f"{line.lines} lines should be before it")
                self._whole = True

    def _begin(self, header: Header) -> None:
        if header.format != FORMAT or header.schema > schema.VERSION:
            raise StoreError(f"{self._name} was written by another imserver ({header.version})")
        if header.user is not None:
            raise StoreError(f"{self._name} is about one user only, and cannot be imported")
        for item in header.meta.items():
            self._target.put("meta (key, value)", *item)

    def _wrong(self, what: str) -> StoreError:
        return StoreError(f"{self._name}, line {self._number}: {what}")

"""The index's file: full-text tables, each for a stretch of the one order.

Laws:

- A part covers `PART` places, so that what one question or one removal costs is bounded, and a part
  of which not enough is known is built again alone. Its messages are in it up to `upto`.
- All that is in the file is as it was at one moment, `as_of`: the place of the newest message then.
- The tables hold no text, and what is removed is overwritten: with `secure-delete` in the words'
  lists, with `secure_delete` in the file's pages.
- The file may be deleted at any time. One that is damaged, of another version or of another
  database is.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import apsw

from imserver.store.ownership import make_file
from imserver.store.search import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from imserver.store.search.documents import Document

PART: Final = 100_000  # places
_APPLICATION_ID: Final = 0x494D5332  # "IMS2"
_VERSION: Final = 1000 + words.VERSION  # of the tables below, and of what is put into them
_BUSY_TIMEOUT_MS: Final = 2_000
_TABLES: Final = """
    CREATE TABLE part (
        number INTEGER PRIMARY KEY,
        upto INTEGER NOT NULL,          -- the place up to which its messages are in it
        earliest_ms INTEGER NOT NULL,   -- when the oldest and the newest of them were sent
        latest_ms INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE state (
        key TEXT PRIMARY KEY,
        value INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
"""
_CREATE_PART: Final = """
    CREATE VIRTUAL TABLE words_{0} USING fts5(
        text, name, facet, content='', tokenize="unicode61 remove_diacritics 0"
    );
    INSERT INTO words_{0}(words_{0}, rank) VALUES('secure-delete', 1);
"""
_SET_STATE: Final = "INSERT OR REPLACE INTO state (key, value) VALUES (?, ?)"
_PUT_PART: Final = (
    "INSERT OR REPLACE INTO part (number, upto, earliest_ms, latest_ms) VALUES (?, ?, ?, ?)"
)
_NEVER_MS: Final = 2**62


class Part(NamedTuple):
    """One stretch of the order, and how far it is indexed."""

    number: int
    upto: int
    earliest_ms: int
    latest_ms: int

    @property
    def first(self) -> int:
        """The first place of it."""
        return self.number * PART

    @property
    def last(self) -> int:
        """The last place of it."""
        return self.first + PART - 1


def empty_part(number: int) -> Part:
    """A part of which nothing is indexed."""
    return Part(number, number * PART - 1, _NEVER_MS, -_NEVER_MS)


def part_of(seq: int) -> int:
    """The number of the part that a place is in."""
    return seq // PART


class IndexFile:
    """The open file. Owner of the connection that writes and of the idle ones that read."""

    def __init__(self, path: Path, database: Path) -> None:
        self.path = path
        self._database = database
        self._lock = Lock()
        self._idle: list[apsw.Connection] = []
        self._closed = False
        self.parts: dict[int, Part] = {}
        self.as_of = 0
        self._db = self._open()
        self._file = os.stat(path).st_ino
        self.clean = self._state("clean") == 1  # it was closed in order
        self._db.execute(_SET_STATE, ("clean", 0))

    def _open(self) -> apsw.Connection:
        identity = os.stat(self._database).st_ino
        with suppress(apsw.Error):
            if self.path.exists():
                db = self._connect()
                if (
                    _pragma(db, "application_id") == _APPLICATION_ID
                    and _pragma(db, "user_version") == _VERSION
                    and self._begin(db)["database"] == identity
                ):
                    return db
                db.close()
        remove_index(self.path)
        db = self._connect()
        with db:
            db.execute(_TABLES)
            db.execute(_SET_STATE, ("database", identity))
            db.execute(_SET_STATE, ("as_of", 0))
            db.execute(_SET_STATE, ("clean", 1))
            db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {_VERSION}")
        self._begin(db)
        return db

    def _begin(self, db: apsw.Connection) -> dict[str, int]:
        state: dict[str, Any] = dict(db.execute("SELECT key, value FROM state"))
        rows: Any = db.execute("SELECT number, upto, earliest_ms, latest_ms FROM part")
        self.parts = {row[0]: Part(*row) for row in rows}
        self.as_of = state["as_of"]
        return state

    def _connect(self) -> apsw.Connection:
        if not self.path.exists():
            make_file(self.path)
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        db = apsw.Connection(str(self.path), flags=flags)
        try:
            db.set_busy_timeout(_BUSY_TIMEOUT_MS)
            db.execute("PRAGMA secure_delete = ON")
            db.execute("PRAGMA temp_store = MEMORY")
            db.execute("PRAGMA cache_size = -8192")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            db.close()
            raise
        return db

    def _state(self, key: str) -> int | None:
        row: Any = self._db.execute("SELECT value FROM state WHERE key = ?", (key,)).fetchone()
        return None if row is None else row[0]

    @property
    def is_there(self) -> bool:
        """Whether the file that is open is still the one in its folder."""
        try:
            return os.stat(self.path).st_ino == self._file
        except OSError:
            return False

    # -- what the index's own thread does -------------------------------------------------------

    @contextmanager
    def writing(self, as_of: int) -> Iterator[None]:
        """One transaction; afterwards the index is as of a newest place.

        Raises:
            apsw.Error: nothing has changed.
        """
        before = dict(self.parts)
        try:
            with self._db:
                yield
                self._db.execute(_SET_STATE, ("as_of", as_of))
        except BaseException:
            self.parts = before
            raise
        self.as_of = as_of

    def add(self, number: int, documents: Iterable[Document], upto: int | None = None) -> None:
        """Put messages of one part in; the part is indexed up to a place then."""
        part = self.parts.get(number)
        if part is None:
            self._db.execute(_CREATE_PART.format(number))
            part = empty_part(number)
        rows = []
        earliest, latest = part.earliest_ms, part.latest_ms
        for document in documents:
            rows.append((document.seq, *_columns(document)))
            earliest = min(earliest, document.sent_ms)
            latest = max(latest, document.sent_ms)
        if rows:
            self._db.executemany(
                f"INSERT INTO words_{number}(rowid, text, name, facet) VALUES(?, ?, ?, ?)", rows
            )
        self._put(Part(number, part.upto if upto is None else upto, earliest, latest))

    def remove(self, documents: Iterable[Document]) -> None:
        """Take messages out, each as it was put in."""
        for document in documents:
            table = f"words_{part_of(document.seq)}"
            self._db.execute(
                f"INSERT INTO {table}({table}, rowid, text, name, facet)"
                " VALUES('delete', ?, ?, ?, ?)",
                (document.seq, *_columns(document)),
            )

    def holds(self, seq: int) -> bool:
        """Whether the message at a place is in the index, if it was there and of those searched."""
        part = self.parts.get(part_of(seq))
        return part is not None and seq <= part.upto

    def drop(self, number: int) -> None:
        """Forget a part, for it to be built again or because nothing is left in it."""
        self._db.execute(f"DROP TABLE IF EXISTS words_{number}")
        self._db.execute("DELETE FROM part WHERE number = ?", (number,))
        self.parts.pop(number, None)

    def optimize(self, number: int) -> None:
        """Bring the lists of a part together, which makes it smaller and quicker."""
        self._db.execute(f"INSERT INTO words_{number}(words_{number}) VALUES('optimize')")

    def seqs(self, number: int) -> set[int]:
        """The places of all messages in a part."""
        rows: Any = self._db.execute(f"SELECT id FROM words_{number}_docsize")
        return {seq for (seq,) in rows}

    def fold(self, *, truncate: bool) -> None:
        """Bring what gathered in the WAL into the file; with `truncate` leave none of it there."""
        mode = apsw.SQLITE_CHECKPOINT_TRUNCATE if truncate else apsw.SQLITE_CHECKPOINT_PASSIVE
        self._db.wal_checkpoint(mode=mode)

    def _put(self, part: Part) -> None:
        self._db.execute(_PUT_PART, part)
        self.parts[part.number] = part

    def close(self, *, clean: bool) -> None:
        """Close all connections; `clean` says that the index need not be looked through again."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for db in idle:
            db.close()
        if clean:
            with suppress(apsw.Error):
                self._db.execute(_SET_STATE, ("clean", 1))
        self._db.close()

    # -- what searches do, in any thread --------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[View]:
        """The index as it stands at one moment.

        Raises:
            apsw.Error: it cannot be read.
        """
        with self._lock:
            db = self._idle.pop() if self._idle else None
        if db is None:
            db = self._connect()
            db.execute("PRAGMA query_only = ON")
        kept = False
        try:
            db.execute("BEGIN")
            rows: Any = db.execute("SELECT number, upto, earliest_ms, latest_ms FROM part")
            yield View(db, {row[0]: Part(*row) for row in rows})
            db.execute("ROLLBACK")
            with self._lock:
                if not self._closed:
                    self._idle.append(db)
                    kept = True
        finally:
            if not kept:
                db.close()


class View:
    """The index at one moment, for one search."""

    def __init__(self, db: apsw.Connection, parts: dict[int, Part]) -> None:
        self._db = db
        self.parts = parts

    def matches(self, number: int, expression: str, lowest: int, highest: int) -> Iterator[int]:
        """The places in a part that match, between two, both included, newest first."""
        rows: Any = self._db.execute(
            f"SELECT rowid FROM words_{number}(?) WHERE rowid BETWEEN ? AND ? ORDER BY rowid DESC",
            (expression, lowest, highest),
        )
        return (seq for (seq,) in rows)


def _columns(document: Document) -> tuple[str, str, str]:
    return (
        words.prepare(document.content),
        " ".join(words.prepare(name) for name in document.names),
        document.facets,
    )


def _pragma(db: apsw.Connection, name: str) -> int:
    row: Any = db.execute(f"PRAGMA {name}").fetchone()
    return int(row[0])


def remove_index(path: Path) -> None:
    """Delete an index; the server makes another. `path` is its file, which need not be there."""
    for suffix in ("", "-wal", "-shm", "-journal"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def index_beside(database: str | Path) -> Path:
    """Where the index of a database is."""
    path = Path(database)
    return path.with_name("search.db" if path.name == "imserver.db" else f"{path.name}.search")


def matching(terms: str, facets: Sequence[Sequence[str]]) -> str:
    """An expression of the index: the terms, and of each group of facets one."""
    groups = [f"facet : ({' OR '.join(group)})" for group in facets]
    return " AND ".join([f"{{text name}} : ({terms})", *groups] if terms else groups)

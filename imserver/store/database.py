"""Opening the one file: its lock, its pragmas, its migrations, its connections.

One process at a time serves a database: an advisory lock on `<file>.lock` says who. Other
processes may read beside it, as SQLite's WAL allows.

Law: a database has one name. What is newest lies in `<name>-wal`, so whoever opened it by another
hard link would miss that, and both would write to one file.
"""

from __future__ import annotations

import fcntl
import os
import stat
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw

from imserver.store import schema
from imserver.store.ownership import make_file, make_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY: Final = ":memory:"
BUSY_TIMEOUT_MS: Final = 5_000

# What SQLite says when the disk, not the question, is at fault: it may heal by itself.
STORAGE_FAILURES: Final = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.LockedError,
    apsw.NoMemError,
    apsw.NotADBError,
    apsw.ProtocolError,
    apsw.ReadOnlyError,
)


class StoreError(Exception):
    """The database cannot be used; the text is one sentence for the operator."""


class InUseError(StoreError):
    """Another process serves the database, or is at work on it."""


class StoreGoneError(StoreError):
    """The files of an open database are not where they were."""


STORE_FAILURES: Final = (*STORAGE_FAILURES, StoreGoneError)


class Database:
    """An open database. Owns the lock and every connection handed out; `close` ends them all."""

    def __init__(self, path: str, synchronous: str, lock: int | None) -> None:
        self.path = path
        self._synchronous = synchronous
        self._lock = lock
        self._connections: list[apsw.Connection] = []
        self._files: dict[str, tuple[int, int]] = {}  # device and inode of each, by path
        self.writer = self._connect()
        # A database in memory has one connection only; this lock makes the threads take turns.
        self.turn = threading.Lock()

    @property
    def in_memory(self) -> bool:
        """Whether nothing is kept."""
        return self.path == MEMORY

    def sizes(self) -> dict[str, int]:
        """Bytes on disk: of the `database` and of its `wal`; none in memory."""
        if self.in_memory:
            return {}
        found = {}
        for name, path in (("database", self.path), ("wal", f"{self.path}-wal")):
            with suppress(OSError):
                found[name] = os.stat(path).st_size
        return found

    def require_there(self) -> None:
        """Make sure that what is written would be found again: its files are where they were.

        Costs microseconds. The WAL is watched from the first time that it is seen.

        Raises:
            StoreGoneError: one of them was removed, or replaced.
        """
        if self.in_memory:
            return
        for path in (self.path, f"{self.path}-wal"):
            try:
                found = os.stat(path)
            except OSError:
                identity = None
            else:
                identity = found.st_dev, found.st_ino
            if identity is None and path not in self._files and path != self.path:
                continue
            if self._files.setdefault(path, identity or (0, 0)) != identity:
                raise StoreGoneError(f"{path} is not there any more, or is another file")

    def _connect(self, *, read_only: bool = False) -> apsw.Connection:
        flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        connection = apsw.Connection(self.path, flags=flags, statementcachesize=200)
        self._connections.append(connection)
        connection.set_busy_timeout(BUSY_TIMEOUT_MS)
        # Plans must not depend on bound values: SQLite is built with STAT4 here, and would compile
        # a statement anew at nearly every execution with another parameter.
        connection.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA cache_size = -16384")
        connection.execute("PRAGMA temp_store = MEMORY")
        if read_only:
            connection.execute("PRAGMA query_only = ON")
        else:
            # What is deleted is overwritten. It costs sends nothing: they hardly delete.
            connection.execute("PRAGMA secure_delete = ON")
        return connection

    def reader(self) -> apsw.Connection:
        """A connection for reading; in memory, the only one there is."""
        return self.writer if self.in_memory else self._connect(read_only=True)

    def prepare(self) -> None:
        """Set the journal up and bring the schema to this version; a copy is kept first.

        Raises:
            StoreError: not our file, or one of a newer version; nothing was changed.
        """
        db = self.writer
        version = pragma(db, "user_version")
        application = pragma(db, "application_id")
        empty = not pragma(db, "schema_version")
        if not empty and application != schema.APPLICATION_ID:
            raise StoreError(f"{self.path} is not an imserver database")
        if version > schema.VERSION:
            raise newer(self.path, version)
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchall()[0]
        if mode != ("memory" if self.in_memory else "wal"):  # it says no without an error
            raise StoreError(f"{self.path} is where SQLite cannot keep a WAL")
        db.execute(f"PRAGMA synchronous = {self._synchronous}")
        self.require_there()
        if version == schema.VERSION:
            return
        if not empty and not self.in_memory:
            self._keep_copy(version)
        migrate(db, schema.VERSION)

    def fold(self) -> None:
        """Bring what gathered in the WAL into the file, as far as nobody has to wait for it.

        Raises:
            apsw.Error: one of `STORAGE_FAILURES`; all is still in the WAL.
        """
        with suppress(apsw.BusyError):  # another process is at it
            self.writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _keep_copy(self, version: int) -> None:
        copy = f"{self.path}.v{version}"
        partial = f"{copy}.partial"  # of an upgrade that was cut short, if it is there
        with suppress(FileNotFoundError):
            os.unlink(partial)
        try:
            make_file(Path(partial))  # SQLite fills an empty file, and leaves its mode
            self.writer.execute("VACUUM INTO ?", (partial,))
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, copy)
        except OSError as error:
            raise StoreError(f"cannot keep a copy as {copy}: {error.strerror}") from error
        finally:
            with suppress(FileNotFoundError):
                os.unlink(partial)

    def close(self) -> None:
        """Close all connections, the writer last so that it folds the WAL into the file."""
        for connection in reversed(self._connections):
            connection.close()
        self._connections.clear()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def pragma(db: apsw.Connection, name: str) -> int:
    """The value of a pragma that is a number."""
    row = db.execute(f"PRAGMA {name}").fetchone()
    assert row is not None
    return int(row[0])


def migrate(db: apsw.Connection, version: int) -> None:
    """Bring the schema to a version, one transaction for each migration on the way.

    A process that dies on the way leaves the last whole step; whoever opens the file next goes on.
    """
    for number in range(pragma(db, "user_version") + 1, version + 1):
        with db:
            db.execute(schema.MIGRATIONS[number - 1])
            db.execute(f"PRAGMA user_version = {number}")
            db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")


@contextmanager
def open_database(path: str, *, synchronous: str = "FULL") -> Iterator[Database]:
    """Open, lock and migrate the database at `path`, or in memory for `:memory:`.

    Raises:
        StoreError: it cannot be used; the text says why in one sentence.
    """
    lock = None
    if path != MEMORY:
        lock = _lock(Path(path))
    database: Database | None = None
    try:
        database = Database(path, synchronous, lock)
        database.prepare()
    except apsw.Error as error:
        _abandon(database, lock)
        raise StoreError(f"cannot use the database {path}: {error}") from error
    except BaseException:
        _abandon(database, lock)
        raise
    try:
        yield database
    finally:
        database.close()


def schema_version(db: apsw.Connection) -> int:
    """How many migrations a database has had."""
    return pragma(db, "user_version")


def newer(path: str | Path, version: int) -> StoreError:
    """What is wrong with a database of a newer version."""
    return StoreError(
        f"{path} was written by a newer imserver (schema {version}, "
        f"this one knows {schema.VERSION})"
    )


def _abandon(database: Database | None, lock: int | None) -> None:
    if database is not None:
        database.close()
    elif lock is not None:
        os.close(lock)


def _lock(path: Path) -> int:
    lock = None
    try:
        make_folder(path.parent)
        # Who serves the file comes first: POSIX locks are the process's, so to look into a file
        # that another server of this process has open would take SQLite's locks from it.
        if _lock_file(path).exists():
            lock = take_lock(path)
        if path.exists():
            require_one_name(path)
            with path.open("r+b") as file:
                head = file.read(16)
            if head and head != b"SQLite format 3\0":
                raise StoreError(f"{path} is not an imserver database")
    except BaseException as error:
        if lock is not None:
            os.close(lock)
        if isinstance(error, OSError):
            raise StoreError(f"cannot use the database {path}: {error.strerror}") from error
        raise
    lock = take_lock(path) if lock is None else lock
    try:
        if not path.exists():
            make_file(path.resolve())
    except OSError as error:
        os.close(lock)
        raise StoreError(f"cannot use the database {path}: {error.strerror}") from error
    return lock


def require_one_name(path: Path) -> None:
    """Refuse a database that has another name too, in the same folder or in another.

    Raises:
        StoreError: it has hard links.
    """
    found = path.stat()
    names = found.st_nlink
    if names > 1 and stat.S_ISREG(found.st_mode):
        raise StoreError(
            f"{path} has {names} names (hard links): SQLite keeps what is newest beside one of "
            "them, so remove the others or make copies of them"
        )


def _lock_file(path: Path) -> Path:
    # By whatever name a database is called, it has one lock.
    return Path(f"{path.resolve()}.lock")


def take_lock(path: Path) -> int:
    """Keep every server from a database until the descriptor that is returned is closed.

    Raises:
        StoreError: a server has it, or the folder cannot be written to.
    """
    try:
        make_folder(path.parent)
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        lock = os.open(_lock_file(path), flags, 0o600)
    except OSError as error:
        raise StoreError(f"cannot use the database {path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise InUseError(f"{path} is in use by another running server") from error
    return lock

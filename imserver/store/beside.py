"""Reading a database beside the server that runs on it, or where it can only be read."""

from __future__ import annotations

import os
import tempfile
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from imserver.store import schema
from imserver.store.database import BUSY_TIMEOUT_MS, StoreError, newer, pragma, schema_version
from imserver.store.ownership import as_owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator


def sort_beside(db: apsw.Connection, path: Path) -> None:
    """Have a connection keep temporary files in the database's own folder.

    To write a file afresh SQLite needs one as large: elsewhere there may be no room, or no folder
    that takes files. It holds for all connections of the process.
    """
    db.execute("PRAGMA temp_store = FILE")
    folder = str(path.resolve().parent).replace("'", "''")
    db.execute(f"PRAGMA temp_store_directory = '{folder}'")


@contextmanager
def read_beside(path: Path, *, called: Path | None = None) -> Iterator[apsw.Connection]:
    """A connection that only reads a database, whether a server is running on it or not.

    `called` is what messages name it, if not by `path`.

    Raises:
        StoreError: there is none, it is not ours, or it cannot be read.
    """
    name = called or path
    try:
        db = _open_beside(path, name)
        try:
            if pragma(db, "application_id") != schema.APPLICATION_ID:
                raise StoreError(f"{name} is not an imserver database")
            yield db
        finally:
            with as_owner_of(path.parent):
                db.close()
    except apsw.NotADBError as error:
        raise StoreError(f"{name} is not an imserver database") from error
    except apsw.Error as error:
        raise StoreError(f"cannot read {name}: {error}") from error


def _open_beside(path: Path, name: Path) -> apsw.Connection:
    try:
        with as_owner_of(path.parent):  # SQLite opens, and makes, files beside it
            if not path.is_file():
                raise StoreError(f"there is no database {name}")
            return _open_to_read(path)
    except OSError as error:
        raise StoreError(f"cannot read {name}: {error.strerror or error}") from error


def _open_to_read(path: Path) -> apsw.Connection:
    """A connection that has read something, and so has opened all that it needs."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        db.set_busy_timeout(BUSY_TIMEOUT_MS)
        try:
            schema_version(db)
        except (apsw.CantOpenError, apsw.ReadOnlyError):
            # In a place that can only be read SQLite cannot make what it keeps beside a
            # database. A database that was closed in order needs none of it.
            beside = (Path(f"{path}{suffix}") for suffix in ("-wal", "-journal"))
            if os.access(path.parent, os.W_OK) or any(each.exists() for each in beside):
                raise
            db.close()
            db = apsw.Connection(
                f"{path.resolve().as_uri()}?immutable=1",
                flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI,
            )
            schema_version(db)
    except BaseException:
        db.close()
        raise
    return db


def sort_in_files(db: apsw.Connection) -> None:
    """Have a connection sort in temporary files, if there is a place for them."""
    with suppress(OSError):
        tempfile.gettempdir()  # raises where no folder takes files
        db.execute("PRAGMA temp_store = FILE")


def fold_wal(path: Path) -> None:
    """Bring what gathered in the WAL into the database, as far as nobody has to wait for it.

    For processes that read for long beside a server: it could not reuse its WAL meanwhile, and
    its next commit would have all of it to copy. Where this cannot be done, that is what happens.
    """
    with (
        suppress(apsw.Error, OSError),
        as_owner_of(path.parent),
        closing(apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)) as db,
    ):
        schema_version(db)  # a connection that has read nothing knows of no WAL
        db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


def require_current(db: apsw.Connection, path: Path) -> None:
    """Refuse a database whose schema is not that of this version.

    Raises:
        StoreError: it is older, or newer.
    """
    version = schema_version(db)
    if version > schema.VERSION:
        raise newer(path, version)
    if version < schema.VERSION:
        raise StoreError(
            f"{path} was written by an older imserver (schema {version}, this one knows "
            f"{schema.VERSION}); starting this server upgrades it"
        )

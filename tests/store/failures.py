"""A disk that is full, locked or gone: real failures of the store, and their end."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imserver.store.database import Database


@contextmanager
def full_disk(database: Database) -> Iterator[None]:
    """The file may not grow."""
    (pages,) = database.writer.execute("PRAGMA page_count").fetchone()
    database.writer.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        database.writer.execute("PRAGMA max_page_count = 1073741823")


@contextmanager
def locked_by_another(database: Database) -> Iterator[None]:
    """Another program has begun to write, and does not come to an end."""
    database.writer.set_busy_timeout(20)
    other = apsw.Connection(database.path)
    try:
        other.execute("BEGIN IMMEDIATE")
        yield
    finally:
        other.close()


@contextmanager
def disk_gone(database: Database) -> Iterator[None]:
    """Every read and write of the files fails, as on a disk that was pulled out."""
    folder = os.open(os.path.dirname(database.path), os.O_RDONLY)
    ours = (database.path, f"{database.path}-wal")
    gone = [
        (int(name), os.dup(int(name)))
        for name in os.listdir("/proc/self/fd")
        if os.path.exists(f"/proc/self/fd/{name}") and os.readlink(f"/proc/self/fd/{name}") in ours
    ]
    assert gone
    for number, _ in gone:
        os.dup2(folder, number)
    os.close(folder)
    try:
        yield
    finally:
        for number, kept in gone:
            os.dup2(kept, number)
            os.close(kept)

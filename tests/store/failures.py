"""A disk that is full, locked or gone: real failures of the store, and their end."""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import apsw

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imserver.store.database import Database


@contextmanager
def full_disk(database: Database, room: int = 0) -> Iterator[None]:
    """The file may not grow by more than `room` pages."""
    (pages,) = database.writer.execute("PRAGMA page_count").fetchone()
    database.writer.execute(f"PRAGMA max_page_count = {pages + room}")
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
def disk_gone(database: Database, suffixes: tuple[str, ...] = ("", "-wal")) -> Iterator[None]:
    """Every read and write of the files fails, as on a disk that was pulled out."""
    links = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(FileNotFoundError):  # the listing itself was among them
            links[int(name)] = os.readlink(f"/proc/self/fd/{name}")
    files = [f"{database.path}{suffix}" for suffix in suffixes]
    gone = [(number, file, os.dup(number)) for number, file in links.items() if file in files]
    assert gone
    for number, file, _ in gone:
        # It can be asked for its size, and nothing else.
        husk = os.open(file, os.O_PATH)
        os.dup2(husk, number)
        os.close(husk)
    try:
        yield
    finally:
        for number, _, kept in gone:
            os.dup2(kept, number)
            os.close(kept)

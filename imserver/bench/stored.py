"""What a run left in the database, read beside the server that serves it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import apsw

if TYPE_CHECKING:
    from pathlib import Path


class Stored(NamedTuple):
    """How full a database is."""

    newest_seq: int
    size: int  # bytes, as if everything were folded into the one file


def look(database: Path) -> Stored:
    """How full the database is now."""
    with closing(_reading(database)) as db:
        size = _number(db, "PRAGMA page_count") * _number(db, "PRAGMA page_size")
        newest = _number(db, "SELECT ifnull(max(seq), 0) FROM message")
    return Stored(newest, size)


def figures(database: Path, before: Stored) -> dict[str, float]:
    """What has been added since `before`, for each message.

    All messages of one commit carry the same time, so commits are counted by it: two within the
    same millisecond count as one.
    """
    now = look(database)
    with closing(_reading(database)) as db:
        count = _number(db, f"SELECT count(*) FROM message WHERE seq > {before.newest_seq}")
        commits = _number(
            db, f"SELECT count(DISTINCT sent_ms) FROM message WHERE seq > {before.newest_seq}"
        )
    if not count:
        return {}
    return {"per_commit": count / commits, "disk_bytes": (now.size - before.size) / count}


def _reading(database: Path) -> apsw.Connection:
    return apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)


def _number(db: apsw.Connection, sql: str) -> int:
    row = db.execute(sql).fetchone()
    assert row is not None
    return int(row[0])

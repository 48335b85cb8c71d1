"""What is in a database's schema that no migration of ours puts there, and the other way round.

A trigger that came with a file would run inside every write, so none is tolerated.
"""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Final

import apsw

from imserver.store import reading
from imserver.store.database import MEMORY, migrate, schema_version

if TYPE_CHECKING:
    from collections.abc import Iterator

_ENTRIES: Final = """
    SELECT type, name, tbl_name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite@_%' ESCAPE '@'
"""
# Litestream keeps these beside ours; see docs/operations.md.
_TOLERATED: Final = frozenset({("table", "_litestream_seq"), ("table", "_litestream_lock")})


def strange_schema(db: apsw.Connection) -> list[str]:
    """What a database of this version or an older one has too much, too little or otherwise."""
    with closing(apsw.Connection(MEMORY)) as model:
        migrate(model, schema_version(db))
        ours = set(_entries(model))
    found = set(_entries(db))
    more = [f"{kind} {name}" for kind, name, _, _ in sorted(found - ours)]
    less = [f"{kind} {name}, or another one" for kind, name, _, _ in sorted(ours - found)]
    return more + [f"no {each}" for each in less]


def _entries(db: apsw.Connection) -> Iterator[tuple[str, str, str, str]]:
    for kind, name, table, sql in reading.every(db, _ENTRIES, ()):
        if (kind, name) not in _TOLERATED:
            yield kind, name, table, " ".join((sql or "").split())

"""A server on which the API document's examples come out to the letter."""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING

from tests.support import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from imserver import Server

MESSAGE_TIME = 1640995200000  # milliseconds: the timestamp of every message in the document
GROUP_TIME = 1704067200000  # 2024-01-01T00:00:00Z, the time of every group
FIRST_SEQ = 123456  # of the id msg_123456


@asynccontextmanager
async def document_server(
    folder: Path, *, first_seq: int = FIRST_SEQ, time_ms: int = MESSAGE_TIME
) -> AsyncIterator[Server]:
    """A server whose next message is `msg_<first_seq>` and whose time stands still."""
    settings = {"data": str(folder), "clock": lambda: time_ms}
    async with running_server(**settings) as server:
        database = server.database
    # All messages before the first were removed: that is what the floor says.
    with closing(sqlite3.connect(database)) as db, db:
        db.execute("INSERT INTO meta (key, value) VALUES ('seq_floor', ?)", (first_seq - 1,))
    async with running_server(**settings) as server:
        yield server

"""Real processes are killed while they remove messages: what goes is gone whole or not at all."""

from __future__ import annotations

import re
import subprocess
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import apsw
import pytest
import trio

from imserver.store.tools.check import check
from tests.bench.generate import generate, user
from tests.e2e.process import COMMAND, PATIENCE, environment, started
from tests.support import rest

if TYPE_CHECKING:
    from pathlib import Path

MESSAGES = 4000
KILLS = 3
SETTINGS = {"IMSERVER_RETENTION_DAYS": "1"}  # what is generated is older


def count(database: Path) -> int:
    with closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        [(messages,)] = db.execute("SELECT count(*) FROM message")
    return messages


def broken(database: Path) -> set[str]:
    """The laws that are not kept. The generator marks more as read than there is."""
    return {finding.name for finding in check(database) if finding.problems} - {"watermarks"}


async def less_than(database: Path, messages: int) -> int:
    """Wait until so many are not there any more; returns how many are."""
    with trio.fail_after(PATIENCE):
        while (there := count(database)) >= messages:
            await trio.lowlevel.checkpoint()
    return there


async def test_killed_while_it_removes(tmp_path: Path) -> None:
    database = generate(tmp_path, MESSAGES).database
    left = MESSAGES
    interrupted = 0
    for _ in range(KILLS):
        async with started(tmp_path, "--data", ".", "--port", "0", **SETTINGS) as server:
            left = await less_than(database, left)
            server.process.kill()
            await server.ended()
        interrupted += 0 < count(database) < MESSAGES
        assert broken(database) == set()
    assert interrupted, "it was through before it was killed"
    async with started(tmp_path, "--data", ".", "--port", "0") as server:
        # Nothing limits it now: what is left is there to be seen, and that something is missing.
        left = count(database)
        async with rest(server, user(0)) as calls:
            page = await calls.get("/api/v1/messages/offline", last_message_id="msg_0", limit=1)
            assert page["gap"] is True
            ids = [message["id"] for message in page["messages"]]
            assert [page.get("oldest_message_id")] == (ids or [None])
        assert count(database) == left
    async with started(tmp_path, "--data", ".", "--port", "0", **SETTINGS) as server:
        await less_than(database, 1)
        async with rest(server, user(0)) as calls:
            sent = await calls.post("/api/v1/messages", {"receiver_id": user(1), "content": "hi"})
            assert sent["message_id"] == f"msg_{MESSAGES + 1}"
        assert await server.terminated() == 0
    assert f"retention removed {left} messages (old)" in server.log
    assert broken(database) == set()


@pytest.mark.parametrize("frames", [1, 20, 200])
def test_killed_while_it_erases(tmp_path: Path, frames: int) -> None:
    """Around the end of its transaction, and while the file is written afresh."""
    database = generate(tmp_path, MESSAGES).database
    name = user(0)  # owns all groups
    command = [*COMMAND, "erase", "--yes", "--data", str(tmp_path), name]
    wal = database.with_name(f"{database.name}-wal")
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment()) as process:
        size = 0
        while process.poll() is None and size < frames * 4096:
            with suppress(FileNotFoundError):
                size = wal.stat().st_size
        process.kill()
    with closing(apsw.Connection(str(database))) as db:
        there = db.execute("SELECT uid FROM user WHERE user_id = ?", (name,)).fetchone()
        [(messages,)] = db.execute("SELECT count(*) FROM message WHERE sender_uid = 1")
        [(owned,)] = db.execute("SELECT count(*) FROM member WHERE uid = 1 AND role = 2")
    assert (messages > 0) is (owned > 0) is (there is not None)
    assert broken(database) == set()
    again = subprocess.run(command, capture_output=True, text=True, env=environment(), check=False)
    assert again.returncode == (0 if there else 1), again.stderr
    assert broken(database) == set()
    for file in tmp_path.iterdir():
        found = re.findall(rb"user_0(?![0-9])", file.read_bytes())
        assert found == [], file

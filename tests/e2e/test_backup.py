"""Backups of a real server that works, and what clients see after one was put back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.e2e.process import COMMAND, PATIENCE, environment, started
from tests.support import Refused, login, rest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.process import Process
    from tests.support import Rest, Socket

SENDERS = 6


async def command(*arguments: str | Path, code: int = 0) -> str:
    """What a command says that ends by itself."""
    with trio.fail_after(PATIENCE):
        ended = await trio.run_process(
            [*COMMAND, *map(str, arguments)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(),
        )
    assert ended.returncode == code, ended.stderr.decode()
    return (ended.stdout if code == 0 else ended.stderr).decode()


class Load:
    """Senders that write to bob as fast as they are answered. Owner of what was acknowledged."""

    def __init__(self) -> None:
        self.acknowledged: list[tuple[int, str]] = []  # place in the order, content
        self._more = trio.Event()

    async def send(self, server: Process, sender: str) -> None:
        """Send until cancelled."""
        async with login(server, sender) as socket:
            number = 0
            while True:
                number += 1
                content = f"{sender} {number}"
                request = {"receiver_id": "bob", "content": content, "client_msg_id": str(number)}
                answer = await socket.call("send_message", request)
                seq = int(answer["message_id"].removeprefix("msg_"))
                self.acknowledged.append((seq, content))
                self._more.set()
                self._more = trio.Event()

    async def more(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        wanted = len(self.acknowledged) + count
        with trio.fail_after(PATIENCE):
            while len(self.acknowledged) < wanted:
                await self._more.wait()


async def everything(bob: Socket, after: int = 0) -> list[tuple[int, str]]:
    """All that bob has been sent after a place in the order."""
    found: list[tuple[int, str]] = []
    while True:
        request = {"last_message_id": f"msg_{after}", "limit": 200}
        page = await bob.call("sync_offline", request)
        for message in page["messages"]:
            after = int(message["id"].removeprefix("msg_"))
            found.append((after, message["content"]))
        if not page["has_more"]:
            return found


@pytest.mark.parametrize("name", ["b.db", "b.db.gz"])
async def test_a_backup_under_load_holds_all_that_was_acknowledged_before_it(
    tmp_path: Path, name: str
) -> None:
    load = Load()
    async with started(tmp_path) as server:
        async with trio.open_nursery() as nursery:
            for number in range(SENDERS):
                nursery.start_soon(load.send, server, f"sender{number}")
            await load.more(300)
            before = list(load.acknowledged)
            await command("--data", tmp_path / "data", "backup", tmp_path / name)
            during = len(load.acknowledged) - len(before)
            await load.more(SENDERS)  # nobody was left waiting
            await command("--data", tmp_path / "data", "check")
            nursery.cancel_scope.cancel()
        assert during > 0
        assert await server.terminated() == 0
    await command("restore", "--data", tmp_path / "new", tmp_path / name)
    await command("check", "--data", tmp_path / "new")
    async with (
        started(tmp_path, "--data", "new", "--port", "0") as server,
        login(server, "bob") as bob,
    ):
        restored = await everything(bob)
    assert [seq for seq, _ in restored] == list(range(1, len(restored) + 1))
    assert set(before) <= set(restored)
    assert len({content for _, content in restored}) == len(restored)
    known = dict(load.acknowledged)
    assert all(known.get(seq, content) == content for seq, content in restored)


async def say(who: Rest, content: str, **more: Any) -> str:
    body = {"receiver_id": "bob", "content": content} | more
    return (await who.post("/api/v1/messages", body))["message_id"]


async def test_after_a_restore_newer_cursors_are_refused_for_ever(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with started(tmp_path) as server, rest(server, "alice") as alice:
        kept = [await say(alice, f"kept {number}") for number in range(3)]
        await command("--data", data, "backup", tmp_path / "b")
        lost = [await say(alice, f"lost {n}", client_msg_id=f"lost {n}") for n in range(3)]
        assert await command("--data", data, "restore", "--force", tmp_path / "b", code=1) == (
            f"imserver: {data / 'imserver.db'} is in use by another running server\n"
        )
        assert await server.terminated() == 0
    said = await command("--data", data, "restore", "--force", tmp_path / "b")
    assert "the newest message in it is msg_3\nthe next one will be msg_8: " in said

    async with (
        started(tmp_path) as server,
        rest(server, "alice") as alice,
        login(server, "bob") as bob,
    ):

        async def refuses(cursor: str) -> bool:
            try:
                await bob.call("sync_offline", {"last_message_id": cursor})
            except Refused as refusal:
                return refusal.code == "cursor_ahead"
            return False

        assert [await refuses(cursor) for cursor in kept] == [False] * 3
        assert [await refuses(cursor) for cursor in lost] == [True] * 3
        page = await bob.call("sync_offline", {"include_newest": True})
        assert [message["content"] for message in page["messages"]] == [
            "kept 0",
            "kept 1",
            "kept 2",
        ]
        assert page["newest_message_id"] == "msg_7"
        assert not await refuses("msg_7")
        # What alice sends again is stored again, and none of it gets an id that bob has seen.
        again = [await say(alice, f"lost {n}", client_msg_id=f"lost {n}") for n in range(3)]
        more = [await say(alice, f"new {number}") for number in range(5)]
        assert again + more == [f"msg_{seq}" for seq in range(8, 16)]
        assert [await refuses(cursor) for cursor in lost] == [True] * 3
        contents = [content for _, content in await everything(bob, after=3)]
        assert contents == [f"lost {n}" for n in range(3)] + [f"new {n}" for n in range(5)]
        assert await server.terminated() == 0
    assert json.loads(await command("--data", data, "check", "--json"))["sound"]


async def test_restored_where_nothing_is_known_of_what_was_lost(tmp_path: Path) -> None:
    async with started(tmp_path) as server, rest(server, "alice") as alice:
        await say(alice, "kept")
        await command("--data", tmp_path / "data", "backup", tmp_path / "b")
        lost = await say(alice, "lost")
    await command("--data", tmp_path / "elsewhere", "restore", tmp_path / "b")
    async with (
        started(tmp_path, "--data", "elsewhere", "--port", "0") as server,
        rest(server, "alice") as alice,
        rest(server, "bob") as bob,
    ):
        new = await say(alice, "new")
        assert new == "msg_1000000003"
        with pytest.raises(Refused) as refusal:
            await bob.get("/api/v1/messages/offline", last_message_id=lost)
        assert refusal.value.code == "cursor_ahead"
        page = await bob.get("/api/v1/messages/offline", last_message_id="msg_1")
        assert [message["id"] for message in page["messages"]] == [new]
        assert (await bob.get(f"/api/v1/messages/{new}"))["message"]["content"] == "new"
        assert (await bob.post(f"/api/v1/messages/{new}/ack", {"status": "read"}))["success"]

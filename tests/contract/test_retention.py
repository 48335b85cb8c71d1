"""What clients are told of messages that retention removed: the reference's section, Retention."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from imserver.config import Limits, Retention
from tests.contract.api import acting, code_of
from tests.support import Refused, http_client, login, running_server
from tests.support.clients import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from imserver import Server
    from tests.contract.api import Api

DAY = 86_400_000


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.ms = 1_640_995_200_000

    def __call__(self) -> int:
        return self.ms

    def pass_days(self, days: float) -> None:
        self.ms += round(days * DAY)


@asynccontextmanager
async def stored(folder: Path, clock: Clock) -> AsyncIterator[Server]:
    """A server that keeps everything."""
    async with running_server(data=str(folder), clock=clock) as server:
        yield server


@asynccontextmanager
async def swept(folder: Path, clock: Clock, **limits: Any) -> AsyncIterator[Server]:
    """A server that was through with removing when it had begun."""
    settings = {"data": str(folder), "clock": clock, "retention": Retention(**limits)}
    async with running_server(**settings) as server:
        await until_swept(server)
        yield server


async def until_swept(server: Server) -> None:
    with trio.fail_after(PATIENCE):
        while await metric(server, "imserver_retention_ended_seconds") == 0:
            pass  # each asks the server anew


async def metric(server: Server, name: str) -> float:
    async with http_client(server) as http:
        text = (await http.get("/metrics")).text
    return float(next(line.split()[1] for line in text.splitlines() if line.startswith(name)))


async def pages(user: Api, **request: Any) -> list[dict[str, Any]]:
    """What the pages of a sync say, but for the messages' contents."""
    said = []
    while True:
        page = await user.sync_offline(**request)
        page["messages"] = [message["id"] for message in page["messages"]]
        said.append(page)
        if not page.pop("has_more"):
            return said
        request["last_message_id"] = page["messages"][-1]


async def test_by_default_nothing_is_ever_removed(tmp_path: Path, transport: str) -> None:
    clock = Clock()
    async with stored(tmp_path, clock) as server, acting(server, transport, "alice") as alice:
        first = await alice.send("bob")
    clock.pass_days(30_000)
    async with stored(tmp_path, clock) as server, acting(server, transport, "bob") as bob:
        assert await pages(bob) == [{"messages": [first]}]
        assert await metric(server, "imserver_retention_ended_seconds") == 0


async def test_what_is_too_old_is_there_for_nobody(tmp_path: Path, transport: str) -> None:
    clock = Clock()
    async with stored(tmp_path, clock) as server, acting(server, transport, "alice") as alice:
        old = await alice.send("bob")
        clock.pass_days(0.5)
        new = await alice.send("bob")
    clock.pass_days(0.75)
    async with (
        swept(tmp_path, clock, days=1) as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        for user in (alice, bob):
            assert await code_of(user.get_message(old)) == "not_found"
        assert await code_of(bob.ack(old)) == "not_found"
        assert await bob.synced(last_message_id="msg_0") == [new]
        assert await bob.status(new) == "sent"
        assert await bob.ack(new, cumulative=True) == {"success": True}
        assert await metric(server, "imserver_messages_removed_total") == 1
        # The place is not given out again.
        assert await alice.send("bob") == "msg_3"


async def test_whoever_misses_something_is_told_and_nobody_else(
    tmp_path: Path, transport: str
) -> None:
    clock = Clock()
    async with (
        stored(tmp_path, clock) as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "dave") as dave,
    ):
        first = await alice.send("bob")  # msg_1
        second = await alice.send("bob")
        await dave.send("erin")  # msg_3
        clock.pass_days(2)
        new = await alice.send("bob")  # msg_4
        await dave.send("erin")
    async with (
        swept(tmp_path, clock, days=1) as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
    ):
        told = {"gap": True, "oldest_message_id": new}
        for cursor in ("msg_0", first):
            assert await pages(bob, last_message_id=cursor) == [{"messages": [new]} | told]
        # What they had up to their cursor they do not miss, nor what was for others.
        for cursor in (second, "msg_3"):
            assert await pages(bob, last_message_id=cursor) == [{"messages": [new]}]
        assert await pages(bob, last_message_id=new) == [{"messages": []}]
        assert await pages(carol, last_message_id="msg_0") == [{"messages": []}]
        # Own messages are missed by those alone who ask for them. Without a cursor nothing is
        # too old: what bob did not acknowledge is missing, until he acknowledges a later one.
        failed = {"failed": [first, second]}
        assert await pages(alice, last_message_id="msg_0") == [{"messages": []} | failed]
        asked = await pages(alice, last_message_id="msg_0", include_own=True)
        assert asked == [{"messages": [new]} | told | failed]
        assert await pages(bob) == [{"messages": [new]} | told]
        await bob.ack(new, "delivered")
        assert await pages(bob) == [{"messages": []}]


async def test_every_page_says_what_is_missing_behind_its_own_cursor(
    tmp_path: Path, transport: str
) -> None:
    clock = Clock()
    async with (
        stored(tmp_path, clock) as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "carol") as carol,
    ):
        brief = await carol.create_group("bob", retention_days=1)  # msg_1
        await alice.send("bob")
        await carol.send_to_group(brief)  # msg_3
        await alice.send("bob")
        clock.pass_days(2)
        await carol.send_to_group(brief)  # msg_5
    async with swept(tmp_path, clock) as server, acting(server, transport, "bob") as bob:
        told = {"gap": True, "oldest_message_id": "msg_2"}
        assert await pages(bob, last_message_id="msg_0", limit=1) == [
            {"messages": ["msg_2"]} | told,
            {"messages": ["msg_4"]} | told,  # after msg_2, where msg_3 is missing
            {"messages": ["msg_5"]},
        ]
        # With nothing left to see there is no oldest message.
    clock.pass_days(2)
    async with swept(tmp_path, clock, days=1) as server, acting(server, transport, "bob") as bob:
        assert await pages(bob, last_message_id="msg_4") == [{"messages": [], "gap": True}]


async def test_a_former_member_misses_what_was_theirs_to_see(
    tmp_path: Path, transport: str
) -> None:
    clock = Clock()
    async with (
        stored(tmp_path, clock) as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
    ):
        group = await alice.create_group("bob")  # msg_1
        await bob.leave_group(group)  # msg_2
        await alice.send_to_group(group)
        await carol.join_group(group)  # msg_4
        await alice.send_to_group(group)
    clock.pass_days(2)
    async with (
        swept(tmp_path, clock, days=1) as server,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
    ):
        for user, last in ((bob, 2), (carol, 5)):
            for cursor in range(6):
                [page] = await pages(user, last_message_id=f"msg_{cursor}")
                assert page == {"messages": []} | ({"gap": True} if cursor < last else {})


async def test_what_nobody_had_got_has_failed_for_its_sender(
    tmp_path: Path, transport: str
) -> None:
    clock = Clock()
    async with (
        stored(tmp_path, clock) as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        got = await alice.send("bob")  # msg_1
        request = {"receiver_id": "bob", "content": "hi", "client_msg_id": "k"}
        lost = (await alice.send_message(**request))["message_id"]
        seen = (await alice.send_message(**request | {"client_msg_id": "l"}))["message_id"]
        await alice.send("alice")  # a note to oneself: msg_4
        group = await alice.create_group("bob", "carol")
        half = await alice.send_to_group(group)  # msg_6
        unseen = await alice.send_to_group(group)
        await alice.send_to_group(await alice.create_group())  # to nobody: msg_9
        await bob.ack(got, "delivered")
        await bob.ack(seen, "read")
        await bob.ack(half, "delivered")
    clock.pass_days(2)
    async with (
        swept(tmp_path, clock, days=1) as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        failed = {"failed": [lost, unseen]}
        assert await pages(alice) == [{"messages": [], "gap": True} | failed]  # the note
        assert await pages(alice, last_message_id="msg_9") == [{"messages": []} | failed]
        assert "failed" not in (await pages(bob))[0]
        new = await bob.send("alice")
        # Whose cursor is beyond was told when it was not.
        assert await pages(alice, last_message_id="msg_9") == [{"messages": [new]} | failed]
        assert await pages(alice, last_message_id=new) == [{"messages": []}]
        again = await alice.send_message(**request)
        assert again["message_id"] == lost
        assert again["message"]["status"] == "failed"
        assert again["message"]["content"] == "hi"
        again = await alice.send_message(**request | {"client_msg_id": "l"})
        assert (again["message_id"], again["message"]["status"]) == (seen, "sent")
        changed = request | {"content": "other"}
        assert await code_of(alice.send_message(**changed)) == "conflict"
        assert await metric(server, "imserver_messages_failed_total") == 2


async def test_failures_are_divided_among_the_pages(tmp_path: Path, transport: str) -> None:
    clock = Clock()
    async with (
        stored(tmp_path, clock) as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "carol") as carol,
    ):
        await alice.send("bob")  # msg_1
        clock.pass_days(2)
        await carol.send("alice")
    async with (
        swept(tmp_path, clock, days=1) as server,
        acting(server, transport, "carol") as carol,
    ):
        await carol.send("alice")  # msg_3
        await carol.send("alice")
    async with stored(tmp_path, clock) as server, acting(server, transport, "alice") as alice:
        for cursor in ({}, {"last_message_id": "msg_0"}):
            assert await pages(alice, limit=1, **cursor) == [
                {"messages": ["msg_2"]},
                {"messages": ["msg_3"], "failed": ["msg_1"]},  # removed when msg_2 was the newest
                {"messages": ["msg_4"]},
            ]


async def test_a_sender_who_is_there_is_told_at_once() -> None:
    clock = Clock()
    settings = {"clock": clock, "retention": Retention(days=1, every=1)}
    async with (
        running_server(**settings) as server,
        login(server, "alice") as alice,
        login(server, "bob") as bob,
    ):
        request = {"receiver_id": "carol", "content": "hi"}
        lost = (await alice.call("send_message", request))["message_id"]
        clock.pass_days(2)
        assert await alice.push() == {
            "type": "message_status",
            "data": {
                "message_id": lost,
                "status": "failed",
                "user_id": "system",
                "timestamp": clock.ms,
            },
            "timestamp": clock.ms,
        }
        await bob.no_push()


async def test_failures_are_forgotten_after_a_month(tmp_path: Path, transport: str) -> None:
    clock = Clock()
    request = {"receiver_id": "bob", "content": "hi", "client_msg_id": "k"}
    async with stored(tmp_path, clock) as server, acting(server, transport, "alice") as alice:
        await alice.send_message(**request)
    for days, status in ((2, "failed"), (29, "failed"), (2, "sent")):
        clock.pass_days(days)
        async with (
            swept(tmp_path, clock, days=1) as server,
            acting(server, transport, "alice") as alice,
        ):
            [page] = await pages(alice)
            assert page.get("failed") == (["msg_1"] if status == "failed" else None)
            assert (await alice.send_message(**request))["message"]["status"] == status


async def test_a_group_keeps_its_messages_for_a_shorter_time_never_for_longer(
    tmp_path: Path, transport: str
) -> None:
    clock = Clock()
    async with stored(tmp_path, clock) as server, acting(server, transport, "alice") as alice:
        shorter = await alice.create_group("bob", retention_days=1)  # msg_1
        longer = await alice.create_group("bob", retention_days=100)  # msg_2
        usual = await alice.create_group("bob")  # msg_3
        clock.pass_days(2)
        for group in (shorter, longer, usual):
            await alice.send_to_group(group)  # msg_4 to msg_6
        assert (await alice.get_group(longer))["retention_days"] == 100
        assert "retention_days" not in await alice.get_group(usual)
    async with (
        swept(tmp_path, clock, days=10) as server,
        acting(server, transport, "bob") as bob,
    ):
        assert await bob.synced() == ["msg_2", "msg_3", "msg_4", "msg_5", "msg_6"]
    clock.pass_days(9)
    async with (
        swept(tmp_path, clock, days=10) as server,
        acting(server, transport, "bob") as bob,
    ):
        assert await bob.synced() == ["msg_5", "msg_6"]


async def test_a_groups_owner_says_how_long_it_keeps_messages(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group = await alice.create_group("bob")
        answer = await alice.govern("update_group", group, retention_days=0.5)
        assert answer["group"]["retention_days"] == 0.5
        assert answer["group"] == await bob.get_group(group)
        await alice.govern("update_group", group, retention_days=0.5)
        await alice.govern("update_group", group, name="Brief")
        assert (await bob.get_group(group))["retention_days"] == 0.5
        answer = await alice.govern("update_group", group, retention_days=0)
        assert "retention_days" not in answer["group"]
        sentences = [message["content"] for message in (await bob.sync_offline())["messages"]]
        assert sentences[1:] == [
            "alice changed how long messages are kept",
            'alice changed the name to "Brief"',
            "alice changed how long messages are kept",
        ]
        assert await code_of(bob.govern("update_group", group, retention_days=1)) == "forbidden"
        for days in (-1, 0.0001, 36501, "1", []):
            code = await code_of(alice.govern("update_group", group, retention_days=days))
            assert code == "invalid_request"
            assert await code_of(alice.create_group(retention_days=days)) == "invalid_request"


async def test_beyond_its_size_the_oldest_go_first(tmp_path: Path, transport: str) -> None:
    clock = Clock()
    async with (
        running_server(data=str(tmp_path), clock=clock, limits=Limits(content_bytes=60_000))
        as server,
        acting(server, transport, "alice") as alice,
    ):  # fmt: skip
        group = await alice.create_group("bob", retention_days=36_500)  # holds it up no more
        ids = [await alice.send_to_group(group, "x" * 50_000) for _ in range(20)]
        ids += [await alice.send("bob", "x" * 50_000) for _ in range(20)]
    async with (
        swept(tmp_path, clock, megabytes=1) as server,
        acting(server, transport, "bob") as bob,
    ):
        said = await pages(bob, last_message_id="msg_0")
        left = [seq for page in said for seq in page["messages"]]
        assert left == ids[-len(left) :]
        assert 10 < len(left) < 20
        assert said[0]["gap"] is True
        assert await metric(server, "imserver_messages_removed_total") == 41 - len(left)


@pytest.mark.parametrize("content", ["x" * 100, "short"])
async def test_what_is_removed_is_not_in_the_file_any_more(tmp_path: Path, content: str) -> None:
    clock = Clock()
    secret = content + "the secret"
    async with stored(tmp_path, clock) as server, login(server, "alice") as alice:
        for number in range(100):
            request = {"receiver_id": "bob", "content": f"{secret} {number}" * (number + 1)}
            await alice.call("send_message", request)
    assert secret.encode() in (tmp_path / "imserver.db").read_bytes()
    clock.pass_days(2)
    async with swept(tmp_path, clock, days=1):
        pass
    assert b"the secret" not in (tmp_path / "imserver.db").read_bytes()


async def test_the_client_is_refused_nothing_while_it_happens(tmp_path: Path) -> None:
    """Sends, acknowledgements and syncs between the pieces, and everything adds up at the end."""
    clock = Clock()
    async with stored(tmp_path, clock) as server, login(server, "alice") as alice:
        for _ in range(500):
            await alice.send("send_message", {"receiver_id": "bob", "content": "old"})
        for _ in range(500):
            await alice.receive()
    clock.pass_days(2)
    settings = {"data": str(tmp_path), "clock": clock, "retention": Retention(days=1)}
    async with (
        running_server(**settings) as server,
        login(server, "alice") as alice,
        login(server, "bob") as bob,
    ):
        sent = []
        while await metric(server, "imserver_retention_ended_seconds") == 0 or len(sent) < 20:
            request = {"receiver_id": "bob", "content": "new"}
            sent.append((await alice.call("send_message", request))["message_id"])
            await bob.call("ack", {"message_id": sent[-1], "status": "read"})
            page = await bob.call("sync_offline", {"last_message_id": "msg_0", "limit": 1})
            assert page["messages"]
        page = await bob.call("sync_offline", {"last_message_id": "msg_0", "limit": 200})
        assert page["gap"] is True
        assert [message["id"] for message in page["messages"]] == sent[:200]
        assert {message["status"] for message in page["messages"]} == {"read"}
        with pytest.raises(Refused):
            await bob.call("get_message", {"message_id": "msg_500"})

"""The list of conversations: its order, what is unread, and reading it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.api import Api, acting, code_of
from tests.support import login, running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running_server() as running:
        yield running


async def unread(user: Api, **request: Any) -> dict[str, int]:
    """How much is unread in each listed conversation, the newest first."""
    page = await user.call("list_conversations", request)
    return {one.get("group_id") or one["user_id"]: one["unread"] for one in page["conversations"]}


async def test_newest_activity_comes_first_in_pages(server: Server, transport: str) -> None:
    async with acting(server, transport, "alice") as alice:
        group_id = await alice.create_group("bob")
        for other in ("bob", "carol", "dave", "alice"):
            await alice.send(other)
        await alice.send("carol")
        expected = ["carol", "alice", "dave", "bob", group_id]
        assert list(await unread(alice)) == expected
        found, request = [], {"limit": 2}
        while True:
            page = await alice.call("list_conversations", request)
            found += [one.get("group_id") or one["user_id"] for one in page["conversations"]]
            if "next" not in page:
                break
            request["cursor"] = page["next"]
        assert found == expected


async def test_what_a_conversation_says(server: Server, transport: str) -> None:
    async with (
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        first = await alice.send("bob")
        await bob.ack(first)
        last = await alice.send("bob")
        await bob.ack(last, "delivered")
        shown = (await alice.call("get_conversation", {"user_id": "bob"}))["conversation"]
        message = await alice.get_message(last)
        assert shown == {
            "user_id": "bob",
            "name": "bob",
            "last_message": message,
            "unread": 0,
            "peer_read_id": first,
            "peer_delivered_id": last,
            "members": 2,
            "updated_at": message["timestamp"],
        }
        group_id = await alice.create_group("bob", "carol", name="Lunch")
        shown = (await bob.call("get_conversation", {"group_id": group_id}))["conversation"]
        assert (shown["group_id"], shown["name"], shown["members"], shown["role"]) == (
            group_id,
            "Lunch",
            3,
            "member",
        )
        assert shown["last_message"]["type"] == "system"
        assert shown["unread"] == 0
        await bob.leave_group(group_id)
        assert group_id not in await unread(bob)
        shown = (await bob.call("get_conversation", {"group_id": group_id}))["conversation"]
        assert "role" not in shown
        assert shown["members"] == 2


async def test_unread_after_reading_and_one_new_message(server: Server, transport: str) -> None:
    async with (
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        ids = [await alice.send("bob", str(number)) for number in range(4)]
        await bob.send("alice", "one of my own is not unread")
        assert await unread(bob) == {"alice": 4}
        await bob.ack(ids[2])
        assert await unread(bob) == {"alice": 3}
        await bob.call("mark_read", {"user_id": "alice", "message_id": ids[1]})
        assert await unread(bob) == {"alice": 1}
        await bob.call("mark_read", {"user_id": "alice"})
        assert await unread(bob) == {"alice": 0}
        assert await unread(bob, unread_only=True) == {}
        await alice.send("bob")
        assert await unread(bob, unread_only=True) == {"alice": 1}
        assert (await bob.call("list_conversations", {}))["unread"] == 1


async def test_reading_up_to_ones_own_message_tells_senders_and_other_sessions(
    server: Server, transport: str
) -> None:
    async with (
        acting(server, transport, "bob") as bob,
        login(server, "alice") as alice,
    ):
        sent = await alice.call("send_message", {"receiver_id": "bob", "content": "hi"})
        own = await bob.send("alice")
        assert (await alice.push())["data"]["id"] == own
        async with login(server, "bob") as other:
            await bob.call("mark_read", {"user_id": "alice", "message_id": own})
            for session in (alice, other):
                pushed = await session.push()
                assert pushed["type"] == "message_status"
                assert pushed["data"]["message_id"] == sent["message_id"]
                assert pushed["data"]["status"] == "read"
        assert await unread(bob) == {"alice": 0}


async def test_a_message_of_another_conversation_is_none_of_this_one(
    server: Server, transport: str
) -> None:
    async with acting(server, transport, "alice") as alice:
        await alice.send("bob")
        foreign = await alice.send("carol")
        for message_id in (foreign, "msg_99", "x"):
            request = {"user_id": "bob", "message_id": message_id}
            assert await code_of(alice.call("mark_read", request)) == "not_found"


async def test_above_a_thousand_the_count_stays(server: Server) -> None:
    async with (
        acting(server, "websocket", "alice") as alice,
        acting(server, "websocket", "bob") as bob,
    ):
        for number in range(1001):
            await alice.send("bob", str(number))
            if number in (998, 999):
                assert await unread(bob) == {"alice": number + 1}
        assert await unread(bob) == {"alice": 1000}
        await alice.send("carol")
        assert (await bob.call("list_conversations", {}))["unread"] == 1000
        await bob.call("mark_read", {"user_id": "alice"})
        assert await unread(bob) == {"alice": 0}

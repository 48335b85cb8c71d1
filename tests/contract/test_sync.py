"""What a client has not got, page by page: the design's section, Offline sync."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imserver.config import Limits
from tests.contract.api import acting, code_of, refusal_of
from tests.support import login, rest, running_server

if TYPE_CHECKING:
    from tests.contract.api import Api


async def all_pages(user: Api, **request: Any) -> list[list[str]]:
    """The ids on every page from a cursor on, following `has_more`."""
    pages = []
    more = True
    while more:
        page = await user.sync_offline(**request)
        ids = [message["id"] for message in page["messages"]]
        assert ids or not pages
        more = page["has_more"]
        pages.append(ids)
        request["last_message_id"] = ids[-1] if ids else None
    return pages


async def test_direct_and_group_messages_come_oldest_first(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "carol") as carol,
        acting(server, transport, "bob") as bob,
    ):
        ids = [await alice.send("bob")]
        one = await alice.create_group("bob", "carol")
        ids.append("msg_2")
        ids.append(await carol.send_to_group(one))
        ids.append(await carol.send("bob"))
        await carol.send("alice")  # not Bob's
        other = await carol.create_group("bob")
        ids.append("msg_6")
        for group_id in (one, other, one):
            ids.append(await carol.send_to_group(group_id))
            ids.append(await alice.send("bob"))
        assert await bob.synced() == ids
        for index, cursor in enumerate(ids):
            assert await bob.synced(last_message_id=cursor) == ids[index + 1 :]


async def test_what_is_pushed_and_what_is_synced_are_the_same(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "bob") as socket,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        await alice.send("bob", "你好")
        await alice.send_message(group_id=group_id, type="image", content="https://example.org/x")
        pushed = [(await socket.push())["data"] for _ in range(3)]
        assert (await bob.sync_offline())["messages"] == pushed


async def test_without_a_cursor_everything_that_is_not_acked_comes(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        ids = [await alice.send("bob", str(number)) for number in range(6)]
        await bob.ack(ids[2], "delivered")
        await bob.ack(ids[4], "read")
        for absent in ({}, {"last_message_id": None}, {"last_message_id": ""}):
            assert await bob.synced(**absent) == [ids[0], ids[1], ids[3], ids[5]]
        await bob.ack(ids[3], "delivered", cumulative=True)
        assert await bob.synced() == [ids[5]]


async def test_after_a_cursor_everything_comes_acked_or_not(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        ids = [await alice.send("bob", str(number)) for number in range(4)]
        await bob.ack(ids[2], "read", cumulative=True)
        page = await bob.sync_offline(last_message_id=ids[0])
        assert [(one["id"], one["status"]) for one in page["messages"]] == [
            (ids[1], "read"),
            (ids[2], "read"),
            (ids[3], "sent"),
        ]
        assert await bob.synced(last_message_id="msg_0") == ids


async def test_a_cursor_is_a_place_whoever_sees_the_message_there(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        first = await alice.send("bob")
        own = await bob.send("alice")
        not_theirs = await alice.send("carol")
        last = await alice.send("bob")
        assert await bob.synced(last_message_id=first) == [last]
        assert await bob.synced(last_message_id=own) == [last]
        assert await bob.synced(last_message_id=not_theirs) == [last]
        assert await bob.synced(last_message_id=last) == []


async def test_own_messages_are_left_out_unless_asked_for(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        theirs = [await alice.send("bob"), await alice.send_to_group(group_id)]
        own = [await bob.send("alice"), await bob.send_to_group(group_id)]
        note = await bob.send("bob")
        everything = ["msg_1", *theirs, *own, note]
        for request in ({}, {"include_own": False}):
            assert await bob.synced(**request) == ["msg_1", *theirs, note]
        assert await bob.synced(include_own=True, last_message_id="msg_0") == everything
        await bob.ack(note)
        await bob.ack("msg_1")
        assert (await bob.synced(include_own=True))[:2] == theirs


async def test_pages_hold_fifty_unless_asked_otherwise(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        for number in range(101):
            await alice.send("send_message", {"receiver_id": "bob", "content": str(number)})
        for _ in range(101):
            assert (await alice.receive())["data"]["success"] is True
        pages = await all_pages(bob)
        assert [len(page) for page in pages] == [50, 50, 1]
        assert [one for page in pages for one in page] == [f"msg_{n}" for n in range(1, 102)]
        assert len((await bob.sync_offline(limit=None))["messages"]) == 50
        assert [len(page) for page in await all_pages(bob, limit=200)] == [101]


async def test_a_limit_is_a_whole_number_from_1_to_200(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "bob") as bob:
        for limit in (1, 200):
            assert await bob.synced(limit=limit) == []
        for limit in (0, -1, 201, 10**6, 10**30, -(10**30)):
            answer = await refusal_of(bob.sync_offline(limit=limit))
            assert answer == answer | {"error": "limit must be 1 to 200", "code": "invalid_request"}
        for limit in ("many", 1.5, "0x10", " 5", "5_0", "٥", True):
            answer = await refusal_of(bob.sync_offline(limit=limit))
            assert answer["code"] == "invalid_request"
            assert "limit" in answer["error"]


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5])
async def test_has_more_is_exact(limit: int, transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        ids = ["msg_1", await alice.send("bob"), await alice.send_to_group(group_id)]
        ids.append(await alice.send("bob"))
        await bob.send("alice")  # neither these count ...
        await bob.send_to_group(group_id)
        await alice.send("carol")
        acked = await alice.send("bob")
        await bob.ack(acked)  # ... nor this
        page = await bob.sync_offline(limit=limit)
        assert [message["id"] for message in page["messages"]] == ids[:limit]
        assert page["has_more"] is (limit < 4)
        page = await bob.sync_offline(limit=limit, last_message_id="msg_0")
        assert [message["id"] for message in page["messages"]] == [*ids, acked][:limit]
        assert page["has_more"] is (limit < 5)


async def test_a_page_ends_at_512_kib() -> None:
    content = "x" * 64 * 1024
    async with (
        running_server() as server,
        rest(server, "alice") as alice,
        rest(server, "bob") as bob,
    ):
        for _ in range(10):
            await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": content})
        answer = await bob.request("GET", "/api/v1/messages/offline")
        page = answer.json()
        assert len(answer.content) <= 512 * 1024
        assert len(page["messages"]) == 7
        assert page["has_more"] is True
        cursor = page["messages"][-1]["id"]
        page = await bob.get("/api/v1/messages/offline", last_message_id=cursor)
        assert [message["id"] for message in page["messages"]] == ["msg_8", "msg_9", "msg_10"]
        assert page["has_more"] is False


async def test_a_page_has_one_message_at_least(transport: str) -> None:
    limits = Limits(page_bytes=1024)
    async with (
        running_server(limits=limits) as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        ids = [await alice.send("bob", "x" * 2000) for _ in range(3)]
        assert await all_pages(bob) == [[one] for one in ids]


async def test_a_cursor_beyond_the_newest_message_is_refused(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        newest = await alice.send("carol")
        assert await bob.synced(last_message_id=newest) == []
        for cursor in ("msg_2", "msg_9223372036854775807"):
            assert await code_of(bob.sync_offline(last_message_id=cursor)) == "cursor_ahead"


async def test_a_refused_cursor_has_status_409() -> None:
    async with running_server() as server, rest(server, "bob") as bob:
        answer = await bob.request("GET", "/api/v1/messages/offline?last_message_id=msg_1")
        assert answer.status_code == 409


async def test_a_cursor_is_a_message_id(transport: str) -> None:
    no_cursors = [
        "1", "msg_", "msg_-1", "msg_007", "msg_1.0", "msg_1 ", "MSG_1", "msg_١", "msg_+1", "\u0000",
        "msg_9223372036854775808", "msg_99999999999999999999", "group_1", "msg_1msg_2",
    ]  # fmt: skip
    async with running_server() as server, acting(server, transport, "bob") as bob:
        for cursor in no_cursors:
            answer = await refusal_of(bob.sync_offline(last_message_id=cursor))
            assert answer["code"] == "invalid_request"
            assert answer["error"] == "last_message_id is not a message id"


async def test_sync_respects_joins_and_leaves(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group()  # msg_1
        await alice.send_to_group(group_id)  # msg_2
        await bob.join_group(group_id)  # msg_3
        await alice.send_to_group(group_id)  # msg_4
        await bob.leave_group(group_id)  # msg_5
        await alice.send_to_group(group_id)  # msg_6
        await bob.join_group(group_id)  # msg_7
        await alice.send_to_group(group_id)  # msg_8
        theirs = ["msg_3", "msg_4", "msg_5", "msg_7", "msg_8"]
        assert await bob.synced() == theirs
        assert await bob.synced(last_message_id="msg_0") == theirs
        assert await all_pages(bob, limit=1) == [[one] for one in theirs]
        assert await bob.synced(last_message_id="msg_5") == theirs[3:]


async def test_two_devices_sync_independently(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as phone,
        acting(server, transport, "bob") as laptop,
    ):
        ids = [await alice.send("bob") for _ in range(3)]
        assert await phone.synced() == ids
        await phone.ack(ids[2], cumulative=True)
        assert await laptop.synced() == []
        assert await laptop.synced(last_message_id="msg_0") == ids  # with a cursor of its own

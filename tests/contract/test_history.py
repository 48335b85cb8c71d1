"""Pages of a conversation: before, after and around a place, and nothing that is not one's own."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from imserver.config import Limits
from tests.contract.api import Api, acting, code_of
from tests.support import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with running_server() as running:
        yield running


async def page(user: Api, **request: Any) -> tuple[list[str], bool, bool]:
    """The ids on a page of the conversation with Bob, and whether there are older and newer."""
    if "group_id" not in request:
        request.setdefault("user_id", "bob")
    answer = await user.call("get_history", request)
    ids = [message["id"] for message in answer["messages"]]
    return ids, answer["has_older"], answer["has_newer"]


async def contents(user: Api, group_id: str) -> list[str]:
    """All texts of a group that a user may see, read backwards in pages of two."""
    found: list[str] = []
    request: dict[str, Any] = {"group_id": group_id, "limit": 2, "type": "text"}
    while True:
        answer = await user.call("get_history", request)
        found = [message["content"] for message in answer["messages"]] + found
        if not answer["has_older"]:
            return found
        request["before"] = answer["messages"][0]["id"]


async def test_each_way_through_a_conversation(server: Server, transport: str) -> None:
    async with acting(server, transport, "alice") as alice:
        ids = []
        for number in range(9):
            ids.append(await alice.send("bob", str(number)))
            await alice.send("carol", "another conversation")
        assert await page(alice) == (ids, False, False)
        assert await page(alice, limit=9) == (ids, False, False)
        assert await page(alice, limit=8) == (ids[1:], True, False)
        assert await page(alice, before=ids[4], limit=4) == (ids[:4], False, True)
        assert await page(alice, before=ids[4], limit=3) == (ids[1:4], True, True)
        assert await page(alice, after=ids[4], limit=4) == (ids[5:], True, False)
        assert await page(alice, after=ids[4], limit=3) == (ids[5:8], True, True)
        assert await page(alice, around=ids[4], limit=3) == (ids[3:6], True, True)
        assert await page(alice, around=ids[4], limit=1) == ([ids[4]], True, True)
        assert await page(alice, around=ids[1], limit=6) == (ids[:6], False, True)
        assert await page(alice, around=ids[8], limit=4) == (ids[5:], True, False)
        assert await page(alice, before=ids[0]) == ([], False, True)
        assert await page(alice, after=ids[8]) == ([], True, False)


async def test_around_and_then_backwards_goes_on_from_there(server: Server, transport: str) -> None:
    async with acting(server, transport, "alice") as alice:
        ids = [await alice.send("bob", str(number)) for number in range(20)]
        around, has_older, _ = await page(alice, around=ids[8], limit=4)
        assert has_older
        older, _, has_newer = await page(alice, before=around[0], limit=4)
        assert has_newer
        assert older + around == ids[ids.index(around[-1]) - 7 : ids.index(around[-1]) + 1]


async def test_a_place_need_not_be_a_message_of_the_conversation(
    server: Server, transport: str
) -> None:
    async with acting(server, transport, "alice") as alice:
        first = await alice.send("bob")
        foreign = await alice.send("carol")
        last = await alice.send("bob")
        assert await page(alice, around=foreign) == ([first, last], False, False)
        assert await page(alice, before=foreign) == ([first], False, True)
        assert await page(alice, after="msg_0") == ([first, last], False, False)
        assert await page(alice, before="msg_9223372036854775807") == ([first, last], False, False)
        assert await page(alice, after="msg_9223372036854775807") == ([], True, False)


async def test_only_one_type(server: Server, transport: str) -> None:
    async with acting(server, transport, "alice") as alice:
        image = await alice.send_message(receiver_id="bob", content="a", type="image")
        text = await alice.send("bob")
        assert await page(alice, type="image") == ([image["message_id"]], False, False)
        assert await page(alice, type="text") == ([text], False, False)
        assert await page(alice, type="voice") == ([], False, False)


async def test_former_members_keep_what_their_time_covers(server: Server, transport: str) -> None:
    async with (
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group()
        said: list[str] = []
        for coming in range(3):
            await alice.send_to_group(group_id, f"unseen {coming}")
            await bob.join_group(group_id)
            for number in range(3):
                said.append(f"{coming} {number}")
                await alice.send_to_group(group_id, said[-1])
            await bob.leave_group(group_id)
        unseen = await alice.send_to_group(group_id, "unseen at last")
        assert await contents(bob, group_id) == said
        found, has_older, has_newer = await page(bob, group_id=group_id, around=unseen)
        assert unseen not in found
        assert (has_older, has_newer) == (False, False)
        forwards = await bob.call("get_history", {"group_id": group_id, "after": "msg_0"})
        texts = [one["content"] for one in forwards["messages"] if one["type"] == "text"]
        assert texts == said


async def test_a_page_is_bounded_in_bytes_and_nothing_is_skipped(transport: str) -> None:
    limits = Limits(page_bytes=4096)
    async with (
        running_server(limits=limits) as server,
        acting(server, transport, "alice") as alice,
    ):
        ids = [await alice.send("bob", "x" * 1000) for _ in range(10)]
        found, before = [], {}
        while True:
            older, has_older, _ = await page(alice, **before)
            assert 1 <= len(older) <= 4
            found = older + found
            if not has_older:
                break
            before = {"before": older[0]}
        assert found == ids
        assert ids[5] in (await page(alice, around=ids[5]))[0]


async def test_the_status_is_the_viewers(server: Server, transport: str) -> None:
    async with (
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        message_id = await alice.send("bob")
        await bob.ack(message_id)
        [message] = (await alice.call("get_history", {"user_id": "bob"}))["messages"]
        assert message == await alice.get_message(message_id)
        assert message["status"] == "read"


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"user_id": "bob", "group_id": "group_x"},
        {"user_id": "bob", "limit": 0},
        {"user_id": "bob", "limit": 201},
        {"user_id": "bob", "around": "x"},
        {"user_id": "bob", "type": "poem"},
        *(
            {"user_id": "bob", one: "msg_1", other: "msg_1"}
            for one, other in pairwise(("before", "after", "around", "before"))
        ),
    ],
)
async def test_what_is_refused(server: Server, request_: dict[str, Any]) -> None:
    async with acting(server, "websocket", "alice") as alice:
        await alice.send("bob")
        assert await code_of(alice.call("get_history", request_)) == "invalid_request"


async def test_a_conversation_of_others_does_not_exist(server: Server, transport: str) -> None:
    async with (
        acting(server, transport, "alice") as alice,
        acting(server, transport, "eve") as eve,
    ):
        await alice.send("bob")
        group_id = await alice.create_group()
        for request in ({"user_id": "bob"}, {"user_id": "nobody"}, {"group_id": group_id}):
            assert await code_of(eve.call("get_history", request)) == "not_found"

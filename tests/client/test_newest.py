"""`include_newest`: where a client that starts without a cursor may resume from."""

from __future__ import annotations

import msgspec

from tests.support import login, running_server

ASK = {"include_newest": True}


async def test_an_empty_page_names_the_newest_message_of_all() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        assert await alice.call("sync_offline", ASK) == {
            "messages": [],
            "has_more": False,
            "newest_message_id": "msg_0",
        }
        sent = await alice.call("send_message", {"receiver_id": "bob", "content": "hi"})
        page = await alice.call("sync_offline", ASK)
        assert page["messages"] == []
        assert page["newest_message_id"] == sent["message_id"]
        # It is a cursor like any other.
        after = {"last_message_id": page["newest_message_id"], "include_own": True}
        assert (await alice.call("sync_offline", after))["messages"] == []


async def test_it_is_beyond_a_page_that_does_not_hold_everything() -> None:
    async with (
        running_server() as server,
        login(server, "alice") as alice,
        login(server, "bob") as bob,
    ):
        for content in ("one", "two", "three"):
            last = await alice.call("send_message", {"receiver_id": "bob", "content": content})
        page = await bob.call("sync_offline", ASK | {"limit": 1})
        assert [message["content"] for message in page["messages"]] == ["one"]
        assert page["has_more"] is True
        assert page["newest_message_id"] == last["message_id"]


async def test_who_does_not_ask_gets_the_documents_page() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        page = await alice.call("sync_offline")
        assert msgspec.json.encode(page) == b'{"messages":[],"has_more":false}'

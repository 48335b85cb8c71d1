"""Who gets a message pushed: the design's section, Who gets it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from tests.contract.api import OverWebSocket, acting
from tests.support import login, running_server

if TYPE_CHECKING:
    from tests.contract.api import Api
    from tests.support import Socket


async def contents(socket: Socket, count: int) -> list[str]:
    """The contents of the next pushes, of which there must be no more than `count`."""
    pushed = [(await socket.push())["data"]["content"] for _ in range(count)]
    await socket.no_push()
    return pushed


async def nothing_came_to(api: Api) -> None:
    """Make sure that the session over which a user acted was pushed nothing."""
    if isinstance(api, OverWebSocket):
        await api.socket.no_push()


async def test_all_sessions_of_both_get_it_once_but_the_sending_one(transport: str) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        listeners = [
            await stack.enter_async_context(login(server, user))
            for user in ("bob", "bob", "bob", "alice", "alice")
        ]
        stranger = await stack.enter_async_context(login(server, "mallory"))
        alice = await stack.enter_async_context(acting(server, transport, "alice"))
        sent = await alice.send_message(receiver_id="bob", content="hello")
        for listener in listeners:
            frame = await listener.push()
            assert frame["type"] == "new_message"
            assert frame["message_id"] == sent["message_id"]
            assert frame["data"] == sent["message"]
            await listener.no_push()
        await stranger.no_push()
        await nothing_came_to(alice)


async def test_all_members_of_a_group_get_it_and_nobody_else(transport: str) -> None:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(running_server())
        alice = await stack.enter_async_context(acting(server, transport, "alice"))
        group_id = await alice.create_group("bob", "carol", "dave")
        members = [
            await stack.enter_async_context(login(server, user))
            for user in ("bob", "bob", "carol", "alice")
        ]
        left = await stack.enter_async_context(acting(server, transport, "dave"))
        await left.leave_group(group_id)
        others = [
            await stack.enter_async_context(login(server, user)) for user in ("mallory", "dave")
        ]
        for member in members:
            assert (await member.push())["data"]["event"]["kind"] == "leave"
        sent = await alice.send_message(group_id=group_id, content="hello")
        for member in members:
            frame = await member.push()
            assert frame["type"] == "new_group_message"
            assert frame["message_id"] == sent["message_id"]
            assert frame["data"] == sent["message"]
            await member.no_push()
        for other in others:
            await other.no_push()


async def test_a_message_to_oneself_reaches_all_ones_sessions(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "alice") as other_session,
        acting(server, transport, "alice") as alice,
    ):
        sent = await alice.send_message(receiver_id="alice", content="remember the milk")
        assert (await other_session.push())["data"] == sent["message"]
        if isinstance(alice, OverWebSocket):
            frame = await alice.socket.push()  # the sending session too
            assert (frame["type"], frame["data"]) == ("new_message", sent["message"])
        assert await alice.synced() == [sent["message_id"]]
        assert (await alice.get_message(sent["message_id"]))["status"] == "sent"
        await alice.ack(sent["message_id"])
        assert (await alice.get_message(sent["message_id"]))["status"] == "read"
        assert await alice.synced() == []


async def test_everyone_gets_messages_in_the_one_order(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "bob") as bob,
        login(server, "carol") as carol,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "dave") as dave,
    ):
        group_id = await alice.create_group("bob", "carol", "dave")
        ids = [
            await sender.send_to_group(group_id, str(number))
            for number in range(10)
            for sender in (alice, dave)
        ]
        for member in (bob, carol):
            pushed = [(await member.push())["message_id"] for _ in range(21)]
            assert pushed[1:] == ids
            await member.no_push()


async def test_a_session_gets_what_came_after_its_login(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        await alice.send("bob", "before")
        async with login(server, "bob") as bob:
            await alice.send("bob", "after")
            assert await contents(bob, 1) == ["after"]
        await alice.send("bob", "while away")
        async with login(server, "bob") as bob:
            await alice.send("bob", "later")
            assert await contents(bob, 1) == ["later"]


async def test_a_session_that_has_not_logged_in_gets_nothing(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, "websocket", None) as nobody,
    ):
        await alice.send("bob", "before")
        assert isinstance(nobody, OverWebSocket)
        await nobody.socket.call("login", {"user_id": "bob"})
        await nobody.socket.no_push()


async def test_a_refused_send_is_pushed_to_nobody() -> None:
    async with (
        running_server() as server,
        login(server, "alice") as alice,
        login(server, "bob") as bob,
    ):
        for data in (
            {"receiver_id": "bob", "content": ""},
            {"receiver_id": "bob", "type": "system", "content": "hello"},
            {"receiver_id": "bob", "content": "x" * 70_000},
        ):
            assert (await alice.ask("send_message", data))["data"]["success"] is False
        await bob.no_push()
        await alice.no_push()

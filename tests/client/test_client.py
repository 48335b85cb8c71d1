"""The client against a running server: calls, events, refusals."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import pytest
import trio
import trio.testing

from imserver.client import (
    Client,
    ClientClosed,
    Code,
    Invitation,
    Message,
    Patience,
    Refused,
    StatusChange,
    Unreachable,
    Unread,
    inbox,
    open_client,
)
from imserver.service.operations import OPERATIONS
from tests.client.support import BRISK, LONG, free_port, messages, quiet, until
from tests.e2e.process import loaded_by
from tests.support import running_server


def test_every_operation_over_websocket_has_a_method() -> None:
    folder = Path(inspect.getfile(Client)).parent
    source = "".join(path.read_text("utf-8") for path in folder.glob("*.py"))
    asked = set(re.findall(r'\.(?:ask|_all)\(\s*"(\w+)"', source))
    missing = {operation.ws for operation in OPERATIONS if operation.ws} - asked - {"login"}
    assert not missing


async def test_a_conversation() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice") as alice,
        open_client(server.url.replace("http", "ws") + "/ws", "bob") as bob,
    ):
        sent = await alice.send("hello", to="bob")
        assert (sent.id, sent.sender_id, sent.receiver_id) == ("msg_1", "alice", "bob")
        assert (sent.type, sent.content, sent.status) == ("text", "hello", "sent")
        assert await anext(bob) == sent
        assert bob.cursor == alice.cursor == "msg_1"
        await bob.ack(sent.id, "delivered")
        await bob.ack(sent.id)
        changes = [await anext(alice), await anext(alice)]
        assert [(c.message_id, c.status, c.user_id) for c in changes] == [
            ("msg_1", "delivered", "bob"),
            ("msg_1", "read", "bob"),
        ]
        assert (await alice.get_message(sent.id)).status == "read"
        assert (await alice.sync("msg_0", own=True)).messages[0].id == "msg_1"
        assert abs(await alice.heartbeat() - sent.timestamp) < 60_000
        assert (await alice.health()).status == "ok"
        assert (await alice.stats()).online_users == 2
        assert alice.connected


async def test_groups() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice") as alice,
        open_client(server.url, "bob") as bob,
        open_client(server.url, "carol") as carol,
    ):
        group = await alice.create_group("team", ["bob"], description="us")
        created = await until(bob, Message)
        assert isinstance(created, Message)
        assert (created.sender_id, created.group_id) == ("system", group.id)
        assert created.event is not None
        assert created.event.kind == "created"
        assert await bob.get_group(group.id) == group
        assert await bob.groups() == [group]
        await carol.join(group.id)
        assert [member.user_id for member in await carol.members(group.id)] == [
            "alice",
            "bob",
            "carol",
        ]
        await carol.send("hi all", group=group.id)
        assert await messages(alice, 1) == await messages(bob, 1) == ["hi all"]
        await carol.leave(group.id)
        await alice.set_role(group.id, "bob", "admin")
        await alice.transfer_group(group.id, "bob")
        assert (await bob.update_group(group.id, name="crew", private=True)).name == "crew"
        await bob.invite(group.id, "dave")
        async with open_client(server.url, "dave") as dave:
            [invitation] = await dave.invitations()
            assert invitation.group_id == group.id
            await dave.decline(group.id)
            await bob.invite(group.id, "dave")
            assert isinstance(await until(dave, Invitation), Invitation)
            await dave.join(group.id)
        await bob.remove_member(group.id, "dave")
        assert [ban.user_id for ban in await bob.bans(group.id)] == ["dave"]
        await bob.unban_member(group.id, "dave")
        await bob.ban_member(group.id, "eve")
        await bob.invite(group.id, "frank")
        assert [sent.user_id for sent in await bob.sent_invitations(group.id)] == ["frank"]
        await bob.revoke_invitation(group.id, "frank")
        await bob.add_members(group.id, ["erin"])
        await bob.dissolve_group(group.id)
        with pytest.raises(Refused, match="no such group"):
            await bob.get_group(group.id)


async def test_refusals_carry_the_servers_code() -> None:
    async with running_server() as server, open_client(server.url, "alice") as alice:

        async def code(call: object) -> str:
            with pytest.raises(Refused) as refused:
                await call  # type: ignore[misc]
            return refused.value.code

        assert await code(alice.send("", to="bob")) == Code.INVALID_REQUEST
        assert await code(alice.send("x", to="bob", type="system")) == Code.FORBIDDEN
        assert await code(alice.send("x", group="group_nowhere")) == Code.NOT_FOUND
        assert await code(alice.send("x" * 70_000, to="bob")) == Code.TOO_LARGE
        assert await code(alice.get_message("msg_9")) == Code.NOT_FOUND
        assert await code(alice.sync("msg_9")) == Code.CURSOR_AHEAD
        assert await code(alice.join("group_nowhere")) == Code.NOT_FOUND
        sent = await alice.send("x", to="bob", client_msg_id="one")
        assert await alice.send("x", to="bob", client_msg_id="one") == sent
        assert await code(alice.send("y", to="bob", client_msg_id="one")) == Code.CONFLICT
        assert await code(alice.ack(sent.id)) == Code.FORBIDDEN
        assert alice.connected


async def test_a_frame_beyond_the_servers_limit_fails_its_call_and_no_other() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice", patience=BRISK) as alice,
        trio.open_nursery() as nursery,
    ):
        sent: list[str] = []

        async def send(content: str) -> None:
            sent.append((await alice.send(content, to="bob")).content)

        nursery.start_soon(send, "before")
        with pytest.raises(Refused) as refused, trio.fail_after(LONG):
            await alice.send("x" * 2_000_000, to="bob")
        assert refused.value.code == Code.TOO_LARGE
        await send("after")
        assert Counter(sent) == Counter(["before", "after"])


@pytest.mark.parametrize("options", [{}, {"to": "bob", "group": "g"}, {"to": ""}])
async def test_a_message_goes_to_one_place(options: dict[str, str]) -> None:
    async with running_server() as server, open_client(server.url, "alice") as alice:
        with pytest.raises(ValueError, match="either"):
            await alice.send("x", **options)


async def test_no_server() -> None:
    with pytest.raises(Unreachable, match="connection refused"):
        async with open_client(f"http://127.0.0.1:{free_port()}", "alice"):
            pass


async def test_something_else_answers() -> None:
    async def answer(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
        await stream.aclose()

    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.aclose()

    for handler, what in ((answer, "answers 404"), (hang_up, "closed the connection")):
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, handler, 0)
            port = listeners[0].socket.getsockname()[1]
            with pytest.raises(Unreachable, match=what), trio.fail_after(LONG):
                async with open_client(f"http://127.0.0.1:{port}", "alice"):
                    pass
            nursery.cancel_scope.cancel()


async def test_who_does_not_answer_is_not_waited_for() -> None:
    async def ignore(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, ignore, 0)
        port = listeners[0].socket.getsockname()[1]
        brief = Patience(connect=0.1)
        with pytest.raises(Unreachable, match="does not answer"), trio.fail_after(LONG):
            async with open_client(f"http://127.0.0.1:{port}", "alice", patience=brief):
                pass
        nursery.cancel_scope.cancel()


async def test_a_refused_login_is_raised() -> None:
    async with running_server() as server:
        for user_id, code in (("system", Code.FORBIDDEN), ("a b", Code.INVALID_REQUEST)):
            with pytest.raises(Refused) as refused:
                async with open_client(server.url, user_id):
                    pass
            assert refused.value.code == code


@pytest.mark.parametrize(
    "options",
    [{"url": "127.0.0.1:8080"}, {"url": "ftp://x"}, {"cursor": "17"}, {"buffer": 0}],
)
async def test_what_cannot_be_meant_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        async with open_client(**({"url": "http://127.0.0.1:1", "user_id": "alice"} | options)):
            pass


async def test_what_the_program_raises_is_not_wrapped() -> None:
    async with running_server() as server:
        with pytest.raises(KeyError):
            async with open_client(server.url, "alice"):
                raise KeyError


async def test_a_closed_client_says_so_and_leaves_nothing_behind() -> None:
    async with running_server() as server:
        async with open_client(server.url, "alice") as alice:
            pass
        for attempt in (alice.heartbeat, alice.__anext__):
            with pytest.raises(ClientClosed):
                await attempt()
        async with open_client(server.url, "bob") as bob:
            with trio.fail_after(LONG):
                while (await bob.stats()).connections > 1:
                    pass


async def test_a_start_without_a_cursor_gets_what_is_not_acknowledged_and_what_is_new() -> None:
    async with running_server() as server, open_client(server.url, "alice") as alice:
        first = await alice.send("seen", to="bob")
        await alice.send("missed", to="bob")
        async with open_client(server.url, "bob") as bob:
            await bob.ack(first.id)
            await bob.send("mine", to="alice")
        async with open_client(server.url, "bob", buffer=1) as bob:
            await alice.send("new", to="bob")
            assert await messages(bob, 2) == ["missed", "new"]
            await quiet(bob)


async def test_a_start_with_a_cursor_goes_on_behind_it() -> None:
    async with running_server() as server, open_client(server.url, "alice") as alice:
        for number in range(10):
            last = await alice.send(str(number), to="bob")
        async with open_client(server.url, "bob", cursor="msg_0") as bob:
            assert await messages(bob, 4) == ["0", "1", "2", "3"]
            cursor = bob.cursor
            await bob.ack(last.id, cumulative=True)  # acknowledging moves no cursor
        assert cursor == "msg_4"
        async with open_client(server.url, "bob", cursor=cursor) as bob:
            assert await messages(bob, 6) == ["4", "5", "6", "7", "8", "9"]
            await quiet(bob)


async def test_other_devices_messages_come_and_own_sends_do_not() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice") as phone,
        open_client(server.url, "alice") as laptop,
        open_client(server.url, "alice", own=True) as mirror,
    ):
        await phone.send("from the phone", to="bob")
        await laptop.send("from the laptop", to="bob")
        await phone.send("note", to="alice")
        await mirror.send("from the mirror", to="bob")
        assert await messages(phone, 2) == ["from the laptop", "from the mirror"]
        assert await messages(laptop, 3) == ["from the phone", "note", "from the mirror"]
        assert await messages(mirror, 4) == [
            "from the phone",
            "from the laptop",
            "note",
            "from the mirror",
        ]
        for client in (phone, laptop, mirror):
            await quiet(client)


async def test_who_reads_nothing_loses_nothing_and_keeps_little() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice") as alice,
        open_client(server.url, "bob", buffer=8) as bob,
    ):
        for number in range(300):
            await alice.send(str(number), to="bob")
        # Answers go on coming past the events that nobody takes.
        await bob.send("still here", to="alice")
        assert await messages(alice, 1) == ["still here"]
        assert bob._inbox is not None
        assert len(bob._inbox._ready) <= 8 + 8 + 2
        assert await messages(bob, 300) == [str(number) for number in range(300)]
        await quiet(bob)


async def test_who_reads_slowly_while_much_comes_gets_it_in_order() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "bob", buffer=3) as bob,
        trio.open_nursery() as nursery,
    ):

        async def send(name: str) -> None:
            async with open_client(server.url, name, events=False) as client:
                for number in range(40):
                    await client.send(f"{name} {number}", to="bob")

        names = ("alice", "carol", "dave")
        for name in names:
            nursery.start_soon(send, name)
        found = []
        for _ in range(120):
            found += await messages(bob, 1)
            await trio.lowlevel.checkpoint()
        for name in names:
            assert [text for text in found if text.startswith(name)] == [
                f"{name} {number}" for number in range(40)
            ]
        order = [message.content for message in (await bob.sync("msg_0", limit=200)).messages]
        assert found == order


async def test_a_cancelled_iteration_takes_nothing() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice") as alice,
        open_client(server.url, "bob") as bob,
    ):
        found = []
        for number in range(50):
            await alice.send(str(number), to="bob")
            with trio.move_on_after(0):
                found += await messages(bob, 1)
        found += await messages(bob, 50 - len(found))
        assert found == [str(number) for number in range(50)]


async def test_one_task_at_a_time_reads_the_events() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "bob") as bob,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(bob.__anext__)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await anext(bob)
        nursery.cancel_scope.cancel()


async def test_a_program_without_events_keeps_nothing_for_them() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice", events=False) as alice,
        open_client(server.url, "bob") as bob,
    ):
        await bob.send("hi", to="alice")
        await alice.send("hi", to="bob")
        assert alice.cursor is None
        with pytest.raises(ValueError, match="events=False"):
            await anext(alice)


async def test_sending_for_ever_without_reading_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MOST_OWN", 20)
    async with (
        running_server() as server,
        open_client(server.url, "alice", buffer=1) as alice,
        open_client(server.url, "bob") as bob,
    ):

        async def chatter() -> None:
            for number in range(60):
                await bob.send(str(number), to="alice")
                await alice.send(str(number), to="bob")

        with pytest.raises(Unread):
            await chatter()
        # Reading is all that it takes.
        while alice._inbox is not None and alice._inbox.crowded:
            await messages(alice, 1)
        await alice.send("on we go", to="bob")


async def test_a_cumulative_ack_is_told_as_one() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice") as alice,
        open_client(server.url, "bob") as bob,
    ):
        for number in range(3):
            last = await alice.send(str(number), to="bob")
        await bob.ack(last.id, "read", cumulative=True)
        change = await anext(alice)
        assert isinstance(change, StatusChange)
        assert (change.message_id, change.status, change.cumulative) == (last.id, "read", True)


@pytest.mark.parametrize(
    "modules", ["imserver.client", "imserver.cli.program", "imserver.chat.start"]
)
def test_who_does_not_serve_does_not_load_the_server(modules: str) -> None:
    assert loaded_by(modules, "imserver.server") == []
    assert loaded_by(modules, "quart") == []


async def test_history_is_read_in_pages() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice", events=False) as alice,
        open_client(server.url, "eve", events=False) as eve,
    ):
        group = await alice.create_group("plans", ["bob"])
        sent = [(await alice.send(str(number), to="bob")).id for number in range(5)]
        said = await alice.send("hello", group=group.id)
        page = await alice.history(user="bob", around=sent[2], limit=3)
        assert [message.id for message in page.messages] == sent[1:4]
        assert (page.has_older, page.has_newer) == (True, True)
        page = await alice.history(user="bob", before=sent[1])
        assert [message.id for message in page.messages] == sent[:1]
        page = await alice.history(user="bob", after=sent[3])
        assert [message.id for message in page.messages] == sent[4:]
        page = await alice.history(group=group.id, type="text")
        assert page.messages == [said]
        with pytest.raises(Refused, match="not_found"):
            await eve.history(group=group.id)


async def test_conversations_are_listed_and_read() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice", events=False) as alice,
        open_client(server.url, "bob", events=False) as bob,
    ):
        group = await alice.create_group("plans", ["bob"])
        first = await alice.send("one", to="bob")
        last = await alice.send("two", to="bob")
        page = await bob.conversations(unread_only=True)
        assert [(one.user_id, one.unread) for one in page.conversations] == [("alice", 2)]
        assert (page.unread, page.next) == (2, None)
        listed = await bob.conversations(limit=1)
        assert listed.next is not None
        others = await bob.conversations(limit=1, cursor=listed.next)
        assert [one.group_id for one in others.conversations] == [group.id]
        await bob.mark_read(user="alice", upto=first.id)
        assert (await bob.conversation(user="alice")).unread == 1
        await bob.mark_read(user="alice")
        conversation = await bob.conversation(user="alice")
        assert (conversation.unread, conversation.read_id) == (0, last.id)


async def test_a_search_gives_ranges_of_characters() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice", events=False) as alice,
        open_client(server.url, "eve", events=False) as eve,
    ):
        group = await alice.create_group("plans", ["bob"])
        first = await alice.send("\U0001f600 meet at 六点 tomorrow", to="bob")
        second = await alice.send("the meeting moved", group=group.id)
        page = await alice.search("meet")
        assert [hit.message.id for hit in page.hits] == [second.id, first.id]
        [(start, end)] = page.hits[1].ranges
        assert page.hits[1].message.content[start:end] == "meet"
        [hit] = (await alice.search("六", user="bob")).hits
        assert [hit.message.content[start:end] for start, end in hit.ranges] == ["六"]
        newest = await alice.search("meet", limit=1)
        assert newest.next is not None
        older = await alice.search("meet", limit=1, cursor=newest.next)
        assert [hit.message.id for hit in newest.hits + older.hits] == [second.id, first.id]
        assert (await eve.search("meet")).hits == []
        with pytest.raises(Refused, match="not_found"):
            await eve.search("meet", group=group.id)

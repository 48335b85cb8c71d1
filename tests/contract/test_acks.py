"""How far a message has come, and who is told: the design's section, Ack."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.contract.api import OverWebSocket, acting, code_of
from tests.support import login, running_server

if TYPE_CHECKING:
    from tests.support import Socket


async def status_change(socket: Socket) -> dict[str, Any]:
    """The payload of the next push, which must be a `message_status`."""
    frame = await socket.push()
    assert list(frame) == ["type", "data", "timestamp"]
    assert frame["type"] == "message_status"
    assert frame["data"].pop("timestamp") == frame["timestamp"]
    return frame["data"]


async def skip_new_messages(socket: Socket, count: int) -> None:
    """Take `count` pushes of messages."""
    for _ in range(count):
        assert (await socket.push())["type"].startswith("new_")


async def test_only_delivered_and_read_can_be_said(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        message_id = await alice.send("bob")
        for status in ("sent", "failed", "READ", "seen", "", " read", None, 2):
            assert await code_of(bob.ack(message_id, status)) == "invalid_request"
        assert await alice.status(message_id) == "sent"


async def test_the_sender_cannot_ack_and_for_a_stranger_there_is_nothing(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "mallory") as mallory,
    ):
        group_id = await alice.create_group("bob")
        for message_id in (await alice.send("bob"), await alice.send_to_group(group_id)):
            for user, code in ((alice, "forbidden"), (mallory, "not_found")):
                assert await code_of(user.ack(message_id)) == code
            assert await bob.status(message_id) == "sent"


async def test_what_is_no_message_cannot_be_acked(transport: str) -> None:
    no_messages = [
        "msg_2", "msg_0", "msg_-1", "msg_01", "msg_9223372036854775807", "msg_9223372036854775808",
        "msg_99999999999999999999", "msg_", "1", "MSG_1", "msg_1x", "msg_١", "group_1", "\u0000",
        "msg_" + "1" * 10_000,
    ]  # fmt: skip
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        assert await alice.send("bob") == "msg_1"
        for message_id in no_messages:
            assert await code_of(bob.ack(message_id)) == "not_found"
            assert await code_of(bob.get_message(message_id)) == "not_found"
        assert await alice.status("msg_1") == "sent"


async def test_a_push_delivers_nothing_only_an_ack_does(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "bob") as socket,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        message_id = await alice.send("bob")
        await socket.push()
        assert await bob.synced() == [message_id]
        await bob.get_message(message_id)
        assert await alice.status(message_id) == "sent"
        await bob.ack(message_id, "delivered")
        assert await alice.status(message_id) == "delivered"


async def test_read_implies_delivered(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        message_id = await alice.send("bob")
        await bob.ack(message_id, "read")
        assert await bob.synced() == []
        assert await alice.status(message_id) == "read"


async def test_an_ack_concerns_its_message_alone(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        ids = [await alice.send("bob", str(number)) for number in range(5)]
        await bob.ack(ids[3], "read")
        await bob.ack(ids[1], "delivered")
        expected = ["sent", "delivered", "sent", "read", "sent"]
        assert [await alice.status(one) for one in ids] == expected
        assert [await bob.status(one) for one in ids] == expected
        assert await bob.synced() == [ids[0], ids[2], ids[4]]
        await bob.ack(ids[0], "delivered")
        await bob.ack(ids[2], "delivered")
        assert [await alice.status(one) for one in ids[:4]] == ["delivered"] * 3 + ["read"]
        assert await bob.synced() == [ids[4]]


async def test_a_cumulative_ack_concerns_all_before_it_in_the_conversation(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
    ):
        ids = [await alice.send("bob", str(number)) for number in range(4)]
        elsewhere = await carol.send("bob")
        ids.append(await alice.send("bob"))
        assert await bob.ack(ids[3], "delivered", cumulative=True) == {"success": True}
        assert [await alice.status(one) for one in ids] == ["delivered"] * 4 + ["sent"]
        assert await carol.status(elsewhere) == "sent"
        assert await bob.synced() == [elsewhere, ids[4]]
        await bob.ack(ids[1], "read", cumulative=True)
        assert [await alice.status(one) for one in ids[:3]] == ["read", "read", "delivered"]


async def test_cumulative_is_true_or_false(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        message_id = await alice.send("bob")
        for cumulative in ("true", 1, []):
            ack = bob.ack(message_id, cumulative=cumulative)
            assert await code_of(ack) == "invalid_request"
        assert await alice.status(message_id) == "sent"


async def test_it_never_goes_backwards_and_repeats_harmlessly(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "alice") as listener,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        message_id = await alice.send("bob")
        await skip_new_messages(listener, 1)
        for status in ("read", "delivered", "read", "delivered"):
            for cumulative in (False, True):
                answer = await bob.ack(message_id, status, cumulative=cumulative)
                assert answer == {"success": True}
        assert await alice.status(message_id) == "read"
        # The first was news, and the only one.
        change = {"message_id": message_id, "status": "read", "user_id": "bob"}
        assert await status_change(listener) == change
        await listener.no_push()


async def test_the_senders_sessions_and_the_recipients_other_ones_are_told(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "alice") as first,
        login(server, "alice") as second,
        login(server, "bob") as other,
        login(server, "mallory") as stranger,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        message_id = await alice.send("bob")
        for socket in (first, second, other):
            await skip_new_messages(socket, 1)
        if isinstance(bob, OverWebSocket):
            await skip_new_messages(bob.socket, 1)
        for status in ("delivered", "read"):
            await bob.ack(message_id, status)
            for socket in (first, second, other):
                assert await status_change(socket) == {
                    "message_id": message_id,
                    "status": status,
                    "user_id": "bob",
                }
        for socket in (first, second, other, stranger):
            await socket.no_push()
        if isinstance(bob, OverWebSocket):
            await bob.socket.no_push()


async def test_each_sender_is_told_of_their_own_highest_message(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "carol") as carol,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("carol", "bob")  # msg_1
        for user in (alice, carol, alice, carol, alice):  # msg_2 ... msg_6
            await user.send_to_group(group_id)
        async with (
            login(server, "alice") as of_alice,
            login(server, "carol") as of_carol,
            login(server, "bob") as of_bob,
        ):
            await bob.ack("msg_5", "read", cumulative=True)
            change = {"status": "read", "user_id": "bob", "cumulative": True}
            assert await status_change(of_alice) == {"message_id": "msg_4"} | change
            assert await status_change(of_carol) == {"message_id": "msg_5"} | change
            assert await status_change(of_bob) == {"message_id": "msg_5"} | change
            await bob.ack("msg_5", "read", cumulative=True)
            for socket in (of_alice, of_carol, of_bob):
                await socket.no_push()


async def test_in_a_group_the_sender_sees_what_all_others_have_reached(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
    ):
        group_id = await alice.create_group("bob", "carol")
        message_id = await alice.send_to_group(group_id)
        for user, status, seen in (
            (bob, "delivered", "sent"),
            (bob, "read", "sent"),
            (carol, "delivered", "delivered"),
            (carol, "read", "read"),
        ):
            await user.ack(message_id, status)
            assert await alice.status(message_id) == seen
            assert await user.status(message_id) == status  # to a recipient: their own


async def test_in_a_group_those_count_who_were_there_and_still_are(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
        acting(server, transport, "dave") as dave,
    ):
        group_id = await alice.create_group("bob", "carol")
        message_id = await alice.send_to_group(group_id)
        await dave.join_group(group_id)  # was not there
        await bob.ack(message_id, "read")
        assert await alice.status(message_id) == "sent"
        await carol.leave_group(group_id)  # is there no more
        assert await alice.status(message_id) == "read"
        await bob.leave_group(group_id)
        assert await alice.status(message_id) == "sent"  # nobody is left who was there


async def test_alone_in_a_group_messages_stay_sent(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        group_id = await alice.create_group()
        assert await alice.status(await alice.send_to_group(group_id)) == "sent"


async def test_messages_of_the_server_can_be_acked(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        await alice.create_group()
        assert await alice.synced() == ["msg_1"]
        await alice.ack("msg_1", "read")
        assert await alice.synced() == []
        assert await alice.status("msg_1") == "read"


async def test_a_former_member_may_ack_what_they_may_see(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        theirs = await alice.send_to_group(group_id)
        await bob.leave_group(group_id)
        not_theirs = await alice.send_to_group(group_id)
        assert await bob.ack(theirs) == {"success": True}
        assert await bob.status(theirs) == "read"
        assert await code_of(bob.ack(not_theirs)) == "not_found"


async def test_an_ack_of_a_note_to_oneself_is_told_once(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "alice") as other,
        acting(server, transport, "alice") as alice,
    ):
        message_id = await alice.send("alice")
        await skip_new_messages(other, 1)
        await alice.ack(message_id)
        change = {"message_id": message_id, "status": "read", "user_id": "alice"}
        assert await status_change(other) == change
        await other.no_push()

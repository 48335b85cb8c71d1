"""Who may see what: the design's section, Visibility."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contract.api import acting, code_of, refusal_of
from tests.support import Refused, running_server

if TYPE_CHECKING:
    from tests.contract.api import Api


async def sees(user: Api, message_id: str) -> bool:
    """Whether a message exists for a user."""
    try:
        message = await user.get_message(message_id)
    except Refused as refused:
        message = refused.answer
    assert message.get("id", message.get("code")) in (message_id, "not_found")
    return "id" in message


async def test_messages_exist_for_their_participants_only(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "mallory") as mallory,
        acting(server, transport, "new") as new,
    ):
        group_id = await alice.create_group("bob")
        await mallory.send("bob", "a user that exists")
        for message_id in (await alice.send("bob"), await alice.send_to_group(group_id)):
            assert [await sees(user, message_id) for user in (alice, bob, mallory, new)] == [
                True,
                True,
                False,
                False,
            ]


async def test_what_does_not_exist_and_what_is_not_ones_own_look_the_same(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "mallory") as mallory,
    ):
        message_id = await alice.send("bob")
        group_id = await alice.create_group("bob")
        for call, hidden, missing in (
            (mallory.get_message, message_id, "msg_99"),
            (mallory.ack, message_id, "msg_99"),
            (mallory.get_group, group_id, "group_none"),
            (mallory.get_members, group_id, "group_none"),
            (mallory.leave_group, group_id, "group_none"),
        ):
            assert await refusal_of(call(hidden)) == await refusal_of(call(missing))


async def test_groups_exist_for_their_members_only(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "mallory") as mallory,
    ):
        group_id = await alice.create_group("bob")
        for user in (alice, bob):
            assert (await user.get_group(group_id))["id"] == group_id
            assert len(await user.get_members(group_id)) == 2
        for look in (mallory.get_group, mallory.get_members):
            assert await code_of(look(group_id)) == "not_found"


async def test_a_member_sees_what_came_while_they_belonged(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group()
        before = await alice.send_to_group(group_id)
        await bob.join_group(group_id)
        joined = "msg_3"
        during = await alice.send_to_group(group_id)
        await bob.leave_group(group_id)
        left = "msg_5"
        after = await alice.send_to_group(group_id)
        await bob.join_group(group_id)
        back = "msg_7"
        again = await alice.send_to_group(group_id)
        seen = {one: await sees(bob, one) for one in (before, during, after, again)}
        assert seen == {before: False, during: True, after: False, again: True}
        # A membership runs from the message that began it to the one that ended it.
        assert all([await sees(bob, one) for one in (joined, left, back)])


async def test_a_former_member_keeps_messages_and_does_not_see_the_group(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        theirs = await alice.send_to_group(group_id)
        own = await bob.send_to_group(group_id)
        await bob.leave_group(group_id)
        assert await sees(bob, theirs)
        assert await sees(bob, own)
        for look in (bob.get_group, bob.get_members):
            assert await code_of(look(group_id)) == "not_found"


async def test_messages_outlive_their_group(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        message_id = await alice.send_to_group(group_id)
        for user in (bob, alice):
            await user.leave_group(group_id)
        for user in (bob, alice):
            assert await sees(user, message_id)
            assert message_id in await user.synced(last_message_id="msg_0", include_own=True)

"""Founding, joining, leaving, and what a group tells of itself: the design's section, Groups."""

from __future__ import annotations

import re
from typing import Any

import pytest

from imserver.config import Limits
from tests.contract.api import OverWebSocket, acting, code_of, refusal_of
from tests.support import login, rest, running_server

NAME_LENGTH = 128  # characters
DESCRIPTION_LENGTH = 1024  # characters
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


async def test_the_creator_is_owner_and_the_others_are_listed_once(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        group_id = await alice.create_group("carol", "bob", "carol", "alice", "bob")
        group = await alice.get_group(group_id)
        assert group["owner_id"] == "alice"
        assert group["members"] == ["carol", "bob"]
        members = await alice.get_members(group_id)
        assert [(member["user_id"], member["role"]) for member in members] == [
            ("alice", "owner"),
            ("carol", "member"),
            ("bob", "member"),
        ]
        assert len({member["id"] for member in members}) == 3


async def test_the_list_of_members_may_be_left_out(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        for members in ({}, {"members": None}, {"members": []}):
            group = (await alice.call("create_group", {"name": "mine"} | members))["group"]
            assert (group["owner_id"], group["members"]) == ("alice", [])


async def test_group_ids_are_twelve_random_characters(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        ids = {await alice.create_group() for _ in range(10)}
        assert len(ids) == 10
        assert all(re.fullmatch(r"group_[a-z0-9]{12}", group_id) for group_id in ids)


async def test_name_and_description_have_their_lengths(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        for name, description in (
            ("群", ""),
            ("群" * NAME_LENGTH, "述" * DESCRIPTION_LENGTH),
            ("群", None),
        ):
            group_id = await alice.create_group(name=name, description=description)
            group = await alice.get_group(group_id)
            assert (group["name"], group["description"]) == (name, description or "")
        for request in (
            {"name": ""},
            {"name": None},
            {"name": 5},
            {"name": "群" * (NAME_LENGTH + 1)},
            {"description": "述" * (DESCRIPTION_LENGTH + 1)},
            {"description": 5},
        ):
            assert await code_of(alice.create_group(**request)) == "invalid_request"
        assert await code_of(alice.call("create_group", {})) == "invalid_request"


async def test_malformed_members_are_refused(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        malformed: tuple[Any, ...] = ("bob", {}, [5], [None], [""], ["two words"], ["x" * 65])
        for members in malformed:
            create = alice.call("create_group", {"name": "mine", "members": members})
            assert await code_of(create) == "invalid_request"
        assert await code_of(alice.create_group("system")) == "forbidden"


async def test_times_are_rfc3339_in_utc() -> None:
    now = [1704067200999]  # 2024-01-01T00:00:00Z and a bit
    async with (
        running_server(clock=lambda: now[0]) as server,
        rest(server, "alice") as alice,
        rest(server, "bob") as bob,
    ):
        group = (await alice.post("/api/v1/groups", {"name": "mine"}))["group"]
        assert group["created_at"] == group["updated_at"] == "2024-01-01T00:00:00Z"
        now[0] += 3_600_000
        path = f"/api/v1/groups/{group['id']}"
        await bob.post(f"{path}/join")
        group = (await bob.get(path))["group"]
        assert (group["created_at"], group["updated_at"]) == (
            "2024-01-01T00:00:00Z",
            "2024-01-01T01:00:00Z",
        )
        members = (await bob.get(f"{path}/members"))["members"]
        assert [member["joined_at"] for member in members] == [
            "2024-01-01T00:00:00Z",
            "2024-01-01T01:00:00Z",
        ]


async def test_times_are_those_of_the_clock_on_the_wall(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        group = await alice.get_group(await alice.create_group())
        assert TIME.fullmatch(group["created_at"])
        assert TIME.fullmatch(group["updated_at"])


async def test_joining_twice_and_leaving_again_change_nothing(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "alice") as listener,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group()
        for act, members in ((bob.join_group, ["bob"]), (bob.leave_group, [])):
            for _ in range(3):
                assert await act(group_id) == {"success": True}
                assert (await alice.get_group(group_id))["members"] == members
        assert await alice.join_group(group_id) == {"success": True}  # its owner, too
        assert (await alice.get_group(group_id))["owner_id"] == "alice"
        kinds = [(await listener.push())["data"]["event"]["kind"] for _ in range(3)]
        assert kinds == ["created", "join", "leave"]
        await listener.no_push()


async def test_the_last_leavers_retry_is_safe_too(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        group_id = await alice.create_group()
        for _ in range(3):
            assert await alice.leave_group(group_id) == {"success": True}


async def test_one_cannot_leave_what_one_never_was_in(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "mallory") as mallory,
    ):
        group_id = await alice.create_group()
        await mallory.send("alice", "a user that exists")
        for absent in (group_id, "group_none", "\u0000", "x" * 10_000):
            assert await code_of(mallory.leave_group(absent)) == "not_found"


async def test_one_cannot_join_what_is_not_there(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        closed = await alice.create_group()
        await alice.leave_group(closed)
        for absent in (closed, "group_none", "alice", "\u0000", "x" * 10_000):
            assert await code_of(bob.join_group(absent)) == "not_found"


async def test_an_owner_who_leaves_hands_the_group_to_the_longest_standing(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "dave") as listener,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
        acting(server, transport, "dave") as dave,
    ):
        group_id = await alice.create_group("carol", "bob")
        await dave.join_group(group_id)
        await carol.leave_group(group_id)
        await carol.join_group(group_id)  # the last in line now
        for leaver, heir, others in (
            (alice, "bob", ["dave", "carol"]),
            (bob, "dave", ["carol"]),
            (dave, "carol", []),
        ):
            await leaver.leave_group(group_id)
            group = await carol.get_group(group_id)
            assert (group["owner_id"], group["members"]) == (heir, others)
            members = await carol.get_members(group_id)
            assert [member["user_id"] for member in members if member["role"] == "owner"] == [heir]
        kinds = [(await listener.push())["data"]["event"]["kind"] for _ in range(8)]
        assert kinds == ["join", "leave", "join", *["leave", "transfer"] * 2, "leave"]
        # Whoever comes back comes back as a member.
        await alice.join_group(group_id)
        assert (await alice.get_group(group_id))["owner_id"] == "carol"


async def test_the_last_one_out_closes_the_group(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        await alice.leave_group(group_id)
        assert (await bob.get_group(group_id))["owner_id"] == "bob"
        await bob.leave_group(group_id)
        for user in (alice, bob):
            for look in (user.get_group, user.get_members, user.join_group):
                assert await code_of(look(group_id)) == "not_found"


async def test_what_happens_in_a_group_stands_in_it(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
    ):
        group_id = await alice.create_group("carol", name='the "best"')
        await bob.join_group(group_id)
        await alice.leave_group(group_id)
        messages = (await carol.sync_offline())["messages"]
        for message in messages:
            assert list(message) == [
                "id", "sender_id", "group_id", "type", "content", "status", "timestamp", "event",
            ]  # fmt: skip
            assert (message["sender_id"], message["type"]) == ("system", "system")
            assert message["group_id"] == group_id
        assert [message["content"] for message in messages] == [
            'alice created the group "the "best""',
            "bob joined the group",
            "alice left the group",
            "carol now owns the group",
        ]
        assert [message["event"] for message in messages] == [
            {"kind": "created", "user_id": "alice", "by": "alice", "name": 'the "best"'},
            {"kind": "join", "user_id": "bob", "by": "bob"},
            {"kind": "leave", "user_id": "alice", "by": "alice"},
            {"kind": "transfer", "user_id": "carol", "by": "alice"},
        ]


async def test_a_membership_runs_from_its_first_message_to_its_last(transport: str) -> None:
    async with (
        running_server() as server,
        login(server, "bob") as listener,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        await bob.leave_group(group_id)
        await alice.send_to_group(group_id)
        await bob.join_group(group_id)
        pushed = [(await listener.push())["data"] for _ in range(3)]
        await listener.no_push()
        assert [message["event"]["kind"] for message in pushed] == ["created", "leave", "join"]
        assert await bob.synced() == [message["id"] for message in pushed]


async def test_the_acting_session_is_told_as_well() -> None:
    async with running_server() as server, login(server, "alice") as socket:
        alice = OverWebSocket(socket)
        group_id = await alice.create_group()
        await alice.leave_group(group_id)
        kinds = [(await socket.push())["data"]["event"]["kind"] for _ in range(2)]
        assert kinds == ["created", "leave"]


async def test_a_member_who_was_added_may_act_at_once(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        assert await bob.send_to_group(group_id) == "msg_2"
        assert await alice.synced() == ["msg_1", "msg_2"]


@pytest.mark.parametrize("act", ["get_group", "get_members", "join_group", "leave_group"])
async def test_a_group_id_is_a_string_that_must_be_there(act: str) -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for data in ({}, {"group_id": None}, {"group_id": 5}):
            answer = await refusal_of(alice.call(act, data))
            assert answer["code"] == "invalid_request"
            assert "group_id" in answer["error"]
        assert await code_of(alice.call(act, {"group_id": ""})) == "not_found"


async def test_one_request_names_so_many_members_at_the_most(transport: str) -> None:
    limits = Limits(members_at_once=60)
    async with running_server(limits=limits) as server, acting(server, transport, "alice") as alice:
        many = [f"user{number}" for number in range(61)]
        assert await code_of(alice.create_group(*many)) == "too_large"
        group_id = await alice.create_group(*many[:60])  # a large change: others go first
        request = {"group_id": group_id, "members": [f"other{number}" for number in range(61)]}
        assert await code_of(alice.call("add_members", request)) == "too_large"
        request["members"] = request["members"][:60]
        assert await alice.call("add_members", request) == {"success": True}
        assert len((await alice.get_group(group_id))["members"]) == 120


async def test_an_invitation_that_held_no_more_is_used_up_by_joining(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "ann") as ann,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
    ):
        created = await ann.call("create_group", {"name": "open", "members": ["bob"]})
        group = {"group_id": created["group"]["id"]}
        await ann.call("invite", {**group, "user_id": "carol"})
        await ann.call("leave_group", group)  # so the invitation holds no more
        assert await carol.call("list_invitations", {}) == {"invitations": []}
        await carol.call("join_group", group)
        await ann.call("join_group", group)
        await bob.call("set_role", {**group, "user_id": "ann", "role": "admin"})
        assert await carol.call("list_invitations", {}) == {"invitations": []}

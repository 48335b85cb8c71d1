"""The table of operations is complete, and each has a scenario here that runs over both transports.

A scenario is written once, against `Stage`; so is every refusal that the table lists.
"""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from threading import get_ident
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from imserver import Server
from imserver.config import Admission, Limits
from imserver.domain.errors import CATALOGUE, CloseCode, Code
from imserver.domain.model import MAX_SEQ
from imserver.service.engine import Who
from imserver.service.operations import COMMON_ERRORS, OPERATIONS
from tests.contract.api import (
    GROUP_PATHS,
    PATHS,
    REST,
    TRANSPORTS,
    WEBSOCKET,
    Api,
    OverWebSocket,
    acting,
    code_of,
    refusal_of,
)
from tests.support import Refused, connect, login, rest, running_server
from tests.support.accounts import (
    NEW_PASSWORD,
    PASSWORD,
    closing,
    log_in,
    token_of,
    token_server,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

# Those for administrators have a page of their own: see test_administration.
BY_NAME = {
    operation.name: operation for operation in OPERATIONS if operation.who is not Who.ADMINISTRATOR
}


@dataclass
class Stage:
    """A server, and who acts on it over the transport of the moment."""

    server: Server
    transport: str
    accounts: bool = False  # who acts has a password, and logs in with it

    @asynccontextmanager
    async def act(self, user_id: str | None) -> AsyncIterator[Api]:
        token = await token_of(self.server, user_id) if self.accounts and user_id else "token"
        async with acting(self.server, self.transport, user_id, token) as api:
            yield api


if TYPE_CHECKING:
    Play = Callable[[Stage], Awaitable[None]]

SCENARIOS: dict[str, Play] = {}
REFUSALS: dict[tuple[str, Code], Play] = {}
WITH_ACCOUNTS: set[Play] = set()  # plays that need a server in `token` mode


def scenario(operation: str, *, accounts: bool = False) -> Callable[[Play], Play]:
    """The scenario of an operation: what it is for, done and looked at."""

    def add(play: Play) -> Play:
        SCENARIOS[operation] = play
        if accounts:
            WITH_ACCOUNTS.add(play)
        return play

    return add


def refusal(operation: str, code: Code, *, accounts: bool = False) -> Callable[[Play], Play]:
    """A play whose last call, of `operation`, is to be refused with `code`."""

    def add(play: Play) -> Play:
        REFUSALS[operation, code] = play
        if accounts:
            WITH_ACCOUNTS.add(play)
        return play

    return add


@asynccontextmanager
async def staged(play: Play, transport: str) -> AsyncIterator[Stage]:
    """A server of its own for a play."""
    limits = Limits(group_members=GROUP_MEMBERS)
    if play in WITH_ACCOUNTS:
        people = ("alice", "bob", "carol")
        async with token_server(*people, disabled=["dave"], limits=limits) as server:
            yield Stage(server, transport, accounts=True)
    else:
        async with running_server(limits=limits) as server:
            yield Stage(server, transport)


# -- scenarios --------------------------------------------------------------------------------


@scenario("login")
async def _(stage: Stage) -> None:
    async with connect(stage.server) as socket:
        answer = await socket.call("login", {"user_id": "alice"})
        assert answer == {"success": True, "message": "Login successful", "user_id": "alice"}


@scenario("heartbeat")
async def _(stage: Stage) -> None:
    async with login(stage.server, "alice") as socket:
        answer = await socket.call("heartbeat", {"user_id": "alice"})
        assert list(answer) == ["timestamp"]
        assert type(answer["timestamp"]) is int


@scenario("send_message")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, login(stage.server, "bob") as bob:
        answer = await alice.send_message(receiver_id="bob", type="text", content="你好")
        message = answer["message"]
        assert answer == {"success": True, "message_id": message["id"], "message": message}
        pushed = await bob.push()
        assert pushed["data"] == message
        assert (message["sender_id"], message["receiver_id"]) == ("alice", "bob")
        assert (message["type"], message["content"], message["status"]) == ("text", "你好", "sent")


@scenario("get_message")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        sent = (await alice.send_message(receiver_id="bob", content="hello"))["message"]
        assert await alice.get_message(sent["id"]) == sent
        assert await bob.get_message(sent["id"]) == sent


@scenario("list_conversations")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        await alice.send("bob")
        page = await bob.call("list_conversations", {})
        assert list(page) == ["conversations", "unread"]
        assert page["unread"] == 1
        [conversation] = page["conversations"]
        assert (conversation["user_id"], conversation["unread"]) == ("alice", 1)


@scenario("get_conversation")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.send("bob")
        answer = await alice.call("get_conversation", {"user_id": "bob"})
        assert (await alice.call("list_conversations", {}))["conversations"] == [
            answer["conversation"]
        ]


@scenario("mark_read")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        message_id = await alice.send("bob")
        assert await bob.call("mark_read", {"user_id": "alice"}) == {"success": True}
        assert await alice.status(message_id) == "read"


@scenario("get_history")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        first, second = [await alice.send("bob", content) for content in ("one", "two")]
        page = await bob.call("get_history", {"user_id": "alice", "before": second})
        assert list(page) == ["messages", "has_older", "has_newer"]
        assert page["messages"] == [await bob.get_message(first)]
        assert (page["has_older"], page["has_newer"]) == (False, True)


@scenario("search_messages")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.send("bob", "lunch today")
        page = await alice.call("search_messages", {"q": "lunch"})
        assert [hit["message"]["content"] for hit in page["hits"]] == ["lunch today"]


@scenario("ack")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        message_id = await alice.send("bob")
        assert await bob.ack(message_id, "delivered") == {"success": True}
        assert await alice.status(message_id) == "delivered"
        assert await bob.ack(message_id, "read") == {"success": True}
        assert await alice.status(message_id) == "read"


@scenario("sync_offline")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        sent = [await alice.send("bob", content) for content in ("one", "two", "three")]
        page = await bob.sync_offline(limit=2)
        assert list(page) == ["messages", "has_more"]
        assert [message["id"] for message in page["messages"]] == sent[:2]
        assert page["has_more"] is True
        page = await bob.sync_offline(last_message_id=sent[1])
        assert [message["id"] for message in page["messages"]] == sent[2:]
        assert page["has_more"] is False


@scenario("create_group")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, login(stage.server, "bob") as bob:
        request = {"name": "My Group", "description": "A test group", "members": ["bob"]}
        group = (await alice.call("create_group", request))["group"]
        assert group == request | {
            "id": group["id"],
            "owner_id": "alice",
            "created_at": group["created_at"],
            "updated_at": group["created_at"],
        }
        assert (await bob.push())["data"]["group_id"] == group["id"]


@scenario("get_group")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group("bob", name="My Group", description="A test group")
        group = await alice.get_group(group_id)
        assert (group["id"], group["owner_id"], group["members"]) == (group_id, "alice", ["bob"])
        assert await bob.get_group(group_id) == group


@scenario("get_members")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group("bob")
        members = await alice.get_members(group_id)
        assert [(member["user_id"], member["role"]) for member in members] == [
            ("alice", "owner"),
            ("bob", "member"),
        ]
        assert {member["group_id"] for member in members} == {group_id}
        assert await bob.get_members(group_id) == members


@scenario("join_group")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group()
        assert await bob.join_group(group_id) == {"success": True}
        assert (await bob.get_group(group_id))["members"] == ["bob"]
        assert await bob.send_to_group(group_id)


@scenario("leave_group")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group("bob")
        assert await bob.leave_group(group_id) == {"success": True}
        assert (await alice.get_group(group_id))["members"] == []
        with pytest.raises(Refused):
            await bob.send_to_group(group_id)


@scenario("health")
async def _(stage: Stage) -> None:
    async with rest(stage.server, None) as nobody:
        answer = await nobody.get("/health")
        assert list(answer) == ["status", "timestamp"]
        assert answer["status"] == "ok"
        assert type(answer["timestamp"]) is int


@scenario("ready")
async def _(stage: Stage) -> None:
    async with rest(stage.server, None) as nobody:
        answer = await nobody.get("/ready")
        assert list(answer) == ["status", "timestamp"]
        assert answer["status"] == "ok"


@scenario("stats")
async def _(stage: Stage) -> None:
    async with rest(stage.server, None) as nobody, login(stage.server, "alice"):
        answer = await nobody.get("/api/v1/stats")
        assert list(answer) == ["connections", "online_users", "timestamp"]
        assert (answer["connections"], answer["online_users"]) == (1, 1)


# -- refusals ---------------------------------------------------------------------------------


@refusal("login", Code.UNAUTHORIZED)
async def _(stage: Stage) -> None:
    async with connect(stage.server) as socket:
        await socket.call("login", {"token": "auth_token"})


@refusal("login", Code.FORBIDDEN)
async def _(stage: Stage) -> None:
    async with login(stage.server, "alice") as socket:
        await socket.call("login", {"user_id": "bob"})


@refusal("login", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with connect(stage.server) as socket:
        await socket.call("login", {"user_id": "two words"})


@refusal("heartbeat", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with login(stage.server, "alice") as socket:
        await socket.call("heartbeat", {"user_id": 123})


@refusal("heartbeat", Code.FORBIDDEN, accounts=True)
async def _(stage: Stage) -> None:
    # In open mode it may say anything.
    async with stage.act("alice") as alice:
        await alice.call("heartbeat", {"user_id": "bob"})


@refusal("send_message", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.send_message(receiver_id="bob")


@refusal("send_message", Code.FORBIDDEN)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group()
        await bob.send_to_group(group_id)


@refusal("send_message", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.send_to_group("group_none")


@refusal("send_message", Code.CONFLICT)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.send_message(receiver_id="bob", content="hello", client_msg_id="once")
        await alice.send_message(receiver_id="bob", content="bye", client_msg_id="once")


@refusal("send_message", Code.TOO_LARGE)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.send("bob", "x" * (64 * 1024 + 1))


@refusal("list_conversations", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.call("list_conversations", {"cursor": "x"})


@refusal("get_conversation", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.call("get_conversation", {"user_id": "bob", "group_id": "group_x"})


@refusal("mark_read", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.call("mark_read", {"user_id": "bob", "group_id": "group_x"})


@refusal("get_conversation", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("mallory") as mallory:
        await mallory.call("get_conversation", {"user_id": "alice"})


@refusal("mark_read", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("mallory") as mallory:
        await mallory.call("mark_read", {"group_id": "group_none"})


@refusal("get_history", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.call("get_history", {"user_id": "bob", "before": "yesterday"})


@refusal("get_history", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("mallory") as mallory:
        await mallory.call("get_history", {"group_id": "group_none"})


@refusal("search_messages", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.call("search_messages", {"q": "lunch", "cursor": "x"})


@refusal("search_messages", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("mallory") as mallory:
        await mallory.call("search_messages", {"q": "lunch", "group_id": "group_none"})


@refusal("get_message", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("mallory") as mallory:
        message_id = await alice.send("bob")
        await mallory.get_message(message_id)


@refusal("ack", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        await bob.ack(await alice.send("bob"), "sent")


@refusal("ack", Code.FORBIDDEN)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.ack(await alice.send("bob"))


@refusal("ack", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("mallory") as mallory:
        message_id = await alice.send("bob")
        await mallory.ack(message_id)


@refusal("sync_offline", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.sync_offline(limit=0)


@refusal("sync_offline", Code.CURSOR_AHEAD)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.sync_offline(last_message_id=f"msg_{MAX_SEQ}")


@refusal("create_group", Code.INVALID_REQUEST)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.create_group(name="")


@refusal("create_group", Code.FORBIDDEN)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.create_group("system")


@refusal("create_group", Code.TOO_LARGE)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.create_group(*(f"user{number}" for number in range(GROUP_MEMBERS)))


@refusal("get_group", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("mallory") as mallory:
        await mallory.get_group(await alice.create_group())


@refusal("get_members", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("mallory") as mallory:
        await mallory.get_members(await alice.create_group())


@refusal("join_group", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.join_group("group_none")


@refusal("join_group", Code.TOO_LARGE)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("late") as late:
        group_id = await alice.create_group(
            *(f"user{number}" for number in range(GROUP_MEMBERS - 1))
        )
        await late.join_group(group_id)


@refusal("leave_group", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("mallory") as mallory:
        await mallory.leave_group(await alice.create_group())


@scenario("list_groups")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        assert await bob.call("list_groups", {}) == {"groups": []}
        first, second = await alice.create_group("bob"), await alice.create_group("bob")
        await alice.create_group()
        groups = (await bob.call("list_groups", {}))["groups"]
        assert groups == [await bob.get_group(first), await bob.get_group(second)]
        await bob.leave_group(first)
        assert [group["id"] for group in (await bob.call("list_groups", {}))["groups"]] == [second]


@scenario("update_group")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group("bob", name="Old", description="d")
        answer = await alice.govern("update_group", group_id, name="New", private=True)
        assert answer["group"] == await bob.get_group(group_id)
        assert answer["group"]["name"] == "New"
        assert answer["group"]["description"] == "d"
        assert answer["group"]["private"] is True
        assert await told(bob) == ["created", "updated"]
        await alice.govern("update_group", group_id, name="New")
        assert await told(bob) == ["created", "updated"]  # nothing new is no news


@scenario("dissolve_group")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group("bob")
        sent = await bob.send_to_group(group_id)
        await alice.govern("dissolve_group", group_id)
        for user in (alice, bob):
            assert await code_of(user.get_group(group_id)) == "not_found"
            assert await code_of(user.send_to_group(group_id)) == "not_found"
            assert await code_of(user.join_group(group_id)) == "not_found"
            assert (await user.call("list_groups", {}))["groups"] == []
            assert (await user.get_message(sent))["id"] == sent
            assert await told(user) == ["created", "dissolved"]
            await user.leave_group(group_id)  # they were in it, and are not


@scenario("add_members")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, login(stage.server, "bob") as bob:
        group_id = await alice.create_group(private=True)
        before = await alice.send_to_group(group_id)
        await alice.govern("add_members", group_id, members=["bob", "carol", "bob", "alice"])
        assert (await alice.get_group(group_id))["members"] == ["bob", "carol"]
        event = (await bob.push())["data"]["event"]
        both = ["bob", "carol"]
        assert event == {"kind": "added", "user_id": "bob", "by": "alice", "user_ids": both}
    async with stage.act("bob") as bob:
        assert await code_of(bob.get_message(before)) == "not_found"
        assert await told(bob) == ["added"]


@scenario("remove_member")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group("bob")
        await alice.govern("remove_member", group_id, user_id="bob")
        after = await alice.send_to_group(group_id)
        assert await told(bob) == ["created", "removed"]
        assert await code_of(bob.get_message(after)) == "not_found"
        assert await code_of(bob.get_group(group_id)) == "not_found"


@scenario("set_role")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group("bob")
        for role in ("admin", "admin", "member"):
            await alice.govern("set_role", group_id, user_id="bob", role=role)
            members = await bob.get_members(group_id)
            assert [member["role"] for member in members] == ["owner", role]
        assert await told(bob) == ["created", "role", "role"]


@scenario("transfer_group")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group("bob")
        await alice.govern("transfer_group", group_id, user_id="bob")
        group = await bob.get_group(group_id)
        assert (group["owner_id"], group["members"]) == ("bob", ["alice"])
        roles = {member["user_id"]: member["role"] for member in await bob.get_members(group_id)}
        assert roles == {"alice": "admin", "bob": "owner"}
        assert await told(bob) == ["created", "transfer"]


@scenario("invite")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, login(stage.server, "bob") as socket:
        group_id = await alice.create_group(name="Secret", private=True)
        for _ in range(2):
            await alice.govern("invite", group_id, user_id="bob")
        push = await socket.push()
        assert push["type"] == "invitation"
        assert push["data"]["group_id"] == group_id
        assert push["data"]["name"] == "Secret"
        assert push["data"]["invited_by"] == "alice"
        await socket.no_push()
    async with stage.act("bob") as bob, stage.act("mallory") as mallory:
        assert await code_of(bob.get_group(group_id)) == "not_found"
        assert await code_of(mallory.join_group(group_id)) == "not_found"
        assert await code_of(mallory.send_to_group(group_id)) == "not_found"
        await bob.join_group(group_id)
        assert (await bob.get_group(group_id))["members"] == ["bob"]
        await bob.leave_group(group_id)
        assert await code_of(bob.join_group(group_id)) == "not_found"  # it is used up


@scenario("list_invitations")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        assert await bob.call("list_invitations", {}) == {"invitations": []}
        first = await alice.create_group(name="One", private=True)
        second = await alice.create_group(name="Two")
        for group_id in (first, second):
            await alice.govern("invite", group_id, user_id="bob")
        listed = (await bob.call("list_invitations", {}))["invitations"]
        named = {(entry["group_id"], entry["name"], entry["invited_by"]) for entry in listed}
        assert named == {(first, "One", "alice"), (second, "Two", "alice")}
        await bob.join_group(first)
        await alice.govern("dissolve_group", second)
        assert await bob.call("list_invitations", {}) == {"invitations": []}


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize(
    ("name", "key"),
    [("list_groups", "groups"), ("list_invitations", "invitations"), ("get_members", "members")],
)
async def test_lists_are_paged(transport: str, name: str, key: str) -> None:
    async def play(stage: Stage) -> None:
        async with stage.act("alice") as alice, stage.act("bob") as bob:
            for _ in range(5):
                group_id = await alice.create_group("carol", "dave", "erin")
                await alice.govern("invite", group_id, user_id="bob")
                if name != "list_invitations":
                    await bob.join_group(group_id)
            request = {"group_id": group_id} if name == "get_members" else {}
            whole = (await bob.call(name, request))[key]
            assert len(whole) == 5
            listed: list[Any] = []
            cursor: dict[str, Any] = {}
            for number in range(3):
                page = await bob.call(name, request | {"limit": 2} | cursor)
                listed += page[key]
                assert ("next" in page) is (number < 2)
                cursor = {"cursor": page.get("next")}
            assert listed == whole
            for wrong in ("x", "1.2.3", "-1", "9" * 19 + ".1", "\u00b2"):
                call = bob.call(name, request | {"cursor": wrong})
                assert await code_of(call) == "invalid_request"

    async with staged(play, transport) as stage:
        await play(stage)


for _name in ("list_groups", "list_invitations"):

    @refusal(_name, Code.INVALID_REQUEST)
    async def _(stage: Stage, name: str = _name) -> None:
        async with stage.act("alice") as alice:
            await alice.call(name, {"limit": 201})


@scenario("decline_invitation")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group(private=True)
        await alice.govern("invite", group_id, user_id="bob")
        for _ in range(2):
            await bob.call("decline_invitation", {"group_id": group_id})
        assert await bob.call("list_invitations", {}) == {"invitations": []}
        assert await code_of(bob.join_group(group_id)) == "not_found"


@scenario("list_group_invitations")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("carol") as carol:
        group_id = await alice.create_group("carol", private=True)
        await alice.govern("set_role", group_id, user_id="carol", role="admin")
        await alice.govern("invite", group_id, user_id="bob")
        await carol.govern("invite", group_id, user_id="dave")
        first = await alice.call("list_group_invitations", {"group_id": group_id, "limit": 1})
        [entry] = first["invitations"]
        assert (entry["user_id"], entry["invited_by"]) == ("bob", "alice")
        request = {"group_id": group_id, "limit": 1, "cursor": first["next"]}
        second = await alice.call("list_group_invitations", request)
        assert [each["user_id"] for each in second["invitations"]] == ["dave"]
        assert "next" not in second
        await alice.govern("set_role", group_id, user_id="carol", role="member")
        left = await alice.call("list_group_invitations", {"group_id": group_id})
        assert [each["user_id"] for each in left["invitations"]] == ["bob"]  # carol's do not hold


@scenario("revoke_invitation")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group(private=True)
        await alice.govern("invite", group_id, user_id="bob")
        for _ in range(2):
            await alice.govern("revoke_invitation", group_id, user_id="bob")
        assert await bob.call("list_invitations", {}) == {"invitations": []}
        assert await code_of(bob.join_group(group_id)) == "not_found"


@scenario("ban_member")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob, stage.act("carol") as carol:
        group_id = await alice.create_group("bob")
        for user in ("bob", "bob", "carol"):  # a member, again, and someone who never was one
            await alice.govern("ban_member", group_id, user_id=user)
        assert await told(bob) == ["created", "removed"]
        for user in (bob, carol):
            assert await code_of(user.join_group(group_id)) == "forbidden"
        await alice.govern("add_members", group_id, members=["bob"])  # whom an admin adds is back
        await alice.govern("invite", group_id, user_id="carol")
        await carol.join_group(group_id)
        assert await alice.call("list_bans", {"group_id": group_id}) == {"bans": []}
        await alice.govern("set_role", group_id, user_id="bob", role="admin")
        assert await code_of(bob.govern("ban_member", group_id, user_id="alice")) == "forbidden"


@scenario("unban_member")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group("bob")
        await alice.govern("remove_member", group_id, user_id="bob")
        assert await code_of(bob.join_group(group_id)) == "forbidden"
        for _ in range(2):
            await alice.govern("unban_member", group_id, user_id="bob")
        await bob.join_group(group_id)


@scenario("list_bans")
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        group_id = await alice.create_group("bob", "carol")
        for user in ("bob", "carol"):
            await alice.govern("remove_member", group_id, user_id=user)
        first = await alice.call("list_bans", {"group_id": group_id, "limit": 1})
        [entry] = first["bans"]
        assert (entry["user_id"], entry["banned_by"]) == ("bob", "alice")
        request = {"group_id": group_id, "limit": 1, "cursor": first["next"]}
        second = await alice.call("list_bans", request)
        assert [each["user_id"] for each in second["bans"]] == ["carol"]
        assert "next" not in second


@refusal("join_group", Code.FORBIDDEN)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        group_id = await alice.create_group("bob")
        await alice.govern("remove_member", group_id, user_id="bob")
        await bob.join_group(group_id)


async def told(user: Api) -> list[str]:
    """The kinds of the system messages that a user can see, in order."""
    page = await user.sync_offline(last_message_id="msg_0", include_own=True)
    return [message["event"]["kind"] for message in page["messages"] if "event" in message]


# What is asked of a group, for the refusals that all have in common.
GOVERNED: dict[str, dict[str, Any]] = {
    "update_group": {"name": "New"},
    "dissolve_group": {},
    "add_members": {"members": ["late"]},
    "remove_member": {"user_id": "bob"},
    "set_role": {"user_id": "bob", "role": "admin"},
    "transfer_group": {"user_id": "bob"},
    "invite": {"user_id": "late"},
    "list_group_invitations": {},
    "revoke_invitation": {"user_id": "late"},
    "list_bans": {},
    "ban_member": {"user_id": "bob"},
    "unban_member": {"user_id": "late"},
}

for _name, _request in GOVERNED.items():

    @refusal(_name, Code.NOT_FOUND)
    async def _(stage: Stage, name: str = _name, request: dict[str, Any] = _request) -> None:
        async with stage.act("alice") as alice, stage.act("mallory") as mallory:
            await mallory.govern(name, await alice.create_group("bob"), **request)

    @refusal(_name, Code.FORBIDDEN)
    async def _(stage: Stage, name: str = _name, request: dict[str, Any] = _request) -> None:
        async with stage.act("alice") as alice, stage.act("carol") as carol:
            await carol.govern(name, await alice.create_group("bob", "carol"), **request)


@refusal("add_members", Code.TOO_LARGE)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        group_id = await alice.create_group("u1", "u2", "u3")
        await alice.govern("add_members", group_id, members=["u4", "u5"])


MALFORMED: dict[str, dict[str, Any]] = {
    "update_group": {"name": ""},
    "add_members": {"members": []},
    "set_role": {"user_id": "bob", "role": "owner"},
    "invite": {"user_id": "a b"},
    "get_members": {"limit": 0},
    "list_group_invitations": {"limit": 0},
    "list_bans": {"limit": 201},
    "ban_member": {"user_id": "a b"},
}

for _name, _request in MALFORMED.items():

    @refusal(_name, Code.INVALID_REQUEST)
    async def _(stage: Stage, name: str = _name, request: dict[str, Any] = _request) -> None:
        async with stage.act("alice") as alice:
            await alice.govern(name, await alice.create_group("bob"), **request)


GROUP_MEMBERS = 5  # at most, in what follows


def transports_of(name: str) -> list[str]:
    """The transports that an operation stands on, as the table says."""
    operation = BY_NAME[name]
    return [
        transport
        for transport, place in ((WEBSOCKET, operation.ws), (REST, operation.rest))
        if place is not None
    ]


# -- accounts ---------------------------------------------------------------------------------


@scenario("password_login", accounts=True)
async def _(stage: Stage) -> None:
    answer = await log_in(stage.server, "alice", device="Pixel 9", platform="android")
    assert list(answer) == [
        "token", "token_id", "user_id", "expires_at", "must_change_password",
    ]  # fmt: skip
    assert answer["user_id"] == "alice"
    assert answer["must_change_password"] is False
    assert re.fullmatch(r"ims_[\w-]{43}", answer["token"])
    assert re.fullmatch(r"token_[a-z0-9]{12}", answer["token_id"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", answer["expires_at"])
    async with rest(stage.server, None, answer["token"]) as alice:
        [session] = (await alice.get("/api/v1/auth/sessions"))["sessions"]
    assert (session["device"], session["platform"]) == ("Pixel 9", "android")


@scenario("list_sessions", accounts=True)
async def _(stage: Stage) -> None:
    async with stage.act("bob"), stage.act("alice") as alice, stage.act("alice") as other:
        first, second = (await alice.call("list_sessions", {}))["sessions"]
        assert list(first) == [
            "token_id", "device", "platform", "address", "created_at", "used_at", "expires_at",
            "current", "connected",
        ]  # fmt: skip
        assert first["address"] == "127.0.0.1"
        assert sorted([first["current"], second["current"]]) == [False, True]
        assert first["connected"] is second["connected"] is (stage.transport == WEBSOCKET)
        for mine, theirs in zip(
            [first, second], (await other.call("list_sessions", {}))["sessions"], strict=True
        ):
            assert mine["token_id"] == theirs["token_id"]
            assert mine["current"] is not theirs["current"]


@scenario("logout", accounts=True)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("alice") as other:
        assert await alice.call("logout", {}) == {"success": True}
        assert await gone(alice)
        assert len((await other.call("list_sessions", {}))["sessions"]) == 1


@scenario("revoke_session", accounts=True)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("alice") as other:
        [session] = [
            each
            for each in (await alice.call("list_sessions", {}))["sessions"]
            if not each["current"]
        ]
        request = {"token_id": session["token_id"]}
        assert await alice.call("revoke_session", request) == {"success": True}
        assert await gone(other)
        [left] = (await alice.call("list_sessions", {}))["sessions"]
        assert left["current"] is True


@scenario("revoke_other_sessions", accounts=True)
async def _(stage: Stage) -> None:
    async with (
        stage.act("alice") as alice,
        stage.act("alice") as other,
        stage.act("alice") as third,
        stage.act("bob") as bob,
    ):
        assert await alice.call("revoke_other_sessions", {}) == {"success": True}
        assert await gone(other)
        assert await gone(third)
        for user in (alice, bob):
            assert len((await user.call("list_sessions", {}))["sessions"]) == 1


@scenario("change_password", accounts=True)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("alice") as other:
        request = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
        assert await alice.call("change_password", request) == {"success": True}
        assert await gone(other)
        assert len((await alice.call("list_sessions", {}))["sessions"]) == 1
    assert await code_of(log_in(stage.server, "alice", PASSWORD)) == "wrong_credentials"
    await log_in(stage.server, "alice", NEW_PASSWORD)


async def gone(api: Api) -> bool:
    """Whether a token no longer counts: its WebSocket is closed, and its calls are refused."""
    if isinstance(api, OverWebSocket):
        return (await closing(api.socket.connection))[0] == CloseCode.SIGNED_OUT
    return await code_of(api.call("list_groups", {})) == "unauthorized"


@refusal("password_login", Code.WRONG_CREDENTIALS, accounts=True)
async def _(stage: Stage) -> None:
    assert await code_of(log_in(stage.server, "nobody")) == "wrong_credentials"
    await log_in(stage.server, "alice", NEW_PASSWORD)


@refusal("password_login", Code.FORBIDDEN, accounts=True)
async def _(stage: Stage) -> None:
    assert await code_of(log_in(stage.server, "dave", NEW_PASSWORD)) == "wrong_credentials"
    await log_in(stage.server, "dave")


@refusal("password_login", Code.NOT_FOUND)
async def _(stage: Stage) -> None:
    await log_in(stage.server, "alice")


@refusal("password_login", Code.TOO_LARGE, accounts=True)
async def _(stage: Stage) -> None:
    await log_in(stage.server, "alice", "x" * 1025)


@refusal("password_login", Code.INVALID_REQUEST, accounts=True)
async def _(stage: Stage) -> None:
    for wrong in ({"device": "x" * 129}, {"platform": "x" * 65}, {"device": "a\nb"}):
        assert await code_of(log_in(stage.server, "alice", **wrong)) == "invalid_request"
    await log_in(stage.server, "two words")


for operation in ("logout", "list_sessions", "revoke_other_sessions", "change_password"):

    @refusal(operation, Code.NOT_FOUND)
    async def _(stage: Stage, operation: str = operation) -> None:
        async with stage.act("alice") as alice:
            request = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
            await alice.call(operation, request if operation == "change_password" else {})


@refusal("revoke_session", Code.NOT_FOUND, accounts=True)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice, stage.act("bob") as bob:
        [session] = (await bob.call("list_sessions", {}))["sessions"]
        await alice.call("revoke_session", {"token_id": session["token_id"]})


@refusal("change_password", Code.FORBIDDEN, accounts=True)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        request = {"old_password": NEW_PASSWORD, "new_password": NEW_PASSWORD}
        await alice.call("change_password", request)


@refusal("change_password", Code.TOO_LARGE, accounts=True)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        request = {"old_password": PASSWORD, "new_password": "x" * 1025}
        await alice.call("change_password", request)


@refusal("change_password", Code.INVALID_REQUEST, accounts=True)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        request = {"old_password": PASSWORD, "new_password": PASSWORD}
        assert await code_of(alice.call("change_password", request)) == "invalid_request"
        await alice.call("change_password", request | {"new_password": "1234567"})


@refusal("create_group", Code.NOT_FOUND, accounts=True)
async def _(stage: Stage) -> None:
    async with stage.act("alice") as alice:
        await alice.create_group("bob", "nobody")


@pytest.mark.parametrize(
    ("name", "transport"),
    [(name, transport) for name in SCENARIOS for transport in transports_of(name)],
)
async def test_scenario(name: str, transport: str) -> None:
    async with staged(SCENARIOS[name], transport) as stage:
        await SCENARIOS[name](stage)


@pytest.mark.parametrize(
    ("name", "code", "transport"),
    [(*key, transport) for key in REFUSALS for transport in transports_of(key[0])],
)
async def test_refusal(name: str, code: Code, transport: str) -> None:
    async with staged(REFUSALS[name, code], transport) as stage:
        with pytest.raises(Refused) as refused:
            await REFUSALS[name, code](stage)
    assert refused.value.code == code
    answer = refused.value.answer
    assert answer["error"]
    assert isinstance(answer["error"], str)
    if transport == WEBSOCKET:
        assert list(answer) == ["success", "error", "code"]
        assert answer["success"] is False
    else:
        assert list(answer) == ["error", "code"]


# -- the table --------------------------------------------------------------------------------


def test_every_operation_has_a_place_a_permission_and_words_for_it() -> None:
    for operation in OPERATIONS:
        assert operation.ws is not None or operation.rest is not None, operation.name
        assert isinstance(operation.who, Who)
        assert operation.summary
        assert operation.summary[0].isupper()
        assert operation.request.__doc__
        assert operation.answer.__doc__
        assert len(set(operation.errors)) == len(operation.errors)
        assert not set(operation.errors) & set(COMMON_ERRORS), operation.name


def test_names_types_and_paths_are_each_used_once() -> None:
    names = [operation.name for operation in OPERATIONS]
    types = [operation.ws for operation in OPERATIONS if operation.ws is not None]
    places = [operation.rest for operation in OPERATIONS if operation.rest is not None]
    for one in (names, types, places):
        assert len(set(one)) == len(one)


def test_every_operation_but_signs_of_life_and_statistics_is_on_both_transports() -> None:
    on_both = {operation.name for operation in OPERATIONS if operation.ws and operation.rest}
    assert on_both == set(PATHS)
    only = {name: transports_of(name) for name in BY_NAME if name not in on_both}
    assert only == {
        "login": [WEBSOCKET],
        "heartbeat": [WEBSOCKET],
        "password_login": [REST],
        "health": [REST],
        "ready": [REST],
        "stats": [REST],
    }


def test_frames_are_called_as_their_operations_and_paths_are_the_documents() -> None:
    for operation in OPERATIONS:
        assert operation.ws in (None, operation.name)
        if operation.name in PATHS:
            assert operation.rest is not None
            assert (operation.rest.method, operation.rest.path) == PATHS[operation.name]
            assert operation.rest.group_path == GROUP_PATHS.get(operation.name)


def test_every_operation_has_a_scenario() -> None:
    assert set(SCENARIOS) == set(BY_NAME)


def test_every_listed_error_of_every_operation_is_provoked() -> None:
    listed = {(name, code) for name in BY_NAME for code in BY_NAME[name].errors}
    provoked = {(name, code) for name, code in REFUSALS if code not in COMMON_ERRORS}
    assert provoked == listed


def test_every_operation_with_something_to_check_refuses_what_is_malformed() -> None:
    checked = {name for name, code in REFUSALS if code is Code.INVALID_REQUEST}
    # These take ids only: what is no id names nothing.
    by_id = {"get_message", "get_group", "join_group", "leave_group"}
    by_id |= {"dissolve_group", "remove_member", "transfer_group", "decline_invitation"}
    by_id |= {"revoke_invitation", "unban_member"}
    by_id |= {"revoke_session"}
    nothing = {"health", "ready", "stats"}
    nothing |= {"logout", "list_sessions", "revoke_other_sessions"}
    assert checked == set(BY_NAME) - by_id - nothing


# -- who may ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name in BY_NAME if BY_NAME[name].who is not Who.ANYONE])
async def test_operations_of_users_refuse_nobody(name: str) -> None:
    request = {"message_id": "msg_1", "group_id": "group_1", "status": "read"}
    request |= {"user_id": "bob", "role": "admin", "members": ["bob"], "token_id": "token_1"}
    request |= {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
    async with running_server() as server:
        for transport in transports_of(name):
            async with acting(server, transport, None) as nobody:
                with pytest.raises(Refused) as refused:
                    await nobody.call(name, request)
            assert (
                refused.value.code == {WEBSOCKET: "not_logged_in", REST: "unauthorized"}[transport]
            )


@pytest.mark.parametrize("name", [op.name for op in OPERATIONS if op.who is Who.ANYONE])
async def test_operations_for_anyone_ask_for_no_name(name: str) -> None:
    for transport in TRANSPORTS:
        async with staged(SCENARIOS[name], transport) as stage:
            await SCENARIOS[name](stage)


# -- the catalogue of refusals ----------------------------------------------------------------

# Codes that no operation lists, and where they are provoked.
PROVOKED_ELSEWHERE = {
    Code.NOT_LOGGED_IN: test_operations_of_users_refuse_nobody,
    Code.INVALID_REQUEST: test_refusal,
}
# Codes that cannot be provoked here, and why.
EXCEPTIONS = {
    Code.TOO_SLOW: "takes time; see tests/transport/test_admission.py",
}


async def _method_not_allowed(server: Server) -> httpx.Response:
    async with rest(server, "alice") as alice:
        return await alice.request("DELETE", "/api/v1/messages")


async def _unsupported_media_type(server: Server) -> httpx.Response:
    async with rest(server, "alice") as alice:
        return await alice.request(
            "POST", "/api/v1/messages", content="hello", headers={"Content-Type": "text/plain"}
        )


async def _upgrade_required(server: Server) -> httpx.Response:
    async with rest(server, "alice") as alice:
        return await alice.request("GET", "/ws")


async def _unknown_type(server: Server) -> dict[str, Any]:
    async with login(server, "alice") as alice:
        return (await alice.ask("no_such_type"))["data"]


async def _unavailable(server: Server) -> httpx.Response:
    async with connect(server), connect(server), rest(server, "alice") as alice:
        return await alice.request("GET", "/api/v1/messages/offline")


async def _rate_limited(server: Server) -> httpx.Response:
    async with rest(server, "alice") as alice:
        for _ in range(2):
            answer = await alice.request(
                "POST", "/api/v1/messages", json={"receiver_id": "bob", "content": "hello"}
            )
        return answer


PROVOCATIONS: dict[Code, Callable[[Server], Awaitable[Any]]] = {
    Code.METHOD_NOT_ALLOWED: _method_not_allowed,
    Code.UNSUPPORTED_MEDIA_TYPE: _unsupported_media_type,
    Code.UPGRADE_REQUIRED: _upgrade_required,
    Code.UNKNOWN_TYPE: _unknown_type,
    Code.UNAVAILABLE: _unavailable,
    Code.RATE_LIMITED: _rate_limited,
}


@pytest.mark.parametrize("code", PROVOCATIONS)
async def test_refusals_that_belong_to_no_operation(code: Code) -> None:
    # With rates on, one address has half of the room at most: there would always be some left.
    mode = "off" if code is Code.UNAVAILABLE else "on"
    admission = Admission(mode=mode, messages_per_second=0.1, messages_burst=1)
    async with running_server(limits=Limits(connections=2), admission=admission) as server:
        answer = await PROVOCATIONS[code](server)
    if isinstance(answer, httpx.Response):
        assert answer.status_code == CATALOGUE[code].status
        answer = answer.json()
    more = ["retry_after_ms"] if code is Code.RATE_LIMITED else []
    assert list(answer) == ["error", "code", *more]
    assert answer["code"] == code


@pytest.mark.expects_error_log
async def test_a_defect_is_refused_as_internal_over_both_transports(transport: str) -> None:
    ours = get_ident()
    failing = False

    def clock() -> int:
        # Messages are timed by the writer, in its thread; what asks in ours is not meant.
        if failing and get_ident() != ours:
            raise RuntimeError("a secret of the server's")
        return 1640995200000

    async with running_server(clock=clock) as server, acting(server, transport, "alice") as alice:
        failing = True
        answer = await refusal_of(alice.send("bob"))
        failing = False
        assert answer["code"] == Code.INTERNAL
        assert "secret" not in str(answer)
        assert await alice.send("bob") == "msg_1"


def test_every_code_of_the_catalogue_is_provoked() -> None:
    by_operation = {code for _, code in REFUSALS}
    internal = {Code.INTERNAL}  # just above
    provoked = by_operation | set(PROVOCATIONS) | set(PROVOKED_ELSEWHERE) | internal
    assert provoked | set(EXCEPTIONS) == set(Code) == set(CATALOGUE)
    assert not provoked & set(EXCEPTIONS)

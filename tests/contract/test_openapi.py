"""The OpenAPI document is valid, complete, and true of what the server answers."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from imserver import Config, __version__
from imserver.domain.errors import CATALOGUE
from imserver.domain.model import MAX_SEQ
from imserver.service.engine import Who
from imserver.service.operations import COMMON_ERRORS, OPERATIONS
from tests.contract.api import ADMIN_PATHS, GROUP_PATHS, PATHS
from tests.contract.document import ANSWER, BLOCKS, BODY, printed
from tests.support import rest, running_server
from tests.support.accounts import NEW_PASSWORD, PASSWORD, token_of, token_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server
    from tests.support import Rest

JSON = "application/json"
OF_ANYONE = {
    "health": ("GET", "/health"),
    "ready": ("GET", "/ready"),
    "stats": ("GET", "/api/v1/stats"),
    "password_login": ("POST", "/api/v1/auth/login"),
}


OF_GROUPS = {f"{name}_of_group": (PATHS[name][0], path) for name, path in GROUP_PATHS.items()}


async def describe(server: Server) -> dict[str, Any]:
    """The server's OpenAPI document."""
    async with rest(server, None) as nobody:
        answer = await nobody.request("GET", "/openapi.json")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == JSON
    return answer.json()


def check(document: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Hold a value to one of the document's schemas.

    Raises:
        jsonschema.ValidationError: it does not conform.
    """
    Draft202012Validator(schema | {"components": document["components"]}).validate(value)


def answer_schema(entry: dict[str, Any], status: int) -> dict[str, Any]:
    """What an operation's answer with this status looks like; fails if it is not described."""
    assert str(status) in entry["responses"], f"{entry['operationId']} may answer {status}"
    return entry["responses"][str(status)]["content"][JSON]["schema"]


def entries(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The described operations by their ids."""
    return {
        entry["operationId"]: entry
        for methods in document["paths"].values()
        for entry in methods.values()
    }


async def test_it_is_valid_openapi_3_1() -> None:
    async with running_server() as server:
        document = await describe(server)
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["version"] == __version__
    OpenAPIV31SpecValidator(document).validate()


async def test_every_operation_is_described_at_its_place_with_all_its_errors() -> None:
    async with running_server() as server:
        document = await describe(server)
    described = entries(document)
    places = {
        entry["operationId"]: (method.upper(), path)
        for path, methods in document["paths"].items()
        for method, entry in methods.items()
    }
    assert places == PATHS | OF_GROUPS | ADMIN_PATHS | OF_ANYONE
    for operation in OPERATIONS:
        if operation.rest is None:
            continue
        entry = described[operation.name]
        assert entry["summary"] == operation.summary
        expected = {CATALOGUE[code].status for code in (*operation.errors, *COMMON_ERRORS)} | {200}
        if operation.who is not Who.ANYONE:
            expected.add(401)
            assert entry["security"] == [{"user": []}]
        else:
            assert "security" not in entry
        assert expected <= {int(status) for status in entry["responses"]}
        for status, response in entry["responses"].items():
            assert response["description"]
            if status != "200":
                codes = {code for code in CATALOGUE if f"`{code}`" in response["description"]}
                assert {CATALOGUE[code].status for code in codes} == {int(status)}
    assert document["components"]["securitySchemes"]["user"] == {
        "type": "apiKey",
        "in": "header",
        "name": "X-User-ID",
    }


async def test_every_example_of_the_document_conforms() -> None:
    async with running_server() as server:
        document = await describe(server)
    described = entries(document)
    checked = set()
    for name, (method, path) in {
        **PATHS,
        **OF_ANYONE,
    }.items():
        spelled = path.replace("{message_id}", ":messageID").replace("{group_id}", ":groupID")
        heading = f"{method} {spelled}"
        if all(block.heading != heading for block in BLOCKS):
            continue  # not of the document
        check(document, answer_schema(described[name], 200), printed(heading, ANSWER))
        checked.add(heading)
        if any(block[:2] == (heading, BODY) for block in BLOCKS):
            body = described[name]["requestBody"]["content"][JSON]["schema"]
            check(document, body, printed(heading, BODY))
    assert checked == {
        block.heading for block in BLOCKS if block.heading.startswith(("GET", "POST"))
    }
    error = printed("错误响应格式") | {"code": "not_found"}
    check(document, {"$ref": "#/components/schemas/ErrorBody"}, error)


class Conversation:
    """Calls whose every answer is held to the description."""

    def __init__(self, document: dict[str, Any], calls: Rest) -> None:
        self.document = document
        self.described = entries(document)
        self.calls = calls
        self.seen: set[tuple[str, int]] = set()

    async def say(self, name: str, status: int = 200, /, **request: Any) -> Any:
        """Make a call that must be answered with `status`; returns its answer."""
        method, template = (PATHS | OF_GROUPS | ADMIN_PATHS | OF_ANYONE)[name]
        headers = request.pop("headers", {})
        others = {key: value for key, value in request.items() if f"{{{key}}}" not in template}
        path = template.format(**request)
        options = {"params": others} if method == "GET" else {"json": others}
        answer = await self.calls.request(method, path, headers=headers, **options)
        assert answer.status_code == status, answer.text
        check(self.document, answer_schema(self.described[name], status), answer.json())
        self.seen.add((name, status))
        return answer.json()


@asynccontextmanager
async def conversation_with_account(user_id: str) -> AsyncIterator[Conversation]:
    """Calls as somebody who has logged in, to a server in `token` mode."""
    async with (
        token_server("alice", "bob") as server,
        rest(server, None, await token_of(server, user_id)) as calls,
    ):
        yield Conversation(await describe(server), calls)


@asynccontextmanager
async def conversation() -> AsyncIterator[Conversation]:
    """Calls as Alice."""
    async with running_server() as server, rest(server, "alice") as alice:
        yield Conversation(await describe(server), alice)


async def test_answers_conform() -> None:
    bob = {"X-User-ID": "bob"}
    async with conversation() as alice:
        await alice.say("health")
        await alice.say("ready")
        await alice.say("stats")
        for kind in ("text", "image", "file", "voice", "video"):
            await alice.say("send_message", receiver_id="bob", type=kind, content="hello")
        group = await alice.say("create_group", name="mine", description="", members=["bob"])
        group_id = group["group"]["id"]
        sent = await alice.say("send_message", group_id=group_id, content="hello")
        await alice.say("get_message", message_id=sent["message_id"])
        await alice.say("get_message", message_id="msg_6")  # of the type system
        await alice.say("ack", message_id=sent["message_id"], status="read", headers=bob)
        await alice.say("sync_offline", headers=bob, limit=3, include_own=True)
        await alice.say("sync_offline", last_message_id="msg_0")
        found = await alice.say("search_messages", q="hello", limit=1)
        assert found["hits"]
        await alice.say("search_messages", q="hello", group_id=group_id, cursor=found["next"])
        await alice.say("list_conversations", limit=1)
        await alice.say("get_conversation", user_id="bob")
        await alice.say("get_conversation_of_group", group_id=group_id)
        await alice.say("mark_read", user_id="bob", message_id="msg_1")
        await alice.say("mark_read_of_group", group_id=group_id)
        await alice.say("get_history", user_id="bob", around="msg_2")
        await alice.say("get_history_of_group", group_id=group_id)
        await alice.say("get_group", group_id=group_id)
        await alice.say("get_members", group_id=group_id)
        await alice.say("join_group", group_id=group_id, headers={"X-User-ID": "carol"})
        await alice.say("list_groups")
        await alice.say("update_group", group_id=group_id, name="ours", private=True)
        await alice.say("add_members", group_id=group_id, members=["dave"])
        await alice.say("set_role", group_id=group_id, user_id="dave", role="admin")
        await alice.say("remove_member", group_id=group_id, user_id="dave")
        await alice.say("invite", group_id=group_id, user_id="erin")
        await alice.say("list_group_invitations", group_id=group_id, limit=1)
        await alice.say("revoke_invitation", group_id=group_id, user_id="nobody")
        await alice.say("ban_member", group_id=group_id, user_id="frank")
        await alice.say("list_bans", group_id=group_id, limit=1)
        await alice.say("unban_member", group_id=group_id, user_id="frank")
        await alice.say("list_invitations", headers={"X-User-ID": "erin"})
        await alice.say("decline_invitation", group_id=group_id, headers={"X-User-ID": "erin"})
        await alice.say("transfer_group", group_id=group_id, user_id="bob")
        await alice.say("leave_group", group_id=group_id)
        await alice.say("dissolve_group", group_id=group_id, headers=bob)
        seen, described = alice.seen, alice.described
    async with conversation_with_account("alice") as alice:
        await alice.say("health")
        password = {"user_id": "alice", "password": PASSWORD}
        for device in ({}, {"device": "Pixel 9", "platform": "android"}):
            other = await alice.say("password_login", **password, **device)
        await alice.say("list_sessions")
        await alice.say("revoke_session", token_id=other["token_id"])
        await alice.say("revoke_other_sessions")
        new = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
        await alice.say("change_password", **new)
        await alice.say("logout")
        await alice.say("logout", 401)
        await alice.say("password_login", 401, **password)
        assert alice.described["logout"] == described["logout"]
        scheme = alice.document["components"]["securitySchemes"]["user"]
        assert scheme == {"type": "http", "scheme": "bearer"}
        seen |= alice.seen
    async with conversation_with_account("root") as root:
        await root.say("add_user", user_id="carol")
        await root.say("add_user", user_id="dave", password=PASSWORD, administrator=True)
        await root.say("add_user", 409, user_id="dave")
        await root.say("list_users", prefix="", after="alice", limit=2)
        await root.say("get_user", user_id="carol")
        await root.say("get_user", 404, user_id="nobody")
        await root.say("update_user", user_id="dave", administrator=False, disabled=True)
        await root.say("update_user", 409, user_id="root", disabled=True)
        await root.say("set_password", user_id="carol")
        await root.say("set_password", user_id="bob", password=NEW_PASSWORD)
        [session] = (await root.say("list_user_sessions", user_id="root"))["sessions"]
        await root.say("disconnect_user", user_id="bob")
        await root.say("read_audit", limit=5, subject="dave", since=0)
        await root.say("revoke_user_sessions", user_id="bob")
        await root.say("revoke_user_session", user_id="root", token_id=session["token_id"])
        await root.say("list_users", 401)
        seen |= root.seen
    assert {name for name, _ in seen} == set(described)


async def test_refusals_conform_and_are_described() -> None:
    async with conversation() as alice:
        users = [op.name for op in OPERATIONS if op.rest is not None and op.who is not Who.ANYONE]
        ids = {"message_id": "msg_1", "group_id": "group_1", "user_id": "u", "status": "read"}
        ids["token_id"] = "token_1"
        for name in users:
            for user_id, status in (("", 401), ("two words", 400), ("system", 403)):
                await alice.say(name, status, **ids, headers={"X-User-ID": user_id})
        group_id = (await alice.say("create_group", name="mine"))["group"]["id"]
        await alice.say("send_message", 400, receiver_id="bob")
        await alice.say("send_message", 403, receiver_id="bob", type="system", content="hello")
        await alice.say("send_message", 404, group_id="group_none", content="hello")
        await alice.say("send_message", 413, receiver_id="bob", content="x" * 70_000)
        once = {"client_msg_id": "once", "receiver_id": "bob"}
        await alice.say("send_message", **once, content="hello")
        await alice.say("send_message", 409, **once, content="bye")
        await alice.say("get_message", 404, message_id="msg_99")
        await alice.say("ack", 400, message_id="msg_2", status="seen")
        await alice.say("ack", 403, message_id="msg_2", status="read")
        await alice.say("ack", 404, message_id="msg_99", status="read")
        await alice.say("sync_offline", 400, limit=0)
        await alice.say("sync_offline", 409, last_message_id=f"msg_{MAX_SEQ}")
        await alice.say("search_messages", 400)
        await alice.say("search_messages", 404, q="hello", group_id="group_none")
        await alice.say("create_group", 400)
        await alice.say("create_group", 403, name="mine", members=["system"])
        await alice.say("create_group", 413, name="x", members=[], description="x" * MAX_BODY)
        for name in ("get_group", "get_members", "join_group", "leave_group"):
            await alice.say(name, 404, group_id="group_none")
        await alice.say("join_group", group_id=group_id)
        text = {"Content-Type": "text/plain"}
        for name in ("send_message", "ack", "create_group"):
            await alice.say(name, 415, **ids, headers=text)


MAX_BODY = Config().limits.body_bytes


SEND_FIELDS = {
    *("receiver_id", "group_id", "type", "content", "client_msg_id", "attachments"),
    *("reply_to", "mentions", "mention_all", "forward_of"),
}


async def test_it_can_be_read_by_a_machine_that_knows_nothing_else() -> None:
    """Each parameter of each call is described: in its path, its query, its body or its head."""
    async with running_server() as server:
        document = await describe(server)
    for name, entry in entries(document).items():
        path = (PATHS | OF_GROUPS | ADMIN_PATHS).get(name, ("GET", ""))[1]
        given = {(one["in"], one["name"]) for one in entry.get("parameters", ())}
        assert {f"{{{one}}}" for place, one in given if place == "path"} == {
            part for part in path.split("/") if part.startswith("{")
        }
        assert len(given) == len(entry.get("parameters", ()))
    by_name = entries(document)
    queries = {one["name"] for one in by_name["sync_offline"]["parameters"]}
    assert {"last_message_id", "limit", "include_own"} <= queries
    assert ("header", "Idempotency-Key") in {
        (one["in"], one["name"]) for one in by_name["send_message"]["parameters"]
    }
    for name, fields in (
        ("send_message", SEND_FIELDS),
        ("ack", {"status", "cumulative"}),
        ("create_group", {"name", "description", "members", "private", "retention_days"}),
    ):
        schema = by_name[name]["requestBody"]["content"][JSON]["schema"]
        if "$ref" in schema:
            schema = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        assert set(schema["properties"]) == fields
    for name in ("join_group", "leave_group"):
        assert "requestBody" not in by_name[name]
    json.dumps(document, allow_nan=False)

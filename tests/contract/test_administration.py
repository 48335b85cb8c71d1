"""What administrators and the operator may ask for: each operation, each refusal, and who may."""

from __future__ import annotations

import re
import sqlite3
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

import pytest
import trio

from imserver.config import Auth
from imserver.domain.errors import CloseCode, Code
from imserver.service.engine import Who
from imserver.service.operations import COMMON_ERRORS, OPERATIONS
from imserver.store.audit import Action
from tests.contract.api import ADMIN_PATHS, Api, OverRest, code_of, refusal_of
from tests.support import Refused, login, operator, rest, running_server
from tests.support.accounts import (
    NEW_PASSWORD,
    PASSWORD,
    log_in,
    token_of,
    token_server,
)
from tests.support.accounts import (
    closing as goodbye,
)
from tests.support.tokens import Issuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from imserver import Server
    from tests.support import Rest

BY_NAME = {
    operation.name: operation for operation in OPERATIONS if operation.who is Who.ADMINISTRATOR
}
ACTORS = ("administrator", "operator")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


class Office:
    """A server with accounts, and somebody who looks after it."""

    def __init__(self, server: Server, api: Api, actor: str) -> None:
        self.server = server
        self.api = api
        self.actor = actor

    async def do(self, operation: str, **request: Any) -> dict[str, Any]:
        return await self.api.call(operation, request)

    async def account(self, user_id: str) -> dict[str, Any]:
        return (await self.do("get_user", user_id=user_id))["user"]["account"]

    async def last(self) -> dict[str, Any]:
        """The newest entry of the audit log that the actor made, without what is their own."""
        [entry] = (await self.do("read_audit", limit=1))["entries"]
        del entry["entry"]
        assert type(entry.pop("timestamp")) is int
        if self.actor == "operator":
            assert entry.pop("operator")
            assert "actor" not in entry
            assert "address" not in entry
        else:
            assert entry.pop("actor") == "root"
            assert entry.pop("address") == "127.0.0.1"
            assert "operator" not in entry
        return entry


@asynccontextmanager
async def office(actor: str, **settings: Any) -> AsyncIterator[Office]:
    """A server on which alice, bob and the disabled dave have accounts."""
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            token_server("alice", "bob", disabled=["dave"], **settings)
        )
        if actor == "operator":
            calls = await stack.enter_async_context(operator(server))
        else:
            token = await token_of(server, "root")
            calls = await stack.enter_async_context(rest(server, None, token))
        yield Office(server, OverRest(calls), actor)


if TYPE_CHECKING:
    Play = Callable[[Office], Awaitable[None]]

SCENARIOS: dict[str, Play] = {}
REFUSALS: dict[tuple[str, Code], Play] = {}


def scenario(operation: str) -> Callable[[Play], Play]:
    def add(play: Play) -> Play:
        SCENARIOS[operation] = play
        return play

    return add


def refusal(operation: str, code: Code) -> Callable[[Play], Play]:
    """A play whose last call, of `operation`, is to be refused with `code`."""

    def add(play: Play) -> Play:
        REFUSALS[operation, code] = play
        return play

    return add


# -- scenarios --------------------------------------------------------------------------------


@scenario("list_users")
async def _(office: Office) -> None:
    token = await token_of(office.server, "alice")
    async with login(office.server, "alice", token):
        answer = await office.do("list_users")
        assert list(answer) == ["users", "has_more"]
        assert [user["user_id"] for user in answer["users"]] == ["alice", "bob", "dave", "root"]
        assert answer["has_more"] is False
        alice, bob, dave, root = answer["users"]
    assert list(alice) == ["user_id", "created_at", "connections", "account"]
    assert (alice["connections"], alice["account"]["sessions"]) == (1, 1)
    assert (bob["connections"], bob["account"]["sessions"]) == (0, 0)
    assert alice["account"]["used_at"] is not None
    assert bob["account"]["used_at"] is None
    assert [user["account"]["disabled"] for user in (alice, dave)] == [False, True]
    assert [user["account"]["administrator"] for user in (alice, root)] == [False, True]
    page = await office.do("list_users", limit=1, after="alice")
    assert page == {"users": [bob], "has_more": True}
    page = await office.do("list_users", prefix="d")
    assert page == {"users": [dave], "has_more": False}


@scenario("get_user")
async def _(office: Office) -> None:
    user = (await office.do("get_user", user_id="alice"))["user"]
    assert TIME.fullmatch(user["created_at"])
    assert list(user["account"]) == [
        "administrator", "disabled", "must_change_password", "created_at", "password_set_at",
        "sessions", "used_at",
    ]  # fmt: skip
    assert user in (await office.do("list_users"))["users"]


@scenario("add_user")
async def _(office: Office) -> None:
    answer = await office.do("add_user", user_id="张三", password=PASSWORD)
    assert list(answer) == ["user"]
    account = answer["user"]["account"]
    assert (account["administrator"], account["disabled"]) == (False, False)
    assert account["must_change_password"] is False
    assert answer["user"] == (await office.do("get_user", user_id="张三"))["user"]
    assert await office.last() == {
        "action": "account.created", "subject": "张三", "detail": {"administrator": False},
    }  # fmt: skip
    await token_of(office.server, "张三")
    answer = await office.do("add_user", user_id="erin", administrator=True)
    assert list(answer) == ["user", "password"]
    assert answer["user"]["account"]["administrator"] is True
    assert answer["user"]["account"]["must_change_password"] is True
    logged_in = await log_in(office.server, "erin", answer["password"])
    assert logged_in["must_change_password"] is True
    async with rest(office.server, None, logged_in["token"]) as erin:
        assert await code_of(erin.get("/api/v1/admin/users")) == "forbidden"
        change = {"old_password": answer["password"], "new_password": NEW_PASSWORD}
        await erin.post("/api/v1/auth/password", change)
        await erin.get("/api/v1/admin/users")


@scenario("update_user")
async def _(office: Office) -> None:
    alice = await token_of(office.server, "alice")
    async with rest(office.server, None, alice) as calls, login(office.server, "", alice) as socket:
        for administrator, action in ((True, "made"), (False, "unmade")):
            answer = await office.do("update_user", user_id="alice", administrator=administrator)
            assert answer["user"]["account"]["administrator"] is administrator
            assert await office.last() == {
                "action": f"administrator.{action}", "subject": "alice",
            }  # fmt: skip
            if administrator:
                await calls.get("/api/v1/admin/users")
            else:
                assert await code_of(calls.get("/api/v1/admin/users")) == "forbidden"
        answer = await office.do("update_user", user_id="alice", disabled=True)
        assert answer["user"]["account"]["disabled"] is True
        assert answer["user"]["account"]["sessions"] == 0
        assert await office.last() == {"action": "account.disabled", "subject": "alice"}
        assert (await goodbye(socket.connection))[0] == CloseCode.SIGNED_OUT
        assert await code_of(calls.get("/api/v1/groups")) == "unauthorized"
        assert await code_of(log_in(office.server, "alice")) == "forbidden"
        before = (await office.do("read_audit"))["entries"]
        await office.do("update_user", user_id="alice", disabled=True)
        await office.do("update_user", user_id="alice")
        assert (await office.do("read_audit"))["entries"] == before  # nothing new is not noted
        await office.do("update_user", user_id="alice", disabled=False)
        assert await office.last() == {"action": "account.enabled", "subject": "alice"}
        assert await code_of(calls.get("/api/v1/groups")) == "unauthorized"
    await token_of(office.server, "alice")


@scenario("set_password")
async def _(office: Office) -> None:
    alice = await token_of(office.server, "alice")
    async with login(office.server, "", alice) as socket:
        answer = await office.do("set_password", user_id="alice", password=NEW_PASSWORD)
        assert list(answer) == ["user"]
        assert (await goodbye(socket.connection))[0] == CloseCode.SIGNED_OUT
    assert await office.last() == {
        "action": "password.set", "subject": "alice", "detail": {"one_time": False},
    }  # fmt: skip
    async with rest(office.server, None, alice) as calls:
        assert await code_of(calls.get("/api/v1/groups")) == "unauthorized"
    assert await code_of(log_in(office.server, "alice", PASSWORD)) == "wrong_credentials"
    await log_in(office.server, "alice", NEW_PASSWORD)
    answer = await office.do("set_password", user_id="alice")
    assert list(answer) == ["user", "password"]
    assert (await office.account("alice"))["must_change_password"] is True
    assert (await office.last())["detail"] == {"one_time": True}
    assert (await log_in(office.server, "alice", answer["password"]))["must_change_password"]


@scenario("list_user_sessions")
async def _(office: Office) -> None:
    assert await office.do("list_user_sessions", user_id="alice") == {
        "sessions": [],
        "connections": [],
    }
    first = await log_in(office.server, "alice", device="phone", platform="ios")
    second = await log_in(office.server, "alice")
    async with login(office.server, "", second["token"]):
        answer = await office.do("list_user_sessions", user_id="alice")
    sessions = {session["token_id"]: session for session in answer["sessions"]}
    assert set(sessions) == {first["token_id"], second["token_id"]}
    session = sessions[first["token_id"]]
    assert list(session) == [
        "token_id", "device", "platform", "address", "created_at", "used_at", "expires_at",
        "connected",
    ]  # fmt: skip
    assert (session["device"], session["platform"]) == ("phone", "ios")
    assert session["address"] == "127.0.0.1"
    assert [sessions[each["token_id"]]["connected"] for each in (first, second)] == [False, True]
    [connection] = answer["connections"]
    assert connection["address"] == "127.0.0.1"
    assert TIME.fullmatch(connection["connected_at"])
    assert connection["token_id"] == second["token_id"]
    assert "ims_" not in str(answer)


@scenario("revoke_user_session")
async def _(office: Office) -> None:
    first, second = [await log_in(office.server, "alice") for _ in range(2)]
    async with (
        login(office.server, "", first["token"]) as socket,
        rest(office.server, None, second["token"]) as other,
    ):
        request = {"user_id": "alice", "token_id": first["token_id"]}
        assert await office.do("revoke_user_session", **request) == {"success": True}
        assert await office.last() == {
            "action": "token.revoked", "subject": "alice",
            "detail": {"token_id": first["token_id"]},
        }  # fmt: skip
        assert (await goodbye(socket.connection))[0] == CloseCode.SIGNED_OUT
        await other.get("/api/v1/groups")
        assert await code_of(office.do("revoke_user_session", **request)) == "not_found"


@scenario("revoke_user_sessions")
async def _(office: Office) -> None:
    tokens = [await token_of(office.server, "alice") for _ in range(2)]
    async with (
        login(office.server, "", tokens[0]) as socket,
        rest(office.server, None, tokens[1]) as other,
    ):
        assert await office.do("revoke_user_sessions", user_id="alice") == {"success": True}
        assert await office.last() == {
            "action": "tokens.revoked", "subject": "alice", "detail": {"count": 2},
        }  # fmt: skip
        assert (await goodbye(socket.connection))[0] == CloseCode.SIGNED_OUT
        assert await code_of(other.get("/api/v1/groups")) == "unauthorized"
    await token_of(office.server, "alice")


@scenario("disconnect_user")
async def _(office: Office) -> None:
    token = await token_of(office.server, "alice")
    async with login(office.server, "", token) as one, login(office.server, "", token) as other:
        answer = await office.do("disconnect_user", user_id="alice")
        assert answer == {"success": True, "connections": 2}
        for socket in (one, other):
            assert (await goodbye(socket.connection))[0] == CloseCode.SIGNED_OUT
    assert await office.last() == {"action": "user.disconnected", "subject": "alice"}
    async with login(office.server, "", token):  # it is as good as before
        pass
    before = (await office.do("read_audit"))["entries"]
    answer = await office.do("disconnect_user", user_id="bob")
    assert answer == {"success": True, "connections": 0}
    assert (await office.do("read_audit"))["entries"] == before


@scenario("read_audit")
async def _(office: Office) -> None:
    await token_of(office.server, "alice")
    await office.do("add_user", user_id="erin", password=PASSWORD)
    entries = (await office.do("read_audit"))["entries"]
    assert [entry["entry"] for entry in entries] == list(range(len(entries), 0, -1))
    assert entries[0]["subject"] == "erin"
    [logged_in] = [entry for entry in entries if entry.get("actor") == "alice"]
    assert list(logged_in) == [
        "entry", "timestamp", "action", "actor", "subject", "address", "detail",
    ]  # fmt: skip
    assert (logged_in["action"], logged_in["subject"]) == ("login", "alice")
    assert logged_in["address"] == "127.0.0.1"
    wanted = (
        ({"actor": "alice"}, [logged_in]),
        ({"operator": "nobody"}, []),
        ({"action": "login", "subject": "alice"}, [logged_in]),
        ({"subject": "erin"}, entries[:1]),
        ({"since": entries[0]["timestamp"] + 1}, []),
        ({"until": entries[-1]["timestamp"]}, []),
        ({"after": entries[1]["entry"]}, entries[:1]),
        ({"before": 3}, entries[-2:]),
        ({"after": 0}, entries[::-1]),
    )
    for request, expected in wanted:
        assert await office.do("read_audit", **request) == {"entries": expected, "has_more": False}
    page = await office.do("read_audit", limit=2)
    assert page == {"entries": entries[:2], "has_more": True}
    page = await office.do("read_audit", after=0, limit=len(entries))
    assert page == {"entries": entries[::-1], "has_more": False}


# -- refusals ---------------------------------------------------------------------------------

OF_NOBODY: dict[str, dict[str, Any]] = {
    "get_user": {},
    "update_user": {"disabled": True},
    "set_password": {},
    "list_user_sessions": {},
    "revoke_user_session": {"token_id": "token_1"},
    "revoke_user_sessions": {},
    "disconnect_user": {},
}

for _name, _request in OF_NOBODY.items():

    @refusal(_name, Code.NOT_FOUND)
    async def _(office: Office, name: str = _name, request: dict[str, Any] = _request) -> None:
        await office.do(name, user_id="nobody", **request)


@refusal("add_user", Code.NOT_FOUND)
async def _(office: Office) -> None:
    async with proxy_server() as server, rest(server, "root") as root:
        answer = await refusal_of(OverRest(root).call("add_user", {"user_id": "erin"}))
    raise Refused(answer)  # here: a server would put it into a group


@refusal("add_user", Code.CONFLICT)
async def _(office: Office) -> None:
    await office.do("add_user", user_id="alice")


@refusal("update_user", Code.CONFLICT)
async def _(office: Office) -> None:
    answer = await refusal_of(office.do("update_user", user_id="root", disabled=True))
    assert answer == {"error": "root is the last administrator", "code": "conflict"}
    assert (await office.account("root"))["disabled"] is False
    await office.do("update_user", user_id="root", administrator=False)


for _name in ("add_user", "set_password"):

    @refusal(_name, Code.TOO_LARGE)
    async def _(office: Office, name: str = _name) -> None:
        user_id = "erin" if name == "add_user" else "alice"
        await office.do(name, user_id=user_id, password="x" * 1025)

    @refusal(_name, Code.INVALID_REQUEST)
    async def _(office: Office, name: str = _name) -> None:
        user_id = "erin" if name == "add_user" else "alice"
        for wrong in (True, "", "1234567"):
            request = {"user_id": user_id, "password": wrong}
            assert await code_of(office.do(name, **request)) == "invalid_request"
        assert await code_of(office.do("add_user", user_id="a b")) == "invalid_request"
        await office.do(name, user_id=user_id, password="short")


@refusal("update_user", Code.INVALID_REQUEST)
async def _(office: Office) -> None:
    await office.do("update_user", user_id="alice", disabled="yes")


@refusal("list_users", Code.INVALID_REQUEST)
async def _(office: Office) -> None:
    for wrong in ("0", "201", "ten", "-1"):
        assert await code_of(office.do("list_users", limit=wrong)) == "invalid_request"
    await office.do("list_users", limit=10**30)


@refusal("read_audit", Code.INVALID_REQUEST)
async def _(office: Office) -> None:
    for request in (
        {"limit": 0},
        {"after": -1},
        {"before": 2**63},
        {"since": "yesterday"},
        {"action": "no.such"},
    ):
        assert await code_of(office.do("read_audit", **request)) == "invalid_request"
    await office.do("read_audit", after=1, before=3)


REQUESTS: dict[str, dict[str, Any]] = {
    "list_users": {},
    "read_audit": {},
    "add_user": {"user_id": "erin"},
    **{name: {"user_id": "bob"} | request for name, request in OF_NOBODY.items()},
}

for _name in BY_NAME:

    @refusal(_name, Code.FORBIDDEN)
    async def _(office: Office, name: str = _name) -> None:
        token = await token_of(office.server, "alice")
        async with rest(office.server, None, token) as alice:
            await OverRest(alice).call(name, REQUESTS[name])


@pytest.mark.parametrize("actor", ACTORS)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_scenario(name: str, actor: str) -> None:
    async with office(actor) as stage:
        await SCENARIOS[name](stage)


@pytest.mark.parametrize(("name", "code"), REFUSALS)
async def test_refusal(name: str, code: Code) -> None:
    async with office("administrator") as stage:
        entries = (await stage.do("read_audit", limit=200))["entries"]
        with pytest.raises(Refused) as refused:
            await REFUSALS[name, code](stage)
        assert refused.value.code == code
        assert list(refused.value.answer) == ["error", "code"]
        after = (await stage.do("read_audit", after=entries[0]["entry"]))["entries"]
        assert {entry["action"] for entry in after} <= {"login"}  # what was refused is not noted


def test_the_table_is_complete() -> None:
    assert set(SCENARIOS) == set(REQUESTS) == set(BY_NAME)
    places = {name: (op.rest.method, op.rest.path) for name, op in BY_NAME.items() if op.rest}
    assert places == ADMIN_PATHS
    listed = {(name, code) for name, op in BY_NAME.items() for code in op.errors}
    assert {key for key in REFUSALS if key[1] not in COMMON_ERRORS} == listed
    checked = {name for name, code in REFUSALS if code is Code.INVALID_REQUEST}
    by_id = {"get_user", "list_user_sessions", "revoke_user_session", "revoke_user_sessions"}
    assert checked == set(BY_NAME) - by_id - {"disconnect_user"}


# -- who may ----------------------------------------------------------------------------------


@asynccontextmanager
async def proxy_server(**settings: Any) -> AsyncIterator[Server]:
    """A server in `proxy` mode, on which this machine is the proxy and root the administrator."""
    auth = Auth(mode="proxy", administrators=("root",))
    async with running_server(auth=auth, proxies=("127.0.0.1",), **settings) as server:
        yield server


# What is about accounts, and so is not there in other modes.
OF_ACCOUNTS = {
    "add_user", "update_user", "set_password", "revoke_user_session", "revoke_user_sessions",
}  # fmt: skip


@pytest.mark.parametrize("person", ["nobody", "user", "disabled", "must change", "stale", *ACTORS])
async def test_who_may_with_accounts(person: str) -> None:
    async with office("administrator") as stage, AsyncExitStack() as stack:
        server = stage.server
        if person == "operator":
            calls = await stack.enter_async_context(operator(server))
        else:
            token = await token_of_person(stage, person)
            calls = await stack.enter_async_context(rest(server, None, token))
        for name in BY_NAME:
            call = OverRest(calls).call(name, REQUESTS[name])
            if person not in ACTORS:
                outside = person in ("nobody", "disabled")
                assert await code_of(call) == ("unauthorized" if outside else "forbidden")
            elif name == "revoke_user_session":
                assert (await refusal_of(call))["error"] == "There is no such session"
            else:
                await call


async def token_of_person(stage: Office, person: str) -> str | None:
    if person == "nobody":
        return None
    if person == "administrator":
        return await token_of(stage.server, "root")
    if person == "must change":
        answer = await stage.do("add_user", user_id="carol", administrator=True)
        return (await log_in(stage.server, "carol", answer["password"]))["token"]
    if person == "user":
        return await token_of(stage.server, "alice")
    # An administrator until a moment ago.
    await stage.do("update_user", user_id="alice", administrator=True)
    token = await token_of(stage.server, "alice")
    change = {"disabled": True} if person == "disabled" else {"administrator": False}
    await stage.do("update_user", user_id="alice", **change)
    return token


@pytest.mark.parametrize("mode", ["open", "proxy", "jwt"])
async def test_who_may_elsewhere(mode: str, tmp_path: Path) -> None:
    issuer = Issuer()
    settings: dict[str, Any] = {
        "open": {},
        "proxy": {
            "auth": Auth(mode="proxy", administrators=("root",)),
            "proxies": ("127.0.0.1",),
        },
        "jwt": {"auth": issuer.auth(tmp_path, administrators=("root",))},
    }[mode]

    def as_user(user_id: str) -> AbstractAsyncContextManager[Rest]:
        return rest(server, user_id, issuer.token(user_id) if mode == "jwt" else None)

    async with (
        running_server(data=str(tmp_path), **settings) as server,
        operator(server) as chief,
        rest(server, None) as nobody,
        as_user("alice") as alice,
        as_user("root") as root,
    ):
        await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": "hello"})
        # In open mode anybody may call themselves so.
        refused, entitled = ([alice, root], [chief]) if mode == "open" else ([alice], [chief, root])
        for name, request in REQUESTS.items():
            assert await code_of(OverRest(nobody).call(name, request)) == "unauthorized"
            for calls in refused:
                assert await code_of(OverRest(calls).call(name, request)) == "forbidden"
            for calls in entitled:
                call = OverRest(calls).call(name, request)
                if name in OF_ACCOUNTS:
                    answer = await refusal_of(call)
                    assert answer["code"] == "not_found"
                    assert "token mode" in answer["error"]
                else:
                    await call


async def test_the_control_socket_lends_nobody_its_rights(tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path)) as server, rest(server, "alice") as alice:
        for headers in (
            {"X-Forwarded-For": "unix"},
            {"Forwarded": "for=unix"},
            {"X-User-ID": "alice", "X-Operator": "root"},
            {"Authorization": "Bearer operator"},
        ):
            response = await alice.request("GET", "/api/v1/admin/users", headers=headers)
            assert response.status_code == 403


# -- modes without accounts -------------------------------------------------------------------


async def test_users_are_seen_and_disconnected_in_every_mode(tmp_path: Path) -> None:
    async with (
        running_server(data=str(tmp_path)) as server,
        operator(server) as calls,
        rest(server, "alice") as alice,
        login(server, "carol") as carol,
    ):
        chief = OverRest(calls)
        await alice.post("/api/v1/messages", {"receiver_id": "bob/../小明", "content": "hello"})
        users = (await chief.call("list_users", {}))["users"]
        assert [(each["user_id"], each["connections"]) for each in users] == [
            ("alice", 0),
            ("bob/../小明", 0),
            ("carol", 1),
        ]
        assert {each["account"] for each in users} == {None}
        # Nobody has named carol yet, and she is there.
        assert users[2]["created_at"] is None
        for user in users:
            request = {"user_id": user["user_id"]}
            assert (await chief.call("get_user", request))["user"] == user
        listed = await chief.call("list_user_sessions", {"user_id": "carol"})
        assert listed["sessions"] == []
        assert [list(each) for each in listed["connections"]] == [["address", "connected_at"]]
        assert (await chief.call("disconnect_user", {"user_id": "carol"}))["connections"] == 1
        assert (await goodbye(carol.connection))[0] == CloseCode.SIGNED_OUT
        [entry] = (await chief.call("read_audit", {}))["entries"]
        assert (entry["action"], entry["subject"]) == ("user.disconnected", "carol")


async def test_pages_of_users_hold_those_who_are_only_connected_too(tmp_path: Path) -> None:
    async with (
        running_server(data=str(tmp_path)) as server,
        operator(server) as calls,
        rest(server, "b") as known,
        login(server, "a"), login(server, "c"), login(server, "ca"), login(server, "e"),
    ):  # fmt: skip
        await known.post("/api/v1/messages", {"receiver_id": "d", "content": "hello"})
        found: list[str] = []
        more = True
        while more:
            request = {"limit": 2, "after": found[-1] if found else ""}
            page = await OverRest(calls).call("list_users", request)
            found += [user["user_id"] for user in page["users"]]
            more = page["has_more"]
        assert found == ["a", "b", "c", "ca", "d", "e"]
        page = await OverRest(calls).call("list_users", {"prefix": "c"})
        assert [user["user_id"] for user in page["users"]] == ["c", "ca"]


# -- what must not be -------------------------------------------------------------------------


async def test_of_two_administrators_who_unmake_each_other_at_once_one_stays() -> None:
    async with office("administrator") as stage:
        await stage.do("update_user", user_id="alice", administrator=True)
        outcomes: list[str] = []

        async def unmake(by: str, whom: str) -> None:
            async with rest(stage.server, None, await token_of(stage.server, by)) as calls:
                try:
                    await OverRest(calls).call(
                        "update_user", {"user_id": whom, "administrator": False}
                    )
                    outcomes.append("done")
                except Refused as refused:
                    outcomes.append(refused.code)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(unmake, "root", "alice")
            nursery.start_soon(unmake, "alice", "root")
        assert sorted(outcomes) in (["conflict", "done"], ["done", "forbidden"])
        async with operator(stage.server) as calls:
            users = (await OverRest(calls).call("list_users", {}))["users"]
        assert sum(user["account"]["administrator"] for user in users) == 1


async def test_a_password_is_in_its_one_answer_and_nowhere_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    secrets = ["a secret of mine", "another secret"]
    answers = []
    async with office("administrator", folder=tmp_path) as stage:
        await stage.do("add_user", user_id="erin", password=secrets[0])
        await stage.do("set_password", user_id="erin", password=secrets[1])
        for name, user_id in (("add_user", "frank"), ("set_password", "erin")):
            secrets.append((await stage.do(name, user_id=user_id))["password"])
        answers = [
            await stage.do("read_audit", limit=200),
            await stage.do("list_users"),
            await stage.do("get_user", user_id="erin"),
        ]
    assert len(set(secrets)) == 4
    kept = (tmp_path / "imserver.db").read_bytes()  # with its WAL in it: the server has stopped
    for secret in secrets:
        assert len(secret) >= 14
        assert secret not in caplog.text
        assert secret not in str(answers)
        assert secret.encode() not in kept


async def test_the_audit_log_of_a_server_is_only_ever_added_to(tmp_path: Path) -> None:
    async with office("operator", folder=tmp_path) as stage:
        await stage.do("update_user", user_id="alice", disabled=True)
        before = (await stage.do("read_audit", limit=200))["entries"]
        with closing(sqlite3.connect(tmp_path / "imserver.db")) as db:
            for sql in (
                "UPDATE audit SET actor = 'somebody else'",
                "DELETE FROM audit WHERE action = 'account.disabled'",
                f"REPLACE INTO audit VALUES ({before[0]['entry']}, 0, NULL, 'login', NULL, '', '')",
            ):
                with pytest.raises(sqlite3.IntegrityError, match="only ever added to"):
                    db.execute(sql)
        assert (await stage.do("read_audit", limit=200))["entries"] == before


async def test_what_is_refused_changes_nothing_though_half_of_it_could_be_done() -> None:
    async with office("administrator") as stage:
        for request in (
            {"administrator": False, "disabled": True},
            {"administrator": False, "disabled": False},
            {"administrator": True, "disabled": True},
        ):
            call = stage.do("update_user", user_id="root", **request)
            assert await code_of(call) == "conflict"
            account = await stage.account("root")
            assert (account["administrator"], account["disabled"]) == (True, False)
        # Both at once, where both can be.
        for change in (
            {"administrator": True, "disabled": True},
            {"administrator": True, "disabled": False},
            {"administrator": False, "disabled": True},
        ):
            account = (await stage.do("update_user", user_id="alice", **change))["user"]["account"]
            assert {name: account[name] for name in change} == change


async def test_the_audit_log_tells_of_everything_by_whom_and_from_where() -> None:
    async with office("administrator") as stage:
        server = stage.server
        first = await log_in(server, "alice", device="phone")
        assert await code_of(log_in(server, "alice", NEW_PASSWORD)) == "wrong_credentials"
        assert await code_of(log_in(server, "hunter2-x", NEW_PASSWORD)) == "wrong_credentials"
        assert await code_of(log_in(server, "dave")) == "forbidden"
        async with rest(server, None, first["token"]) as alice:
            second, third = [await log_in(server, "alice") for _ in range(2)]
            await alice.ask("DELETE", f"/api/v1/auth/sessions/{second['token_id']}")
            await alice.ask("DELETE", "/api/v1/auth/sessions")
            path, change = "/api/v1/auth/password", {"new_password": NEW_PASSWORD}
            wrong = alice.post(path, change | {"old_password": "something else"})
            assert await code_of(wrong) == "forbidden"
            await alice.post(path, change | {"old_password": PASSWORD})
            async with login(server, "", first["token"]):
                await stage.do("disconnect_user", user_id="alice")
            await alice.post("/api/v1/auth/logout")
        await stage.do("update_user", user_id="bob", disabled=True, administrator=True)
        await stage.do("update_user", user_id="bob", disabled=False, administrator=False)
        await stage.do("add_user", user_id="erin", password=PASSWORD)
        entries = (await stage.do("read_audit", after=0, limit=200))["entries"]
        # What was done before the server started, for this test, has nobody.
        begun = next(n for n, entry in enumerate(entries) if entry["action"] == "login")
        told = [
            (entry["action"], entry.get("actor"), entry.get("subject"), entry.get("detail"))
            for entry in entries[begun:]
        ]
    assert {entry["address"] for entry in entries[begun:]} == {"127.0.0.1"}
    ids = [{"token_id": each["token_id"], "device": ""} for each in (second, third)]
    assert told[1:] == [
        ("login", "alice", "alice", {"token_id": first["token_id"], "device": "phone"}),
        ("password.wrong", None, "alice", None),
        ("password.wrong", None, None, None),  # what is no account's name may be a password
        ("login.refused", None, "dave", None),
        ("login", "alice", "alice", ids[0]),
        ("login", "alice", "alice", ids[1]),
        ("token.revoked", "alice", "alice", {"token_id": second["token_id"]}),
        ("tokens.revoked", "alice", "alice", {"count": 1}),
        ("password.wrong", "alice", "alice", None),
        ("password.set", "alice", "alice", {"one_time": False}),
        ("user.disconnected", "root", "alice", None),
        ("logout", "alice", "alice", {"token_id": first["token_id"]}),
        ("account.disabled", "root", "bob", None),
        ("administrator.made", "root", "bob", None),
        ("administrator.unmade", "root", "bob", None),
        ("account.enabled", "root", "bob", None),
        ("account.created", "root", "erin", {"administrator": False}),
    ]
    # Nobody is erased while a server runs: see tests/store/test_one_user.py.
    assert {action for action, *_ in told} == set(Action) - {Action.ERASED}

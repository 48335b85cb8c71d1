"""`token` mode: who may come in, with what, for how long, and what guessing costs."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing as closes
from typing import TYPE_CHECKING, Any

import argon2
import pytest
import trio

from imserver.config import Auth
from imserver.domain.errors import CloseCode
from imserver.live.backoff import Backoff
from imserver.service.engine import Engine
from imserver.service.operations import OPERATIONS
from imserver.store import accounts
from tests.contract.api import (
    PATHS,
    TRANSPORTS,
    acting,
    code_of,
    refusal_of,
)
from tests.support import Refused, connect, login, rest, running_server
from tests.support.accounts import (
    NEW_PASSWORD,
    NOBODY,
    PASSWORD,
    changing,
    closing,
    give_accounts,
    log_in,
    token_of,
    token_server,
    try_to_log_in,
)

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

    from imserver import Server

LOGIN = "/api/v1/auth/login"
SESSIONS = "/api/v1/auth/sessions"
CHANGE = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}


# -- tokens -----------------------------------------------------------------------------------


async def test_a_websocket_logs_in_with_a_token_and_may_leave_its_user_out() -> None:
    async with token_server("alice", "bob") as server:
        token = await token_of(server, "alice")
        for said in ({}, {"user_id": "alice"}, {"user_id": ""}, {"user_id": None}):
            async with connect(server) as socket:
                answer = await socket.call("login", {"token": token, "platform": "web", **said})
                assert answer["user_id"] == "alice"
                await socket.call("heartbeat", {"user_id": "alice"})
                assert await code_of(socket.call("heartbeat", {"user_id": "bob"})) == "forbidden"


@pytest.mark.parametrize(
    ("said", "code"),
    [
        ({}, "unauthorized"),
        ({"user_id": "alice"}, "unauthorized"),
        ({"user_id": "alice", "token": "auth_token"}, "unauthorized"),
        ({"user_id": "alice", "token": PASSWORD}, "unauthorized"),
        ({"user_id": "bob", "token": "TOKEN"}, "forbidden"),
        ({"user_id": "root", "token": "TOKEN"}, "forbidden"),
    ],
)
async def test_a_websocket_without_its_users_token_is_nobodys(
    said: dict[str, str], code: str
) -> None:
    async with token_server("alice", "bob") as server, connect(server) as socket:
        token = await token_of(server, "alice")
        request = {key: token if value == "TOKEN" else value for key, value in said.items()}
        assert await code_of(socket.call("login", request)) == code
        assert await code_of(socket.call("list_groups")) == "not_logged_in"
        # It may try again on the same connection.
        await socket.call("login", {"token": token})


async def test_a_rest_call_brings_its_token_as_a_bearer() -> None:
    async with token_server("alice", "bob") as server:
        token = await token_of(server, "alice")
        for scheme in ("Bearer", "bearer"):
            async with rest(server, None) as calls:
                headers = {"Authorization": f"{scheme} {token}"}
                answer = await calls.request("GET", "/api/v1/groups", headers=headers)
                assert answer.json() == {"groups": []}
        for headers in (
            {},
            {"X-User-ID": "alice"},
            {"Authorization": token},
            {"Authorization": f"Basic {token}"},
            {"Authorization": "Bearer"},
            {"Authorization": "Bearer auth_token"},
            {"Authorization": f"Bearer {token}x"},
        ):
            async with rest(server, None) as calls:
                answer = await calls.request("GET", "/api/v1/groups", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["code"] == "unauthorized"
            assert answer.headers["WWW-Authenticate"] == "Bearer"
            assert token not in answer.text
        async with rest(server, "alice", token) as calls:
            assert await calls.get("/api/v1/groups") == {"groups": []}
        async with rest(server, "bob", token) as calls:
            assert await code_of(calls.get("/api/v1/groups")) == "forbidden"


async def test_what_is_revoked_is_over_at_once_on_every_connection() -> None:
    async with token_server("alice", "bob") as server:
        tokens = [await token_of(server, "alice") for _ in range(2)]
        async with (
            rest(server, None, tokens[0]) as calls,  # keeps its connection alive
            rest(server, None, tokens[1]) as other,
            login(server, "alice", tokens[0]) as one,
            login(server, "alice", tokens[0]) as two,
            login(server, "alice", tokens[1]) as three,
        ):
            await calls.get("/api/v1/groups")
            [gone] = [s for s in (await other.get(SESSIONS))["sessions"] if not s["current"]]
            await other.ask("DELETE", f"{SESSIONS}/{gone['token_id']}")
            assert await code_of(calls.get("/api/v1/groups")) == "unauthorized"
            for socket in (one, two):
                code, reason = await closing(socket.connection)
                assert code == CloseCode.SIGNED_OUT == 4003
                assert reason
            await three.call("heartbeat")
            async with connect(server) as again:
                assert await code_of(again.call("login", {"token": tokens[0]})) == "unauthorized"


async def test_a_token_outlives_the_server(tmp_path: Path) -> None:
    async with token_server("alice", folder=tmp_path) as server:
        issued = await log_in(server, "alice", device="phone", platform="ios")
        revoked = await token_of(server, "alice")
        async with rest(server, None, revoked) as calls:
            await calls.post("/api/v1/auth/logout")
    async with token_server(folder=tmp_path) as server:
        async with rest(server, None, issued["token"]) as calls:
            [session] = (await calls.get(SESSIONS))["sessions"]
        assert session["token_id"] == issued["token_id"]
        assert (session["device"], session["platform"]) == ("phone", "ios")
        async with rest(server, None, revoked) as calls:
            assert await code_of(calls.get(SESSIONS)) == "unauthorized"


async def test_a_token_that_is_not_used_expires() -> None:
    now = [1_700_000_000_000]
    async with token_server("alice", token_days=0.01, clock=lambda: now[0]) as server:
        tokens = [await token_of(server, "alice") for _ in range(2)]
        async with rest(server, None, tokens[0]) as used, rest(server, None, tokens[1]) as idle:
            for _ in range(3):
                now[0] += 500_000  # of 864,000
                await used.get(SESSIONS)
            assert await code_of(idle.get(SESSIONS)) == "unauthorized"
            assert len((await used.get(SESSIONS))["sessions"]) == 1


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("imserver.db*"))


async def test_nothing_secret_is_stored_or_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with token_server("alice", folder=tmp_path) as server:
        issued = await log_in(server, "alice")
        await try_to_log_in(server, "alice", "a wrong password")
        await try_to_log_in(server, "a password in the wrong field".replace(" ", "-"), "x" * 9)
        async with rest(server, None, issued["token"]) as calls:
            await calls.post("/api/v1/auth/password", CHANGE)
            await calls.request(
                "GET", "/api/v1/groups", headers={"Authorization": "Bearer misplaced"}
            )
        async with login(server, "alice", issued["token"]) as socket:
            await socket.call("heartbeat")
        files = everything_in(tmp_path)  # the journal included
    files += everything_in(tmp_path)
    # The clients of this test log what they send.
    ours = [record for record in caplog.records if record.name.startswith("imserver")]
    logged = "".join(f"{record.getMessage()} {vars(record)}" for record in ours)
    assert "a wrong password from 127.0.0.1" in logged
    for secret in (issued["token"], PASSWORD, NEW_PASSWORD, "wrong-field", "misplaced"):
        assert secret.encode() not in files
        assert secret.removeprefix("ims_").encode() not in files
        assert secret not in logged
    assert issued["token_id"].encode() in files


# -- passwords --------------------------------------------------------------------------------


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hashes that passwords were held against: each is one run of the hash function."""
    held: list[str] = []
    verify = argon2.PasswordHasher.verify

    def counting(self: Any, hash: str, password: str) -> bool:
        held.append(hash)
        return verify(self, hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counting)
    return held


async def test_a_wrong_password_and_no_account_cost_and_say_the_same(runs: list[str]) -> None:
    async with token_server("alice", disabled=["dave"]) as server:
        answers = []
        for user in ("alice", "nobody", "dave"):
            runs.clear()
            answer = await try_to_log_in(server, user, "a wrong password")
            answers.append((answer.status_code, answer.json()))
            assert len(runs) == 1
            # With the same parameters, so in the same time.
            assert runs[0].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert answers[0][0] == 401
    assert answers[0] == answers[1] == answers[2]


async def test_an_account_without_a_password_is_nobodys_to_log_in_to(tmp_path: Path) -> None:
    give_accounts(tmp_path, ["root"], administrator=True)
    with changing(tmp_path) as tx:
        accounts.create(tx, NOBODY, "service", None)
    async with token_server(folder=tmp_path) as server:
        for password in ("", "None", PASSWORD):
            assert (await try_to_log_in(server, "service", password)).status_code == 401


async def test_a_password_is_the_same_however_it_is_typed() -> None:
    async with token_server("alice") as server:
        token = await token_of(server, "alice")
        async with rest(server, None, token) as calls:
            await calls.post("/api/v1/auth/password", CHANGE | {"new_password": "Ünlock ｍｅ"})
        await log_in(server, "alice", "U\u0308nlock me")
        assert (await try_to_log_in(server, "alice", "unlock me")).status_code == 401


async def test_an_older_hash_is_made_anew_at_the_next_login(
    tmp_path: Path, runs: list[str]
) -> None:
    weak = argon2.PasswordHasher(1, 1024, 1).hash(PASSWORD)
    give_accounts(tmp_path, ["root"], administrator=True)
    with changing(tmp_path) as tx:
        accounts.create(tx, NOBODY, "alice", weak)

    async with token_server(folder=tmp_path) as server:
        assert (await try_to_log_in(server, "alice", "wrong password")).status_code == 401
        for _ in range(3):
            await log_in(server, "alice")
    assert runs[:2] == [weak, weak]
    assert runs[2].startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert runs[3] == runs[2]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_new_password_logs_everyone_else_out(transport: str) -> None:
    async with token_server("alice") as server:
        tokens = [await token_of(server, "alice") for _ in range(2)]
        async with (
            acting(server, transport, "alice", tokens[0]) as alice,
            login(server, "alice", tokens[1]) as other,
        ):
            await alice.call("change_password", CHANGE)
            assert (await closing(other.connection))[0] == CloseCode.SIGNED_OUT
            assert len((await alice.call("list_sessions", {}))["sessions"]) == 1
            answer = await refusal_of(alice.call("change_password", CHANGE))
            assert (answer["code"], answer["error"]) == ("forbidden", "old_password is wrong")


async def test_a_login_that_a_new_password_overtakes_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its password was right when it was looked at, and is not when the token would be made."""
    async with token_server("alice") as server:
        token = await token_of(server, "alice")
        verified, go_on = trio.Event(), trio.Event()
        write = Engine.write

        async def late(self: Any, change: Any) -> Any:
            if type(change).__name__ == "_LogIn":
                verified.set()
                await go_on.wait()
            return await write(self, change)

        monkeypatch.setattr(Engine, "write", late)
        answers: list[httpx.Response] = []

        async def overtaken() -> None:
            answers.append(await try_to_log_in(server, "alice", PASSWORD))

        async with trio.open_nursery() as nursery, rest(server, None, token) as calls:
            nursery.start_soon(overtaken)
            await verified.wait()
            await calls.post("/api/v1/auth/password", CHANGE)
            go_on.set()
        assert answers[0].json()["code"] == "wrong_credentials"
        async with rest(server, None, token) as calls:
            assert len((await calls.get(SESSIONS))["sessions"]) == 1


# -- guessing ---------------------------------------------------------------------------------


@pytest.fixture
def _at_one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time goes by for who guesses, however slow the machine."""
    monkeypatch.setattr("imserver.building.Backoff", lambda clock: Backoff(lambda: 1000.0))


at_one_moment = pytest.mark.usefixtures("_at_one_moment")


@at_one_moment
async def test_after_five_wrong_passwords_the_right_one_has_to_wait_too(runs: list[str]) -> None:
    async with token_server("alice", "bob") as server:
        for _ in range(5):
            assert (await try_to_log_in(server, "alice", "wrong password")).status_code == 401
        for password in ("wrong password", PASSWORD):
            answer = await try_to_log_in(server, "alice", password)
            assert answer.status_code == 429
            assert answer.json()["code"] == "rate_limited"
            assert answer.json()["retry_after_ms"] == 1000
            assert answer.headers["Retry-After"] == "1"
        assert len(runs) == 5
        await log_in(server, "bob")


@at_one_moment
async def test_wrong_passwords_at_one_moment_are_no_more_than_one_after_the_other(
    runs: list[str],
) -> None:
    statuses: list[int] = []

    async def guess(server: Server) -> None:
        statuses.append((await try_to_log_in(server, "alice", "wrong password")).status_code)

    async with token_server("alice") as server, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(guess, server)
    assert sorted(statuses) == [401] * 5 + [429] * 15
    assert len(runs) == 5


@at_one_moment
async def test_the_old_password_cannot_be_guessed_either(runs: list[str]) -> None:
    async with token_server("alice") as server:
        token = await token_of(server, "alice")
        runs.clear()
        async with rest(server, None, token) as calls:
            codes = [
                await code_of(
                    calls.post("/api/v1/auth/password", CHANGE | {"old_password": "wrong one"})
                )
                for _ in range(7)
            ]
    assert codes == ["forbidden"] * 5 + ["rate_limited"] * 2
    assert len(runs) == 5


@at_one_moment
async def test_nobody_is_locked_out_by_somebody_else() -> None:
    async with (
        token_server("alice", "bob", proxies=("127.0.0.1",)) as server,
        rest(server, None) as calls,
    ):

        async def attempt(user: str, password: str, address: str) -> int:
            body = {"user_id": user, "password": password}
            headers = {"X-Forwarded-For": address}
            answer = await calls.request("POST", LOGIN, json=body, headers=headers)
            return answer.status_code

        assert await attempt("alice", PASSWORD, "203.0.113.5") == 200
        statuses = [
            await attempt("alice", "wrong password", f"198.51.100.{number}") for number in range(55)
        ]
        assert statuses == [401] * 50 + [429] * 5
        # From where she is logged in already she is known, and elsewhere she waits a little.
        assert await attempt("alice", PASSWORD, "203.0.113.5") == 200
        assert await attempt("alice", PASSWORD, "203.0.113.6") == 429
        assert await attempt("bob", PASSWORD, "203.0.113.6") == 200


# -- passwords for one login ------------------------------------------------------------------


@pytest.fixture
def newcomers(tmp_path: Path) -> Path:
    """A folder in which alice has a password for one login."""
    give_accounts(tmp_path, ["root"], administrator=True)
    give_accounts(tmp_path, ["alice"], must_change=True)
    return tmp_path


async def test_a_password_for_one_login_is_good_for_changing_it_only(newcomers: Path) -> None:
    async with token_server(folder=newcomers) as server:
        issued = await log_in(server, "alice")
        assert issued["must_change_password"] is True
        async with rest(server, None, issued["token"]) as alice, connect(server) as socket:
            for name, (method, path) in PATHS.items():
                if name in ("change_password", "logout"):
                    continue
                answer = await alice.request(method, path)
                assert (name, answer.status_code) == (name, 403)
                assert "change it" in answer.json()["error"]
            answer = await refusal_of(socket.call("login", {"token": issued["token"]}))
            assert answer["code"] == "forbidden"
            assert "change it" in answer["error"]
            assert await alice.post("/api/v1/auth/password", CHANGE) == {"success": True}
            # The same token is good for everything now.
            assert await alice.get("/api/v1/groups") == {"groups": []}
            await socket.call("login", {"token": issued["token"]})
        assert (await log_in(server, "alice", NEW_PASSWORD))["must_change_password"] is False
        assert (await try_to_log_in(server, "alice", PASSWORD)).status_code == 401


async def test_who_has_to_change_their_password_may_log_out_instead(newcomers: Path) -> None:
    async with token_server(folder=newcomers) as server:
        token = await token_of(server, "alice")
        async with rest(server, None, token) as alice:
            assert await alice.post("/api/v1/auth/logout") == {"success": True}
            assert await code_of(alice.post("/api/v1/auth/password", CHANGE)) == "unauthorized"


# -- who exists -------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_who_has_no_account_does_not_exist(transport: str, tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path)) as server, rest(server, "zoe") as zoe:
        await zoe.post("/api/v1/messages", {"receiver_id": "alice", "content": "before"})
    give_accounts(tmp_path, ["root"], administrator=True)
    give_accounts(tmp_path, ["alice", "bob"])
    async with token_server(folder=tmp_path) as server:
        token = await token_of(server, "alice")
        async with acting(server, transport, "alice", token) as alice:
            group_id = await alice.create_group("bob")
            for user in ("nobody", "zoe"):  # zoe was here when the server was open
                for call in (
                    alice.send(user),
                    alice.create_group("bob", user),
                    alice.govern("add_members", group_id, members=["bob", user]),
                    alice.govern("invite", group_id, user_id=user),
                ):
                    answer = await refusal_of(call)
                    assert (answer["code"], answer["error"]) == (
                        "not_found",
                        f"There is no user {user}",
                    )
            assert (await alice.get_group(group_id))["members"] == ["bob"]
            assert len((await alice.call("list_groups", {}))["groups"]) == 1
            assert await alice.send("alice")
            # Her messages of that time are hers still.
            [message, *_] = (await alice.sync_offline(last_message_id="msg_0"))["messages"]
            assert (message["sender_id"], message["content"]) == ("zoe", "before")
    with closes(sqlite3.connect(tmp_path / "imserver.db")) as db:
        users = {name for (name,) in db.execute("SELECT user_id FROM user")}
    assert users == {"zoe", "alice", "bob", "root"}


async def test_a_disabled_account_gets_its_messages_when_it_is_enabled(tmp_path: Path) -> None:
    async with token_server("alice", disabled=["dave"], folder=tmp_path) as server:
        async with rest(server, None, await token_of(server, "alice")) as alice:
            await alice.post("/api/v1/messages", {"receiver_id": "dave", "content": "hello"})
        assert (await try_to_log_in(server, "dave", PASSWORD)).status_code == 403
    with changing(tmp_path) as tx:
        accounts.set_disabled(tx, NOBODY, "dave", False)
    async with (
        token_server(folder=tmp_path) as server,
        rest(server, None, await token_of(server, "dave")) as dave,
    ):
        [message] = (await dave.get("/api/v1/messages/offline"))["messages"]
        assert message["content"] == "hello"


# -- other modes ------------------------------------------------------------------------------


def test_the_operations_on_accounts_are_those_that_other_modes_do_not_have() -> None:
    named = {op.name for op in OPERATIONS if op.rest and "/auth/" in op.rest.path}
    assert named == {"password_login", *(name for name in PATHS if "/auth/" in PATHS[name][1])}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_server_without_accounts_says_so(transport: str) -> None:
    request = CHANGE | {"token_id": "token_1"}
    async with running_server() as server, acting(server, transport, "alice") as alice:
        for name in (name for name in PATHS if "/auth/" in PATHS[name][1]):
            answer = await refusal_of(alice.call(name, request))
            assert answer["code"] == "not_found"
            assert "token mode" in answer["error"]
        response = await try_to_log_in(server, "alice", PASSWORD)
        assert response.status_code == 404
        assert "token mode" in response.json()["error"]


# -- the beginning ----------------------------------------------------------------------------


async def test_the_first_start_makes_an_administrator_and_later_ones_do_not(
    tmp_path: Path,
) -> None:
    settings = {"data": str(tmp_path), "auth": Auth(mode="token")}
    async with running_server(**settings) as server:
        password = server.first_password
        assert password is not None
        issued = await log_in(server, "admin", password)
        assert issued["must_change_password"] is True
        async with rest(server, None, issued["token"]) as admin:
            change = {"old_password": password, "new_password": NEW_PASSWORD}
            await admin.post("/api/v1/auth/password", change)
    async with running_server(**settings) as server:
        assert server.first_password is None
        with pytest.raises(Refused):
            await log_in(server, "admin", password)
        await log_in(server, "admin", NEW_PASSWORD)


async def test_in_memory_there_is_an_administrator_too() -> None:
    async with running_server(auth=Auth(mode="token")) as server:
        assert server.first_password is not None
        await log_in(server, "admin", server.first_password)
    async with running_server() as server:
        assert server.first_password is None

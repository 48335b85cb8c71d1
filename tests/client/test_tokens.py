"""Clients of servers that want tokens: shown at every login, fresh where there are fresh ones."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

import pytest
import trio

from imserver.client import (
    ClientError,
    Disconnected,
    Message,
    Reconnected,
    Refused,
    Unreachable,
    log_in,
    open_client,
)
from imserver.domain.errors import CloseCode, Code
from tests.client.support import BRISK, LONG, free_port, until
from tests.client.windows import terminal_window, window
from tests.support import rest, running_server
from tests.support.accounts import NEW_PASSWORD, PASSWORD, token_of, token_server
from tests.support.tokens import Issuer

if TYPE_CHECKING:
    from pathlib import Path

    import imserver

ISSUER = Issuer()


class Clock:
    """The server's time, which stands still until it is moved."""

    def __init__(self) -> None:
        self.now = round(time.time())  # seconds

    def __call__(self) -> int:
        return self.now * 1000


async def test_a_client_whose_token_expires_comes_back_with_a_fresh_one(tmp_path: Path) -> None:
    clock = Clock()
    asked = 0

    async def token() -> str:
        nonlocal asked
        asked += 1
        return ISSUER.token("bob", exp=clock.now + 60)

    async with (
        running_server(auth=ISSUER.auth(tmp_path), clock=clock) as server,
        open_client(server.url, "bob", token=token, patience=BRISK) as bob,
    ):
        assert asked == 1
        clock.now += 120
        lost = await until(bob, Disconnected)
        assert isinstance(lost, Disconnected)
        assert lost.code == CloseCode.SIGNED_OUT
        fresh = ISSUER.token("alice", exp=clock.now + 60)
        async with open_client(server.url, "alice", token=fresh, events=False) as alice:
            await alice.send("still there?", to="bob")
        await until(bob, Reconnected)
        received = await until(bob, Message)
        assert isinstance(received, Message)
        assert received.content == "still there?"
    assert asked == 2


async def test_a_client_with_one_token_ends_when_that_has_expired(tmp_path: Path) -> None:
    clock = Clock()
    token = ISSUER.token("bob", exp=clock.now + 60)
    async with (
        running_server(auth=ISSUER.auth(tmp_path), clock=clock) as server,
        open_client(server.url, "bob", token=token, patience=BRISK) as bob,
    ):
        clock.now += 120
        with pytest.raises(Refused) as refused, trio.fail_after(LONG):
            async for _ in bob:
                pass
    assert refused.value.code == Code.UNAUTHORIZED
    assert token not in str(refused.value)


async def test_what_the_function_raises_ends_the_client(tmp_path: Path) -> None:
    async def token() -> str:
        raise ClientError("there is no token to be had")

    async with running_server(auth=ISSUER.auth(tmp_path)) as server:
        with pytest.raises(ClientError, match="no token to be had"):
            async with open_client(server.url, "bob", token=token):
                pytest.fail("it opened")


async def test_the_chat_has_its_token_from_a_file_or_a_variable(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(ISSUER.token("alice") + "\n")
    async with (
        running_server(auth=ISSUER.auth(tmp_path)) as server,
        window(
            "--as", "alice", "--to", "bob", "--url", server.url, "--token-file", str(file)
        ) as alice,
        window("--as", "bob", "--url", server.url, IMSERVER_TOKEN=ISSUER.token("bob")) as bob,
    ):
        await alice.type("hello bob\n")
        await bob.sees("alice: hello bob")
        for one in (alice, bob):
            await one.type("/quit\n")
            assert await one.ended() == 0
        async with window(
            "--as", "bob", "--url", server.url, "--token-file", str(tmp_path / "none")
        ) as bob:
            await bob.sees("none cannot be read: No such file or directory")
            assert await bob.ended() == 1
        async with window("--as", "bob", "--url", server.url) as bob:
            await bob.sees("the server does not let bob in: A token is required")
            await bob.sees("--password")
            assert await bob.ended() == 1


async def test_an_account_from_its_password_to_its_end() -> None:
    async with token_server("alice") as server:
        issued = await log_in(server.url, "alice", PASSWORD, device="laptop")
        other = await log_in(server.url, "alice", PASSWORD)
        async with open_client(server.url, "alice", token=issued.token, patience=BRISK) as alice:
            first, second = await alice.sessions()
            assert (first.token_id, first.device, first.current) == (
                issued.token_id, "laptop", True,
            )  # fmt: skip
            await alice.revoke_session(second.token_id)
            with pytest.raises(Refused) as refused:
                await alice.revoke_session(other.token_id)
            assert refused.value.code == Code.NOT_FOUND
            await log_in(server.url, "alice", PASSWORD)
            await alice.revoke_other_sessions()
            with pytest.raises(Refused) as refused:
                await alice.change_password("wrong", NEW_PASSWORD)
            assert refused.value.code == Code.FORBIDDEN
            await alice.change_password(PASSWORD, NEW_PASSWORD)
            assert [session.token_id for session in await alice.sessions()] == [issued.token_id]
            await alice.logout()
            with pytest.raises(Refused) as refused, trio.fail_after(LONG):
                async for _ in alice:
                    pass
            assert refused.value.code == Code.UNAUTHORIZED
        with pytest.raises(Refused) as refused:
            await log_in(server.url, "alice", PASSWORD)
        assert refused.value.code == Code.WRONG_CREDENTIALS
        assert (await log_in(server.url, "alice", NEW_PASSWORD)).user_id == "alice"


async def test_the_chat_asks_for_a_password_and_logs_out() -> None:
    async with (
        token_server("alice", "bob") as server,
        open_client(server.url, "bob", token=await token_of(server, "bob")) as bob,
    ):
        chat = ("--as", "alice", "--to", "bob", "--url", server.url, "--password")
        async with terminal_window(*chat) as alice:
            await alice.sees("Password: ")
            await alice.type(PASSWORD + "\n")
            await alice.sees("bob>")
            async with rest(server, None, await token_of(server, "alice")) as calls:
                devices = [
                    session["device"]
                    for session in (await calls.get("/api/v1/auth/sessions"))["sessions"]
                ]
                assert "imserver chat" in devices
                await alice.type("hello\n/quit\n")
                assert await alice.ended() == 0
                sessions = (await calls.get("/api/v1/auth/sessions"))["sessions"]
                assert len(sessions) == len(devices) - 1
        assert PASSWORD not in alice.shown
        received = await until(bob, Message)
        assert isinstance(received, Message)
        assert received.content == "hello"
        async with terminal_window(*chat) as alice:
            await alice.sees("Password: ")
            await alice.type("wrong\n")
            await alice.sees("wrong_credentials")
            assert await alice.ended() == 1


async def test_who_is_not_there_gives_no_token() -> None:
    with pytest.raises(Unreachable):
        await log_in(f"http://127.0.0.1:{free_port()}", "alice", "a password")


async def test_the_chat_changes_a_password_for_one_login() -> None:
    async with token_server("alice") as server:
        chat = ("--as", "alice", "--to", "alice", "--url", server.url, "--password")
        one_time = await give_one_time_password(server, "alice")
        async with terminal_window(*chat) as alice:
            await alice.sees("Password: ")
            await alice.type(one_time + "\n")
            await alice.sees("for one login")
            await alice.sees("New password:")
            await alice.type(NEW_PASSWORD + "\n")
            await alice.sees("Repeat for confirmation: ")
            await alice.type(NEW_PASSWORD + "\n")
            await alice.sees("alice>")
            await alice.type("/password\r")
            for question, answer in (
                ("now:", NEW_PASSWORD), ("new password:", PASSWORD), ("again:", PASSWORD),
            ):  # fmt: skip
                await alice.sees(question)
                await alice.type(answer + "\r")
            await alice.sees("your password is changed")
            await alice.type("\x1b[A\r")  # passwords are not in the history
            await alice.sees("Your password now:")
            assert PASSWORD not in alice.shown
            assert NEW_PASSWORD not in alice.shown
            await alice.type("\x04")
            assert await alice.ended() == 0
        issued = await log_in(server.url, "alice", PASSWORD)
        async with open_client(server.url, "alice", token=issued.token) as alice:
            [session] = await alice.sessions()
            assert session.current  # that of the chat is gone


@pytest.mark.parametrize("way", ["interrupt", "terminate", "hang up", "refuse to choose"])
async def test_no_end_of_the_chat_leaves_a_token(way: str) -> None:
    async with token_server("alice", "bob") as server:
        password = PASSWORD
        if way == "refuse to choose":
            password = await give_one_time_password(server, "alice")
        chat = ("--as", "alice", "--to", "bob", "--url", server.url, "--password")
        async with terminal_window(*chat) as alice:
            await alice.sees("Password: ")
            await alice.type(password + "\n")
            if way == "refuse to choose":
                await alice.sees("New password:")
                await alice.type("\x03")
                assert await alice.ended() == 1
                assert await sessions_of(server, "alice") == 0
                return
            await alice.sees("bob>")
            assert await sessions_of(server, "alice") == 1
            if way == "interrupt":
                await alice.type("\x03")
            else:
                alice.process.send_signal(signal.SIGTERM if way == "terminate" else signal.SIGHUP)
            await alice.ended()
        assert await sessions_of(server, "alice") == 0


async def give_one_time_password(server: imserver.Server, user_id: str) -> str:
    """Have the administrator give a user a password for one login; returns it."""
    async with rest(server, None, await token_of(server, "root")) as root:
        answer = await root.ask("PUT", f"/api/v1/admin/users/{user_id}/password", {})
    return str(answer["password"])


async def sessions_of(server: imserver.Server, user_id: str) -> int:
    """How many tokens a user has."""
    async with rest(server, None, await token_of(server, "root")) as root:
        answer = await root.get(f"/api/v1/admin/users/{user_id}")
    return int(answer["user"]["account"]["sessions"])


async def test_a_terminal_without_an_editor_shows_no_secret() -> None:
    async with token_server("alice") as server:
        token = await token_of(server, "alice")
        chat = ("--as", "alice", "--to", "alice", "--url", server.url, "--token", token)
        async with terminal_window(*chat, kind="dumb") as alice:
            await alice.sees("talking to alice")
            assert alice.echoes()
            await alice.type("hello\n")
            await alice.sees("you to alice: hello")
            await alice.type("/password\n")
            await alice.sees("-- Your password now:")
            assert not alice.echoes()
            await alice.type("\n")
            await alice.sees("-- The new password:")
            await alice.type("\n")
            await alice.sees("-- The new password again:")
            await alice.type("\n")
            await alice.sees("nothing was changed")
            assert alice.echoes()
            await alice.type("/quit\n")
            assert await alice.ended() == 0

"""No secret in a log: every way to bring one, right or wrong, to a server that logs all it can."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.process import started
from tests.support import connect, http_client
from tests.support.accounts import PASSWORD, give_accounts, log_in
from tests.support.clients import PATIENCE
from tests.support.tokens import Issuer
from tests.transport.raw import HANDSHAKE, frame, open_raw, request

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.process import Process

SECRET = "HUSH"  # stands in every secret that a client makes up
PATH = "/api/v1/messages/offline"
LOUD = {
    "IMSERVER_LOG_LEVEL": "debug",
    "IMSERVER_LOG_ACCESS": "true",
    "IMSERVER_TIMEOUTS_REQUEST_HEAD": "1",  # some of what is sent has no end
    "IMSERVER_TIMEOUTS_REQUEST_BODY": "1",
}
HEAD = "GET %s HTTP/1.1\r\nHost: localhost\r\n"

# What breaks HTTP, and has a secret in it.
BROKEN = [
    f"{HEAD % PATH}Authorization; Bearer {SECRET}\r\n\r\n",
    f"{HEAD % PATH}Authorization: Bearer {SECRET}\x00\r\n\r\n",
    f"{HEAD % PATH}Authorization : Bearer {SECRET}\r\n\r\n",
    f"{HEAD % PATH}Authorization: Bearer {SECRET}\r\n {SECRET}\r\n\r\n",
    f"{HEAD % PATH}Authorization: Bearer {SECRET}",
    f"{HEAD % PATH}Authorization: Bearer {SECRET}\r\nContent-Length: {SECRET}\r\n\r\n",
    f"GET {PATH}?token={SECRET} HTTP/1.1 {SECRET}\r\n\r\n",
    f"GET {PATH}?token={SECRET} HTTP/9.9\r\nHost: localhost\r\n\r\n",
    f"GET http://user:{SECRET}@localhost{PATH}?token={SECRET} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    f"DELETE {PATH} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {SECRET}\r\n\r\n",
    f"GET /ws?token={SECRET} HTTP/1.1\r\nAuthorization; {SECRET}\r\n\r\n",
    f"GET /ws?token={SECRET} HTTP/1.1\r\nAuthorization: Bearer {SECRET}\r\n\r\n",
    f"GET /ws?token={SECRET}",
    f"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{SECRET}",
]


async def bring(server: Process, token: str) -> None:
    """A secret, in every place where a client may put it, beside a token that may be right."""
    async with http_client(server) as http:
        for headers in (
            [("Authorization", f"Bearer {token}")],
            [("Authorization", f"Bearer {SECRET}")],
            [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {SECRET}")],
            [("Authorization", f"Basic {SECRET}")],
            [("Authorization", f"Bearer {token}"), ("X-User-ID", "somebody-else")],
            [("Cookie", f"token={SECRET}"), ("X-Token", SECRET)],
        ):
            for name in ("token", "access_token"):
                await http.get(PATH, headers=headers, params={name: SECRET})
            await http.post(
                "/api/v1/auth/login",
                headers=headers,
                json={"user_id": "alice", "password": SECRET, "device": 7},
            )
            await http.post("/api/v1/auth/login", content=f'{{"password": "{SECRET}"')
            await http.post("/api/v1/auth/login", json={"user_id": "alice", "password": SECRET})
        await http.get(f"/nothing?access_token={SECRET}", headers=headers)
    for text in BROKEN:
        async with open_raw(server) as raw:
            await raw.send(text.encode())
            await raw.stream.send_eof()
            with suppress(trio.BrokenResourceError), trio.fail_after(PATIENCE):
                async for _ in raw.stream:
                    pass
    query = HANDSHAKE.replace(b"/ws", f"/ws?token={SECRET}&access_token={SECRET}".encode())
    authorization = f"Authorization: Bearer {SECRET}\r\n\r\n".encode()
    for kept in (False, True):
        async with open_raw(server) as raw:
            if kept:
                await raw.send((HEAD % "/health" + "\r\n").encode())
                await raw.answer()
            await raw.send(query[:-2] + authorization)
            assert (await raw.answer())[0] == 101
            for data in ({"token": SECRET}, {"token": [SECRET]}, {"user_id": SECRET + " "}, SECRET):
                await raw.ask("login", data)
            for text in (f'{{"type": "login", "data": {{"token": "{SECRET}', f'"{SECRET}"'):
                await raw.send(frame(text.encode()))
                await raw.text()
            await raw.ask("login", {"token": token})
            await raw.send(request("login", {"token": token}, message_id=7))
            await raw.text()
            await raw.send(frame(json.dumps({"token": SECRET}).encode() + b"\xff"))
            await raw.goodbye()
    async with connect(server) as socket:
        await socket.ask("login", {"user_id": "alice", "token": token})


@pytest.mark.parametrize("mode", ["open", "jwt", "token"])
async def test_no_secret_is_ever_logged(mode: str, tmp_path: Path) -> None:
    issuer = Issuer("HS256")
    variables = {"IMSERVER_AUTH_MODE": mode}
    if mode == "jwt":
        (tmp_path / "key").write_bytes(issuer.public)
        variables |= {"IMSERVER_AUTH_ALGORITHMS": "HS256", "IMSERVER_AUTH_KEY_FILE": "key"}
    if mode == "token":
        give_accounts(tmp_path / "data", ["alice"])
    async with started(tmp_path, "--port", "0", **LOUD, **variables) as server:
        token = issuer.token("alice")
        if mode == "token":
            token = (await log_in(server, "alice", PASSWORD))["token"]
        await bring(server, token)
        assert await server.terminated() == 0
    said = server.log + server.said
    assert said.count('"path":"/api/v1/messages/offline"') > 10  # it does log
    for secret in (SECRET, token, token.split(".")[-1], PASSWORD, issuer.public.decode()):
        assert secret not in said, [line for line in said.splitlines() if secret in line][:3]

"""Mode `proxy`: callers are whom a listed reverse proxy names, over both transports."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from imserver.config import Auth
from tests.contract.api import refusal_of
from tests.support import connect, http_client, rest, running_server
from tests.transport.raw import HANDSHAKE, open_raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from imserver import Server

HERE = "127.0.0.1"  # the tests are the proxy
HEADER = "X-Forwarded-User"
PATH = "/api/v1/messages/offline"


@asynccontextmanager
async def proxy_server(
    *proxies: str, header: str = HEADER, administrators: tuple[str, ...] = ()
) -> AsyncIterator[Server]:
    """A server behind the proxies of these addresses."""
    auth = Auth("proxy", user_header=header, administrators=administrators)
    async with running_server(auth=auth, proxies=proxies or (HERE,)) as server:
        yield server


async def over_rest(server: Server, headers: Sequence[tuple[str, str]]) -> tuple[int, Any]:
    """The status and the answer of a call with these headers."""
    async with http_client(server) as http:
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        answer = await http.get(PATH, headers=encoded)
    return answer.status_code, answer.json()


async def over_websocket(server: Server, headers: Sequence[tuple[str, str]]) -> tuple[int, Any]:
    """The status of a handshake with these headers, and what its login is answered."""
    head = "".join(f"{name}: {value}\r\n" for name, value in headers).encode()
    async with open_raw(server) as raw:
        await raw.send(HANDSHAKE[:-2] + head + b"\r\n")
        first = await raw.head()
        status = int(first.split()[1])
        if status != 101:
            return status, None
        return 200, (await raw.ask("login"))["data"]


ASK = {"rest": over_rest, "websocket": over_websocket}


async def test_a_caller_is_whom_the_proxy_names() -> None:
    async with (
        proxy_server() as server,
        connect(server, {HEADER: "张三"}) as socket,
        rest(server, None) as calls,
    ):
        assert (await refusal_of(socket.call("heartbeat")))["code"] == "not_logged_in"
        answer = await socket.call("login", {"token": "auth_token", "platform": "web"})
        assert answer == {"success": True, "message": "Login successful", "user_id": "张三"}
        answer = await calls.request(
            "POST",
            "/api/v1/messages",
            json={"receiver_id": "张三", "content": "你好"},
            headers={HEADER: "alice"},
        )
        assert answer.status_code == 200
        assert (await socket.push())["data"]["sender_id"] == "alice"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(HEADER, "alice")], 200),
        ([(HEADER.lower(), "alice")], 200),
        ([(HEADER.upper(), "alice")], 200),
        ([(HEADER, "alice"), ("X-User-ID", "alice")], 200),
        ([(HEADER, "alice"), ("X-User-ID", "")], 200),
        ([(HEADER, "alice"), ("X-User-ID", "bob")], 403),
        ([(HEADER, "alice"), ("X-User-ID", "alice"), ("X-User-ID", "bob")], 403),
        # Given twice, one of them may be the client's.
        ([(HEADER, "alice"), (HEADER, "bob")], 400),
        ([(HEADER, "alice"), (HEADER, "alice")], 400),
        ([(HEADER, "alice"), (HEADER, "")], 400),
        ([(HEADER, "alice"), (HEADER.upper(), "bob")], 400),
        ([(HEADER, "alice, bob")], 400),
        ([(HEADER, "alice,bob")], 400),
        # No other spelling is the header, whatever a CGI would make of it.
        ([("X_Forwarded_User", "alice")], 401),
        ([(HEADER, "alice"), ("X_Forwarded_User", "bob")], 200),
        ([(HEADER, "alice"), ("X_User_ID", "bob")], 200),
        ([("X-Forwarded-Users", "alice")], 401),
        ([], 401),
        ([(HEADER, "")], 401),
        ([("X-User-ID", "alice")], 401),
        ([("Authorization", "Bearer alice")], 401),
        ([(HEADER, "two words")], 400),
        ([(HEADER, "x" * 65)], 400),
        ([(HEADER, "system")], 403),
    ],
)
async def test_what_the_head_of_a_request_comes_to(
    headers: list[tuple[str, str]], status: int, transport: str
) -> None:
    async with proxy_server() as server:
        found, answer = await ASK[transport](server, headers)
        assert found == status
        if status == 200 and transport == "websocket":
            assert answer["user_id"] == "alice"


async def test_bytes_that_are_no_utf8_are_nobody(transport: str) -> None:
    async with proxy_server() as server, open_raw(server) as raw:
        head = HEADER.encode() + b": \xff\xfe\r\n\r\n"
        first = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n".encode()
        await raw.send((HANDSHAKE[:-2] if transport == "websocket" else first) + head)
        assert (await raw.answer())[0] == 400


@pytest.mark.parametrize("proxies", [("127.0.0.2",), ("10.0.0.0/8", "unix", "::1")])
async def test_nobody_else_is_believed(proxies: tuple[str, ...], transport: str) -> None:
    async with proxy_server(*proxies, header="X-User-ID") as server:
        for headers in (
            [("X-User-ID", "alice")],
            [("X-User-ID", "alice"), ("X-Forwarded-For", proxies[0].partition("/")[0])],
            [("X-User-ID", "alice"), ("Forwarded", f"for={proxies[0]}")],
        ):
            assert (await ASK[transport](server, headers))[0] == 401
        async with rest(server, None) as nobody:
            assert (await nobody.get("/health"))["status"] == "ok"


@pytest.mark.parametrize("header", ["X-User-ID", "Remote-User", "X-Auth-Request-User"])
async def test_the_headers_name_is_set(header: str, transport: str) -> None:
    async with proxy_server(header=header) as server:
        assert (await ASK[transport](server, [(header, "alice")]))[0] == 200


@pytest.mark.parametrize(
    ("user_id", "code"),
    [(None, None), ("", None), ("alice", None), ("bob", "forbidden"), ("Alice", "forbidden")],
)
async def test_a_name_that_disagrees_is_refused_at_login(
    user_id: str | None, code: str | None
) -> None:
    async with proxy_server() as server, connect(server, {HEADER: "alice"}) as socket:
        login = socket.call("login", {"user_id": user_id})
        if code is None:
            assert (await login)["user_id"] == "alice"
            answer = await refusal_of(socket.call("heartbeat", {"user_id": "bob"}))
            assert answer["code"] == "forbidden"
        else:
            assert (await refusal_of(login))["code"] == code
            assert (await refusal_of(socket.call("heartbeat")))["code"] == "not_logged_in"


async def test_a_handshake_on_a_kept_connection_is_whom_it_names() -> None:
    """What a request before it said of its caller says nothing of this one."""
    async with proxy_server() as server, open_raw(server) as raw:
        first = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n{HEADER}: alice\r\n\r\n"
        await raw.send(first.encode())
        assert (await raw.answer())[0] == 200
        await raw.send(HANDSHAKE[:-2] + f"{HEADER}: bob\r\n\r\n".encode())
        assert (await raw.answer())[0] == 101
        assert (await raw.ask("login"))["data"]["user_id"] == "bob"
    async with proxy_server() as server, open_raw(server) as raw:
        await raw.send(first.encode())
        assert (await raw.answer())[0] == 200
        await raw.send(HANDSHAKE)
        assert (await raw.answer())[0] == 401


async def test_the_description_says_how_to_call() -> None:
    async with proxy_server() as server, rest(server, None) as calls:
        described = await calls.get("/openapi.json")
    scheme = described["components"]["securitySchemes"]["user"]
    assert scheme == {"type": "apiKey", "in": "header", "name": HEADER}

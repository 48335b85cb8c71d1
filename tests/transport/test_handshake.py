"""The first bytes of a connection: which lane, and whether a WebSocket opens (RFC 6455, 4.2)."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

from imserver.config import Limits, Timeouts
from tests.support import Refused, connect, rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import ACCEPTED, HANDSHAKE, PING, PONG, frame, open_raw, request

if TYPE_CHECKING:
    from imserver import Server


async def test_a_handshake_is_answered_as_the_rfc_prints_it() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(HANDSHAKE)
        status, headers, _ = await raw.answer()
        assert status == 101
        assert headers[b"upgrade"].lower() == b"websocket"
        assert headers[b"connection"].lower() == b"upgrade"
        assert headers[b"sec-websocket-accept"] == ACCEPTED
        assert b"sec-websocket-extensions" not in headers
        assert b"sec-websocket-protocol" not in headers


async def test_a_handshake_and_a_login_byte_by_byte() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send_bytewise(HANDSHAKE)
        assert (await raw.answer())[0] == 101
        await raw.send_bytewise(request("login", {"user_id": "alice"}))
        assert (await raw.frame()).json["data"]["success"]


@pytest.mark.parametrize("cut", [1, 8, 17, 18, 19, len(HANDSHAKE) - 1])
async def test_a_handshake_in_two_segments(cut: int) -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(HANDSHAKE[:cut])
        await trio.testing.wait_all_tasks_blocked()
        await raw.send(HANDSHAKE[cut:])
        assert (await raw.answer())[0] == 101


async def test_a_query_does_not_change_the_lane() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(HANDSHAKE.replace(b"/ws ", b"/ws?token=t&x=%20 "))
        assert (await raw.answer())[0] == 101


async def test_an_offer_of_extensions_and_subprotocols_is_declined() -> None:
    async with running_server() as server, open_raw(server) as raw:
        offer = (
            b"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
            b"Sec-WebSocket-Protocol: chat, superchat\r\n\r\n"
        )
        await raw.send(HANDSHAKE[:-2] + offer)
        status, headers, _ = await raw.answer()
        assert status == 101
        assert b"sec-websocket-extensions" not in headers
        assert b"sec-websocket-protocol" not in headers


async def test_frames_that_do_not_wait_for_the_answer_are_not_lost() -> None:
    # A client must wait (RFC 6455, 4.1), but one that does not is still owed an answer a frame.
    early = HANDSHAKE + request("login", {"user_id": "alice"}) + request("heartbeat")
    for cut in (0, len(HANDSHAKE), len(HANDSHAKE) + 1, len(HANDSHAKE) + 20, len(early) - 1):
        async with running_server() as server, open_raw(server) as raw:
            await raw.send(early[:cut])
            await trio.testing.wait_all_tasks_blocked()
            await raw.send(early[cut:])
            assert (await raw.answer())[0] == 101
            assert [answer["type"] for answer in await raw.frames(2)] == ["login", "heartbeat"]
            await raw.send(frame(b"still there?", PING))
            assert await raw.frame() == (PONG, b"still there?")


@pytest.mark.parametrize(
    ("given", "instead", "status", "code"),
    [
        (b"Upgrade: websocket\r\nConnection: Upgrade\r\n", b"", 426, "upgrade_required"),
        (b"Upgrade: websocket\r\n", b"Upgrade: h2c\r\n", 426, "upgrade_required"),
        (b"Connection: Upgrade\r\n", b"Connection: keep-alive\r\n", 426, "upgrade_required"),
        (b"Version: 13\r\n", b"Version: 8\r\n", 400, "invalid_request"),
        (b"Sec-WebSocket-Version: 13\r\n", b"", 400, "invalid_request"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"dGhl", 400, "invalid_request"),
        (b"dGhlIHNhbXBsZSBub25jZQ==", b"not base64", 400, "invalid_request"),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", 400, "invalid_request"),
        (b"HTTP/1.1", b"HTTP/1.0", 400, "invalid_request"),
        (b"HTTP/1.1", b"HTTP/9.9", 400, "invalid_request"),
        (b"HTTP/1.1\r\n", b"HTTP/1.1\n", 400, "invalid_request"),
        (b"Host: localhost\r\n", b"no header at all\r\n", 400, "invalid_request"),
        (b"Host: localhost\r\n", b"Host: \x00\r\n", 400, "invalid_request"),
        (b"Host: localhost\r\n", b"X: " + b"x" * 9_000 + b"\r\n", 400, "invalid_request"),
        (b"Host: localhost\r\n", b"X: x\r\n" * 200, 400, "invalid_request"),
    ],
)
async def test_what_is_no_handshake_is_refused_in_json(
    given: bytes, instead: bytes, status: int, code: str
) -> None:
    async with running_server() as server, open_raw(server) as raw:
        assert given in HANDSHAKE
        await raw.send(HANDSHAKE.replace(given, instead))
        answered, headers, body = await raw.answer()
        assert answered == status
        assert headers[b"content-type"] == b"application/json"
        assert json.loads(body).keys() == {"error", "code"}
        assert json.loads(body)["code"] == code
        if status == 426:
            assert headers[b"upgrade"] == b"websocket"
        assert headers[b"sec-websocket-version"] == b"13"  # RFC 6455 section 4.4
        await raw.end()


async def test_an_endless_handshake_is_refused_before_it_fills_the_memory() -> None:
    async with running_server(limits=Limits(header_bytes=4096)) as server, open_raw(server) as raw:
        await raw.send(
            HANDSHAKE[:-2] + b"".join(b"X-%d: %b\r\n" % (i, b"x" * 90) for i in range(60))
        )
        assert (await raw.answer())[0] == 431


async def test_a_stalled_request_line_costs_nobody_anything_and_times_out() -> None:
    async with (
        running_server(timeouts=Timeouts(request_head=1)) as server,
        open_raw(server) as silent,
        open_raw(server) as stalled,
        open_raw(server) as halfway,
    ):
        await stalled.send(b"GET /w")
        await halfway.send(HANDSHAKE[:60])
        async with connect(server) as socket, rest(server, None) as nobody:
            assert (await socket.call("login", {"user_id": "alice"}))["success"]
            assert (await nobody.get("/health"))["status"] == "ok"
            assert (await nobody.get("/api/v1/stats"))["connections"] == 1
        for raw in (stalled, halfway):
            assert (await raw.answer())[0] == 408
            await raw.end()
        await silent.end()


@pytest.mark.parametrize(
    "half",
    [
        b"GET /hea",
        HANDSHAKE[:60],
        b"GET /health HTTP/1.1\r\nHost: loc",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\nGET /health HTTP/1.1\r\nHo",
    ],
    ids=["first line", "WebSocket", "REST", "REST, kept alive"],
)
async def test_a_head_that_does_not_end_in_time_is_refused(half: bytes) -> None:
    timeouts = Timeouts(request_head=0.3, rest_idle=0.3)
    async with running_server(timeouts=timeouts) as server, open_raw(server) as raw:
        await raw.send(half)
        status, headers, body = await raw.answer()
        if status == 200:
            status, headers, body = await raw.answer()
        assert status == 408
        assert json.loads(body)["code"] == "too_slow"
        assert headers[b"connection"] == b"close"
        await raw.end()


async def test_who_says_nothing_is_told_nothing() -> None:
    timeouts = Timeouts(request_head=0.1, rest_idle=0.1)
    async with running_server(timeouts=timeouts) as server, open_raw(server) as raw:
        assert await raw.stream.receive_some(100) == b""
    timeouts = Timeouts(rest_idle=0.1)
    async with running_server(timeouts=timeouts) as server, open_raw(server) as raw:
        await raw.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await raw.answer())[0] == 200
        assert await raw.stream.receive_some(100) == b""


async def test_an_endless_request_line_is_not_waited_for() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(b"GET /" + b"a" * 70_000)
        status, _, _ = await raw.answer()
        assert 400 <= status < 500


async def healthy(server: Server) -> None:
    """Ask how the server is, on a machine that may be slower than its short deadlines."""
    with trio.fail_after(PATIENCE):
        while True:
            with suppress(httpx.TransportError, Refused):
                async with rest(server, None) as nobody:
                    assert (await nobody.get("/health"))["status"] == "ok"
                    return


@pytest.mark.parametrize(
    "noise",
    [
        b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),  # TLS
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\n",
        b"\x00" * 9_000,
        b"GET\r\n\r\n",
        b"GET ?x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"CONNECT example.org:443 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /%ff%00%2e%2e HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.0\r\n\r\n",
        b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00" * 64,
        b"PRI * HTTP/2.0\r\n\r\nnot the preface",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: h2c\r\nHTTP2-Settings: !!!!\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"
        b"\r\n\r\nPRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff",
        b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"POST /api/v1/messages HTTP/1.1\r\nHost:\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"\r\nGET /ws HTTP/1.1\r\nHost: [::1]\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"\r\nGET /other HTTP/1.1\r\nHost: [::1]\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    ],
)
async def test_noise_harms_nobody(noise: bytes) -> None:
    # That no error is logged either is checked for every test.
    async with running_server(timeouts=Timeouts(request_head=0.1, rest_idle=0.1)) as server:
        async with open_raw(server) as raw:
            await raw.send(noise)
            with trio.fail_after(10):
                try:
                    while await raw.stream.receive_some(1 << 16):
                        pass
                except trio.BrokenResourceError:
                    pass
        await healthy(server)

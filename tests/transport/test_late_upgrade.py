"""WebSockets on connections that served REST before: whatever is true of the others holds here."""

from __future__ import annotations

import json
import zlib
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from imserver.config import Limits
from imserver.transport import link
from tests.support import login, rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import (
    BINARY,
    CLOSE,
    CONT,
    HANDSHAKE,
    PING,
    PONG,
    TEXT,
    Frame,
    Raw,
    frame,
    open_raw,
    request,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server

FIRST = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def carried(
    server: Server, user_id: str | None = None, *, receive_buffer: int | None = None
) -> AsyncIterator[Raw]:
    """A WebSocket on a connection that has served another request before."""
    async with open_raw(server, receive_buffer=receive_buffer) as raw:
        await raw.send(FIRST)
        assert (await raw.answer())[0] == 200
        await raw.send(HANDSHAKE)
        assert (await raw.answer())[0] == 101
        if user_id is not None:
            assert (await raw.ask("login", {"user_id": user_id}))["data"]["success"]
        yield raw


async def next_but_pings(raw: Raw) -> Frame:
    while (received := await raw.frame()).opcode == PING:
        pass
    return received


async def goodbye(raw: Raw) -> int:
    """The server's close code; answers wanted of the client are given."""
    received = await next_but_pings(raw)
    assert received.opcode == CLOSE, received
    with suppress(trio.BrokenResourceError):
        await raw.send(frame(received.payload[:2], CLOSE))
    return int.from_bytes(received.payload[:2], "big")


async def until_gone(raw: Raw) -> None:
    """The server ends the connection, in whatever way."""
    with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
        while await raw.stream.receive_some(1 << 16):
            pass


async def until_connections(server: Server, count: int) -> None:
    async with rest(server, None) as nobody:
        with trio.fail_after(PATIENCE):
            while (await nobody.get("/api/v1/stats"))["connections"] != count:
                pass


async def test_an_upgrade_pipelined_behind_another_request_is_carried_too() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(FIRST + HANDSHAKE)
        assert (await raw.answer())[0] == 200
        assert (await raw.answer())[0] == 101
        assert (await raw.ask("login", {"user_id": "alice"}))["data"]["success"]


async def test_answers_come_in_order_and_pushes_between_them() -> None:
    async with (
        running_server() as server,
        carried(server, "alice") as alice,
        login(server, "bob") as bob,
    ):
        sends = [
            request("send_message", {"receiver_id": "bob", "content": str(i)}, message_id=f"r{i}")
            for i in range(300)
        ]
        await alice.send(b"".join(sends) + request("heartbeat", message_id="r300"))
        answers = await alice.frames(301)
        assert [answer["message_id"] for answer in answers] == [f"r{i}" for i in range(301)]
        assert [(await bob.push())["data"]["content"] for _ in range(300)] == [
            str(i) for i in range(300)
        ]


async def test_fragments_pings_and_a_close() -> None:
    async with running_server() as server:
        async with carried(server, "alice") as raw:
            text = b'{"type":"heartbeat","message_id":"fragmented"}'
            await raw.send(
                frame(text[:5], TEXT, fin=False) + frame(b"p", PING) + frame(text[5:], CONT)
            )
            received = {(await raw.frame()).opcode, (await raw.frame()).opcode}
            assert received == {PONG, TEXT}
            await raw.send(frame(b"\x03\xe8", CLOSE))
            assert (await next_but_pings(raw)).payload[:2] == b"\x03\xe8"
            await until_gone(raw)
        await until_connections(server, 0)


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(b"x", BINARY), 1003, id="binary"),
        pytest.param(frame(b"x", BINARY) * 3, 1003, id="binary again and again"),
        pytest.param(frame(b"", BINARY), 1003, id="empty binary"),
        pytest.param(frame(b'"\xff"'), 1007, id="not UTF-8"),
        pytest.param(frame(b"x" * 80_000), 1009, id="too long"),
        pytest.param(frame(b"{}", masked=False), 1002, id="unmasked"),
        pytest.param(frame(b"{}", rsv=4), 1002, id="RSV1"),
        pytest.param(frame(b"{}", CONT), 1002, id="continuation of nothing"),
    ],
)
async def test_a_violation_ends_the_session_with_its_code(sent: bytes, code: int) -> None:
    async with running_server(limits=Limits(frame_bytes=70_000)) as server:
        async with carried(server, "alice") as raw:
            await raw.send(sent)
            assert await goodbye(raw) == code
            await until_gone(raw)
        await until_connections(server, 0)


async def test_an_empty_text_is_answered_like_any_other_nonsense() -> None:
    async with running_server() as server, carried(server, "alice") as raw:
        await raw.send(frame(b""))
        assert (await raw.text())["data"]["code"] == "invalid_request"
        await raw.ask("heartbeat")


async def test_a_message_that_never_ends_does_not_fill_the_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "LINGER", 0.2)
    async with running_server(limits=Limits(frame_bytes=70_000)) as server:
        async with carried(server, "alice") as raw:
            await raw.send(frame(b"x", TEXT, fin=False))
            sent = 0
            with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
                while sent < 1 << 30:
                    await raw.stream.send_all(frame(b"x" * 60_000, CONT, fin=False))
                    sent += 60_000
            assert sent < 1 << 30  # it was not taken for ever
        await until_connections(server, 0)


async def test_compression_is_declined() -> None:
    # A few bytes of it may hold a gigabyte.
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(FIRST)
        await raw.answer()
        await raw.send(HANDSHAKE[:-2] + b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
        status, headers, _ = await raw.answer()
        assert status == 101
        assert b"sec-websocket-extensions" not in headers
        deflate = zlib.compressobj(wbits=-15)
        packed = deflate.compress(b" " * 10_000) + deflate.flush(zlib.Z_SYNC_FLUSH)
        await raw.send(frame(packed[:-4], rsv=4))
        assert await goodbye(raw) == 1002


async def test_who_never_reads_is_let_go_and_delays_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "LINGER", 0.2)
    async with running_server(limits=Limits(outbox_bytes=64 * 1024)) as server:
        async with carried(server, "slow", receive_buffer=4096):
            async with carried(server, "fast") as fast, login(server, "sender") as sender:
                for number in range(40):
                    data = {"content": f"{number:5}" + "x" * 30_000}
                    for receiver in ("slow", "fast"):
                        await sender.call("send_message", data | {"receiver_id": receiver})
                    push = await fast.text()
                    assert push["data"]["content"][:5] == f"{number:5}"
            await until_connections(server, 0)
        async with login(server, "slow") as again:
            page = await again.call("sync_offline", {"limit": 200})
            assert len(page["messages"]) > 10


@pytest.mark.parametrize("path", ["/", "/health", "/api/v1/messages", "/ws/", "/nowhere"])
async def test_an_upgrade_elsewhere_is_refused(path: str) -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(HANDSHAKE.replace(b"/ws", path.encode()))
        status, _, _ = await raw.answer()
        assert 400 <= status < 500
        await until_gone(raw)


@pytest.mark.parametrize(
    ("given", "instead", "status"),
    [
        (b"Version: 13\r\n", b"Version: 8\r\n", 400),
        (b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n", b"", 400),
        (b"Upgrade: websocket\r\n", b"Upgrade: websocket\r\nContent-Length: 5\r\n", 400),
        (b"Upgrade: websocket\r\n", b"Upgrade: websocket\r\nTransfer-Encoding: chunked\r\n", 400),
        (b"Connection: Upgrade\r\n", b"", 426),
    ],
)
async def test_a_bad_handshake_is_refused(given: bytes, instead: bytes, status: int) -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(FIRST)
        await raw.answer()
        await raw.send(HANDSHAKE.replace(given, instead))
        answered, _, body = await raw.answer()
        assert answered == status
        if body:  # hypercorn refuses some by itself, without one
            assert json.loads(body).keys() == {"error", "code"}


async def test_a_handshake_with_more_behind_it_harms_nobody() -> None:
    # Frames must wait for the answer, and a handshake has no body: hypercorn refuses both.
    body = HANDSHAKE.replace(b"Host", b"Content-Length: 5\r\nHost") + b"12345"
    for hasty in (HANDSHAKE + request("login", {"user_id": "alice"}), body):
        async with running_server() as server:
            async with open_raw(server) as raw:
                await raw.send(FIRST)
                await raw.answer()
                await raw.send(hasty)
                await raw.send_eof()
                await until_gone(raw)
            await until_connections(server, 0)


@pytest.mark.parametrize("cut", [1, 3, 7, 12])
async def test_half_a_frame_and_gone(cut: int) -> None:
    async with running_server() as server:
        async with carried(server, "alice") as raw:
            await raw.send(request("heartbeat")[:cut])
            raw.reset()
        await until_connections(server, 0)

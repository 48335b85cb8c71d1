"""Bytes that nobody should send: whatever comes, nobody else notices and no error is logged.

The inputs are requests that were damaged, always in the same way.
"""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio

from imserver.config import Timeouts
from tests.support import login, rest, running_server
from tests.transport.raw import (
    BINARY,
    CLOSE,
    CONT,
    HANDSHAKE,
    PING,
    frame,
    open_raw,
    request,
)

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = (
    b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nX-User-ID: alice\r\n"
    b'Content-Length: 40\r\n\r\n{"receiver_id":"carol","content":"hello"}'
)
CHUNKED = (
    b"POST /api/v1/groups HTTP/1.1\r\nHost: localhost\r\nX-User-ID: alice\r\n"
    b'Transfer-Encoding: chunked\r\n\r\n5\r\n{"nam\r\n0\r\n\r\n'
)
FRAMES = [
    request("login", {"user_id": "alice"}),
    request("send_message", {"receiver_id": "carol", "content": "x" * 200}),
    request("heartbeat"),
    request("sync_offline", {"limit": 3}),
    request("ack", {"message_id": "msg_1", "status": "read"}),
    request("create_group", {"name": "n", "members": ["carol"]}),
    request("join_group", {"group_id": "group_x"}),
    frame(b"p", PING),
    frame(b"", CONT),
    frame(b"x", BINARY),
    frame(b"\x03\xe8", CLOSE),
    frame(b'{"type":', fin=False),
    frame(b'"heartbeat"}', CONT),
]
CALLS = [GET, POST, CHUNKED, HANDSHAKE, GET + HANDSHAKE, GET * 5, POST * 3, POST + GET + HANDSHAKE]
PIECES = [
    b"\r\n",
    b"\0",
    b": ",
    b" ",
    b"\r\n\r\n",
    b"chunked",
    b"Upgrade",
    b"%",
    b"/",
    b"?",
    b"[" * 50,
]


def damage(data: bytes, randomly: random.Random) -> bytes:
    damaged = bytearray(data)
    for _ in range(randomly.choice([1, 1, 2, 3, 8])):
        at = randomly.randrange(len(damaged) + 1)
        match randomly.randrange(6):
            case 0:
                damaged[at : at + 1] = bytes([randomly.randrange(256)])
            case 1:
                del damaged[at : at + randomly.choice([1, 2, 4, 20])]
            case 2:
                damaged[at:at] = randomly.randbytes(randomly.choice([1, 2, 8]))
            case 3:
                damaged[at:at] = damaged[at : at + randomly.choice([5, 50])]
            case 4:
                damaged[at:at] = randomly.choice(PIECES)
            case 5:
                damaged[at:] = randomly.choice(CALLS)
    return bytes(damaged)


def inputs(randomly: random.Random) -> list[bytes]:
    """What one client sends, waiting a moment between the parts."""
    if randomly.random() < 0.5:
        return [damage(randomly.choice(CALLS), randomly)]
    frames = [
        randomly.choice(FRAMES)
        if randomly.random() < 0.7
        else damage(randomly.choice(FRAMES), randomly)
        for _ in range(randomly.randrange(1, 12))
    ]
    return [randomly.choice([HANDSHAKE, GET + HANDSHAKE]), b"".join(frames)]


@pytest.mark.parametrize("seed", range(4))
async def test_damaged_requests_harm_nobody(seed: int) -> None:
    async with (
        running_server(timeouts=Timeouts(request_head=0.5, rest_idle=0.5)) as server,
        login(server, "witness") as witness,
    ):

        async def client(randomly: random.Random) -> None:
            for _ in range(20):
                with suppress(trio.BrokenResourceError, OSError):
                    async with open_raw(server) as raw:
                        for part in inputs(randomly):
                            rest_of_it = part
                            while rest_of_it:
                                size = randomly.randrange(1, len(rest_of_it) + 1)
                                await raw.stream.send_all(rest_of_it[:size])
                                rest_of_it = rest_of_it[size:]
                            with trio.move_on_after(0.02):
                                await raw.stream.receive_some(1000)
                        match randomly.randrange(3):
                            case 0:
                                raw.reset()
                            case 1:
                                await raw.send_eof()
                                with trio.move_on_after(0.02):
                                    await raw.stream.receive_some(1000)

        async with trio.open_nursery() as nursery:
            for number in range(5):
                nursery.start_soon(client, random.Random(seed * 5 + number))
        await witness.no_push()
        async with rest(server, None) as nobody:
            with trio.fail_after(20):
                while (await nobody.get("/api/v1/stats"))["connections"] != 1:
                    pass

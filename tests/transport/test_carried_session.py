"""Sessions whose upgrade came on a kept-alive connection: carried by the REST application."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from trio_websocket import wrap_client_stream

from imserver.config import Timeouts
from tests.support import Socket, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import open_stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server


@asynccontextmanager
async def upgraded_late(server: Server) -> AsyncIterator[Socket]:
    """A WebSocket on a connection that has served another request before; ends without goodbye."""
    async with await open_stream(server) as stream, trio.open_nursery() as tasks:
        await stream.send_all(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while not answer.endswith(b"}\n"):
            answer += await stream.receive_some()
        yield Socket(await wrap_client_stream(tasks, stream, "localhost", "/ws"))
        tasks.cancel_scope.cancel()


async def test_it_speaks_like_any_other() -> None:
    async with running_server() as server, upgraded_late(server) as bob:
        await bob.call("login", {"user_id": "bob"})
        await bob.call("send_message", {"receiver_id": "bob", "content": "note"})
        assert (await bob.push())["data"]["content"] == "note"


async def test_nothing_is_left_of_it_when_it_has_ended() -> None:
    # Leaving, the server waits for what is left of its connections.
    with trio.fail_after(PATIENCE):
        async with (
            running_server(timeouts=Timeouts(shutdown=2 * PATIENCE)) as server,
            upgraded_late(server) as bob,
        ):
            await bob.call("login", {"user_id": "bob"})
            await bob.connection.aclose()


async def test_answering_pings_is_a_sign_of_life() -> None:
    async with (
        running_server(timeouts=Timeouts(ping=0.5, silence=1.5)) as server,
        upgraded_late(server) as carried,
        await open_stream(server) as mute,
    ):
        await carried.call("login", {"user_id": "carried"})
        await mute.send_all(
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        with trio.fail_after(PATIENCE):
            said = b"".join([data async for data in mute])
        assert b"no sign of life" in said  # by then the other would be gone too
        await carried.call("heartbeat")

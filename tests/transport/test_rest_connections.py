"""What becomes of a REST connection after a refusal, or an unusual request."""

from __future__ import annotations

import json

import pytest
import trio

from tests.support import rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import open_raw, open_stream
from tests.transport.test_rest_lane import send


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        (b"X-User-ID: alice\r\n", 413, "too_large"),
        (b"Connection: close\r\n", 401, "unauthorized"),
    ],
)
async def test_a_connection_whose_body_stays_unread_is_closed(
    headers: bytes, status: int, code: str
) -> None:
    # Left half open, whatever the client asks next on it would never be answered.
    async with running_server() as server:
        for _ in range(5):  # the order in which tasks run is random
            answer = b""
            async with await open_stream(server) as stream:
                await stream.send_all(
                    b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n"
                    + headers
                    + b"Content-Length: 1100000\r\n\r\n"
                )
                with trio.fail_after(PATIENCE):
                    async for data in stream:
                        answer += data
            assert answer.startswith(b"HTTP/1.1 %d " % status)
            assert b"connection: close\r\n" in answer.lower()
            assert b'"code":"%b"' % code.encode() in answer


async def test_the_websocket_endpoint_wants_an_upgrade_on_a_kept_alive_connection_too() -> None:
    async with running_server() as server, rest(server, None) as nobody:
        for _ in range(2):  # the first request of a connection takes the other lane
            refused = await nobody.request("GET", "/ws")
            assert refused.status_code == 426
            assert refused.json()["code"] == "upgrade_required"
            await nobody.get("/health")


async def test_a_client_that_said_all_gets_every_answer() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(b"".join(send(str(number)) for number in range(50)))
        await raw.send_eof()
        for number in range(50):
            status, _, body = await raw.answer()
            assert (status, json.loads(body)["message"]["content"]) == (200, str(number))

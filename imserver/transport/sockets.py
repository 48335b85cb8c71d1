"""What is done with a socket before, beside and after the protocols that are spoken on it."""

from __future__ import annotations

import logging
import select
import socket
import struct
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import trio

from imserver.domain.frames import error_body

if TYPE_CHECKING:
    from imserver.domain.errors import ApiError

logger = logging.getLogger(__name__)

READ_BYTES: Final = 16 * 1024  # asked for at once
STALL: Final = 20.0  # seconds for a client to take a chunk of its answer
_CHUNK: Final = 64 * 1024  # bytes
_LINGER: Final = 1.0  # seconds that a connection may outlive its last answer


def reset(sock: socket.socket) -> None:
    """Make the coming close drop what the kernel holds for a peer that does not take it."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        logger.debug("the socket is gone already")


async def receive(sock: socket.socket) -> bytes:
    """The next bytes, or none when the peer has closed or is gone."""
    while True:
        await trio.lowlevel.wait_readable(sock)
        try:
            return sock.recv(READ_BYTES)
        except BlockingIOError:
            continue
        except OSError:
            return b""


async def send(sock: socket.socket, data: bytes) -> None:
    """Send all.

    Raises:
        OSError: the connection is gone.
    """
    view = memoryview(data)
    while view:
        await trio.lowlevel.wait_writable(sock)
        with suppress(BlockingIOError):
            view = view[sock.send(view) :]


async def send_steadily(sock: socket.socket, data: bytes) -> bool:
    """Send all, as long as the client takes some of it; returns whether it took everything."""
    for start in range(0, len(data), _CHUNK):
        try:
            with trio.move_on_after(STALL) as patience:
                await send(sock, data[start : start + _CHUNK])
        except OSError:
            return False
        if patience.cancelled_caught:
            return False
    return True


def send_now(sock: socket.socket, data: bytes) -> int:
    """Send what the network takes at once; returns how many bytes that was.

    In the pieces of `send_steadily`, which goes on where this ends: TLS wants to be asked again for
    no less than what it was asked for before.

    Raises:
        OSError: the connection is gone.
    """
    sent = 0
    with suppress(BlockingIOError):
        while sent < len(data):
            piece = data[sent : sent + _CHUNK] if len(data) > _CHUNK else data
            taken = sock.send(piece)
            sent += taken
            if taken < len(piece):
                break
    return sent


def has_input(sock: socket.socket) -> bool:
    """Whether something has come that was not read yet, or the end."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


async def take_the_rest(sock: socket.socket) -> None:
    """Say that we have said all, and drop what the client still sends, if that does not go on."""
    # Closing a socket with bytes unread resets it, which may overtake the answer.
    with trio.move_on_after(_LINGER), suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
        while await receive(sock):
            pass


def refusal(
    error: ApiError,
    status: int | None = None,
    *,
    retry_after_ms: int | None = None,
    websocket: bool = False,
) -> bytes:
    """An answer of HTTP/1.1 that says why no other will come; its status is the error's own."""
    status = error.status if status is None else status
    body = error_body(error)
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n"
    )
    if status == HTTPStatus.UPGRADE_REQUIRED:
        head += "Upgrade: websocket\r\n"
    if websocket:
        head += "Sec-WebSocket-Version: 13\r\n"  # RFC 6455 section 4.4
    wait_ms = error.retry_after_ms or retry_after_ms
    if wait_ms is not None:
        head += f"Retry-After: {retry_after(wait_ms)}\r\n"
    return head.encode() + b"\r\n" + body


def retry_after(wait_ms: int) -> str:
    """What `Retry-After` says: whole seconds, rounded up (RFC 9110 section 10.2.3)."""
    return str(-(-wait_ms // 1000))

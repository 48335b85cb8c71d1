"""A WebSocket client that writes every byte itself, so that it can break every rule."""

from __future__ import annotations

import json
import os
import socket
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

import trio

from tests.support.clients import PATIENCE, TRUSTED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server

CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\n"
    b"Host: localhost\r\n"
    b"Upgrade: websocket\r\n"
    b"Connection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Version: 13\r\n"
    b"\r\n"
)
ACCEPTED = b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # the answer to that key, from RFC 6455 section 1.3


def frame(
    payload: bytes = b"",
    opcode: int = TEXT,
    *,
    fin: bool = True,
    rsv: int = 0,
    masked: bool = True,
    declared: int | None = None,
) -> bytes:
    """One frame as a client sends it; `declared` is the length that it claims to have."""
    length = len(payload) if declared is None else declared
    head = bytes([fin << 7 | rsv << 4 | opcode])
    bit = masked << 7
    if length < 126:
        head += bytes([bit | length])
    elif length < 1 << 16:
        head += bytes([bit | 126]) + length.to_bytes(2, "big")
    else:
        head += bytes([bit | 127]) + length.to_bytes(8, "big")
    if not masked:
        return head + payload
    mask = os.urandom(4)
    repeated = mask * (len(payload) // 4 + 1)
    hidden = int.from_bytes(payload, "big") ^ int.from_bytes(repeated[: len(payload)], "big")
    return head + mask + hidden.to_bytes(len(payload), "big")


def request(kind: str, data: Any = None, **envelope: Any) -> bytes:
    """One request of the API document, as a frame."""
    return frame(json.dumps({"type": kind, "data": data or {}} | envelope).encode())


class Frame(NamedTuple):
    """One frame as the server sent it."""

    opcode: int
    payload: bytes

    @property
    def json(self) -> dict[str, Any]:
        assert self.opcode == TEXT, self
        return json.loads(self.payload)


class Raw:
    """A connection of which every byte is seen."""

    def __init__(self, stream: trio.SocketStream | trio.SSLStream) -> None:
        self.stream = stream
        self.tcp = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
        self._read = b""

    async def send(self, data: bytes) -> None:
        with trio.fail_after(PATIENCE):
            await self.stream.send_all(data)

    async def send_bytewise(self, data: bytes) -> None:
        """Every byte in a segment of its own."""
        for byte in data:
            await self.send(bytes([byte]))

    async def _more(self) -> None:
        with trio.fail_after(PATIENCE):
            data = await self.stream.receive_some(1 << 16)
        if not data:
            raise EOFError
        self._read += data

    async def _exactly(self, count: int) -> bytes:
        while len(self._read) < count:
            await self._more()
        taken, self._read = self._read[:count], self._read[count:]
        return taken

    async def head(self) -> bytes:
        """The head of an HTTP answer."""
        while b"\r\n\r\n" not in self._read:
            await self._more()
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        return head

    async def answer(self) -> tuple[int, dict[bytes, bytes], bytes]:
        """An HTTP answer: its status, its headers (names in lower case) and its body."""
        first, *lines = (await self.head()).split(b"\r\n")
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in lines)
        }
        body = await self._exactly(int(headers.get(b"content-length", b"0")))
        return int(first.split()[1]), headers, body

    async def frame(self) -> Frame:
        """The next frame from the server, which must be whole, unmasked and without extensions.

        Raises:
            EOFError: the server has closed the connection.
        """
        first, second = await self._exactly(2)
        assert first & 0xF0 == 0x80, "the server sends whole frames"
        assert second < 128, "the server must not mask"
        length = second
        if length == 126:
            length = int.from_bytes(await self._exactly(2), "big")
        elif length == 127:
            length = int.from_bytes(await self._exactly(8), "big")
        return Frame(first & 0x0F, await self._exactly(length))

    async def text(self) -> dict[str, Any]:
        """The next frame that is no ping, decoded."""
        while (frame := await self.frame()).opcode == PING:
            pass
        return frame.json

    async def frames(self, count: int) -> list[dict[str, Any]]:
        """So many text frames, decoded."""
        return [await self.text() for _ in range(count)]

    async def ask(self, kind: str, data: Any = None, **envelope: Any) -> dict[str, Any]:
        """Send one request; the next frame is taken for its answer."""
        await self.send(request(kind, data, **envelope))
        return await self.text()

    async def goodbye(self) -> int:
        """The server's close frame is next, and the end of the connection follows; its code."""
        closing = await self.frame()
        assert closing.opcode == CLOSE, closing
        await self.end()
        return int.from_bytes(closing.payload[:2], "big")

    async def end(self) -> None:
        """The server has closed the connection, with nothing more said."""
        assert self._read == b""
        with trio.fail_after(PATIENCE):
            assert await self.stream.receive_some(1) == b""

    async def cut_off(self) -> None:
        """The server has reset the connection, whatever it said before."""
        with trio.fail_after(PATIENCE):
            try:
                while await self.stream.receive_some(1 << 16):
                    pass
            except trio.BrokenResourceError:
                return
        raise AssertionError("that was an orderly end")

    async def send_eof(self) -> None:
        """Say that nothing more will come; over TLS without the goodbye that it has for that."""
        await self.tcp.send_eof()

    def reset(self) -> None:
        """Vanish without a goodbye, as a crashed client does."""
        self.tcp.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0"
        )  # the close is a reset
        self.tcp.socket.close()


@asynccontextmanager
async def open_raw(server: Server, *, receive_buffer: int | None = None) -> AsyncIterator[Raw]:
    """A TCP connection; `receive_buffer` is what the client's kernel may hold, in bytes."""
    stream = await open_stream(server, receive_buffer=receive_buffer)
    try:
        if isinstance(stream, trio.SSLStream):
            await stream.do_handshake()
        yield Raw(stream)
    finally:
        with suppress(trio.ClosedResourceError):  # a goodbye of TLS that cannot be said any more
            await stream.aclose()


async def open_stream(
    server: Server, *, receive_buffer: int | None = None
) -> trio.SocketStream | trio.SSLStream:
    """A connection as the server speaks: TCP, or TLS whose handshake comes with the first byte."""
    sock = trio.socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await sock.connect(server.address)
    except OSError:
        sock.close()
        raise
    stream = trio.SocketStream(sock)
    context = TRUSTED.get(server.url)
    if context is None:
        return stream
    return trio.SSLStream(stream, context, server_hostname=server.address[0])


@asynccontextmanager
async def raw_websocket(
    server: Server, user_id: str | None = None, *, receive_buffer: int | None = None
) -> AsyncIterator[Raw]:
    """An open WebSocket, logged in if a user is named."""
    async with open_raw(server, receive_buffer=receive_buffer) as raw:
        await raw.send(HANDSHAKE)
        assert (await raw.head()).startswith(b"HTTP/1.1 101 ")
        if user_id is not None:
            assert (await raw.ask("login", {"user_id": user_id}))["data"]["success"]
        yield raw

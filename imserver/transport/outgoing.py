"""Answers of HTTP/1.1 as bytes, on their way out.

Laws:

- What was put leaves in order, and never in halves: the rest of a piece that the network did not
  take goes before everything else.
- No client holds up its connection for ever by not reading: see `sockets.send_steadily`.
"""

from __future__ import annotations

from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import TYPE_CHECKING, Final

from imserver.transport import answers
from imserver.transport.requests import REQUEST_ID_HEADER
from imserver.transport.sockets import send_now, send_steadily

if TYPE_CHECKING:
    import socket

    from imserver.transport.http1_reader import IncomingRequest
    from imserver.transport.routes import Answer

_MOST_BYTES: Final = 64 * 1024  # put together before they are sent
_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus
}
_DEFAULTS: Final = "".join(f"{name}: {value}\r\n" for name, value in answers.DEFAULTS).encode()
_REQUEST_ID: Final = REQUEST_ID_HEADER.encode()


class AnswerBytes:
    """Owner of the bytes for one client that were not sent yet."""

    __slots__ = ("_parts", "_size", "_sock", "broken", "left")

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parts: list[bytes] = []
        self._size = 0
        self.left = b""  # what the network did not take; nothing is sent before it
        self.broken = False  # the client is gone, or does not take anything

    def say(
        self, answer: Answer, request_id: str, to: IncomingRequest | None = None, *, closing: bool
    ) -> None:
        """Put a whole answer; `to` is the request, unless it was none."""
        body = answer.body
        assert isinstance(body, bytes)
        bodiless = answer.status in (204, 304)
        length = answer.length if answer.length is not None else len(body)
        size = b"" if bodiless else b"Content-Length: %d\r\n" % length
        minor = 1 if to is None else to.minor
        self.put(_head(answer, request_id, size, minor, closing=closing))
        if not bodiless and (to is None or to.head.method != "HEAD"):
            self.put(body)

    async def stream(
        self, answer: Answer, request_id: str, to: IncomingRequest, *, closing: bool
    ) -> None:
        """Send an answer as its body is iterated over; stops if the client does not take it.

        Raises:
            ValueError: the body is not as long as it was said to be.
        """
        body, left = answer.body, answer.length
        assert not isinstance(body, bytes)
        chunked = left is None and to.minor == 1
        size = b"Transfer-Encoding: chunked\r\n" if chunked else b""
        if left is not None:
            size = b"Content-Length: %d\r\n" % left
        try:
            await self.send(_head(answer, request_id, size, to.minor, closing=closing))
            if to.head.method == "HEAD":
                return
            async for piece in body:
                if not piece:  # in chunks that would be the end
                    continue
                if left is not None:
                    left -= len(piece)
                    if left < 0:
                        raise ValueError("a body is longer than it was said to be")
                await self.send(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                if self.broken:
                    return
            if left:
                raise ValueError("a body is shorter than it was said to be")
            if chunked:
                await self.send(b"0\r\n\r\n")
        finally:
            if hasattr(body, "aclose"):
                await body.aclose()

    def put(self, data: bytes) -> None:
        """Send soon, with what else is put."""
        self._parts.append(data)
        self._size += len(data)
        if self._size > _MOST_BYTES and not self.left:
            self.flush()

    def flush(self) -> None:
        """Send what was put, as far as the network takes it now."""
        if self.left or not self._parts:
            return
        data = self._take()
        try:
            sent = send_now(self._sock, data)
        except OSError:
            self.broken = True
            return
        self.left = data[sent:]

    def _take(self) -> bytes:
        data = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return data

    async def drain(self) -> None:
        """Wait until the client has taken what is left."""
        data, self.left = self.left, b""
        await self._send(data)

    async def send(self, data: bytes) -> None:
        """Send all that was put, and this behind it."""
        if self._parts or self.left:
            data = b"".join([self.left, self._take() if self._parts else b"", data])
            self.left = b""
        await self._send(data)

    async def _send(self, data: bytes) -> None:
        if not self.broken and not await send_steadily(self._sock, data):
            self.broken = True


def _head(answer: Answer, request_id: str, size: bytes, minor: int, *, closing: bool) -> bytes:
    """The head of an answer to HTTP/1.`minor`; `size` says how its body ends."""
    fields = _DEFAULTS
    if answer.headers:
        lines = "".join(f"{name}: {value}\r\n" for name, value in answers.fields(answer))
        fields = lines.encode("latin-1")
    if closing:
        connection = b"Connection: close\r\n"
    else:
        connection = b"" if minor else b"Connection: keep-alive\r\n"
    return b"".join(
        (
            _LINES.get(answer.status) or b"HTTP/1.1 %d \r\n" % answer.status,
            fields,
            size,
            connection,
            b"%b: %b\r\n" % (_REQUEST_ID, request_id.encode()),
            _date(int(time())),
            b"\r\n",
        )
    )


@lru_cache(maxsize=2)
def _date(seconds: int) -> bytes:
    return b"Date: %b\r\n" % formatdate(seconds, usegmt=True).encode()

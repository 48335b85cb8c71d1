"""A WebSocket that sends everything back."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, ClassVar

from imserver.bench.load_error import LoadError
from imserver.bench.wire import ImWire

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from random import Random


class EchoWire(ImWire):
    """Sends the frames that ours would be sent; one that is back counts as confirmed and received.

    So the receivers sit idle, and a message costs the server one frame out where a chat needs two.
    """

    _all: ClassVar[dict[str, EchoWire]] = {}

    def __init__(self, user: str, random: Random) -> None:
        """See `imserver.bench.wire.Wire`."""
        super().__init__(user, random)
        self._nonce = base64.b64encode(random.randbytes(16)).decode()
        self._unread = b""  # of a frame that has not arrived in full
        self._to = self
        self._all[user] = self

    @staticmethod
    def create_group(address: tuple[str, int], members: Sequence[str], tls: None) -> str:
        """See `imserver.bench.wire.Wire`; an echo knows no groups."""
        raise NotImplementedError

    def opening(self, host: str) -> Generator[bytes, bytes, bytes]:
        """The handshake alone."""
        received = yield (
            f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {self._nonce}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        while b"\r\n\r\n" not in received:
            received += yield b""
        if not received.startswith(b"HTTP/1.1 101 "):
            raise LoadError(f"the echo refused a session: {received.decode(errors='replace')}")
        return received.partition(b"\r\n\r\n")[2]

    def compose(self, content: str, *, to: str, group: bool, idempotent: bool) -> None:
        """See `imserver.bench.wire.Wire`."""
        super().compose(content, to=to, group=group, idempotent=idempotent)
        self._to = self._all[to]

    def feed(self, data: bytes) -> bytes:
        """See `imserver.bench.wire.Wire`."""
        data = self._unread + data
        place = 0
        end = len(data)
        while end - place >= 4:
            size, start = data[place + 1], place + 2
            if size == 126:
                size, start = data[place + 2] << 8 | data[place + 3], place + 4
            if start + size > end:
                break
            if data[place] != 0x81:
                raise LoadError(f"the echo sent an unexpected frame: {data[place:].hex()}")
            self.acked += 1
            self._to.received += 1
            place = start + size
        self._unread = data[place:]
        return b""

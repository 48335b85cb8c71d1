"""Messages posted over REST, one at a time on each of a number of keep-alive connections."""

from __future__ import annotations

import json
import re
from functools import partial
from typing import TYPE_CHECKING, Final

from imserver.bench.load_error import LoadError
from imserver.bench.loop import clock
from imserver.bench.measuring import Field, Usage, latencies
from imserver.bench.scenarios.asking import Asking

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Sequence
    from random import Random

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_OK: Final = b"HTTP/1.1 200 "


class RestWire:
    """HTTP/1.1 to our own server; `acked` counts its answers. See `Wire`."""

    def __init__(self, user: str, random: Random) -> None:
        self.acked = 0
        self.received = 0
        self._user = user
        self._random = random
        self._host = ""
        self._rest = b""
        self._message = b""
        self._idempotent = False

    @staticmethod
    def create_group(
        address: tuple[str, int], members: Sequence[str], tls: ssl.SSLContext | None
    ) -> str:
        """See `Wire`; nothing here writes to groups."""
        raise NotImplementedError

    def opening(self, host: str) -> Generator[bytes, bytes, bytes]:
        """See `Wire`: one call, so that the connection is known to work."""
        self._host = host
        self.feed((yield f"GET /health HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()))
        while not self.acked:
            self.feed((yield b""))
        self.acked = 0
        return b""

    def compose(self, content: str, *, to: str, group: bool, idempotent: bool) -> None:
        """See `Wire`."""
        body = json.dumps({"receiver_id": to, "type": "text", "content": content}).encode()
        key = "Idempotency-Key: %s\r\n" if idempotent else ""
        head = (
            f"POST /api/v1/messages HTTP/1.1\r\nHost: {self._host}\r\nX-User-ID: {self._user}\r\n"
            f"Content-Type: application/json\r\n{key}Content-Length: {len(body)}\r\n\r\n"
        )
        self._message = head.encode() + body
        self._idempotent = idempotent

    def messages(self, count: int) -> bytes:
        """See `Wire`."""
        if not self._idempotent:
            return self._message * count
        keys = (b"%032x" % self._random.getrandbits(128) for _ in range(count))
        return b"".join(self._message.replace(b"%s", key, 1) for key in keys)

    def feed(self, data: bytes) -> bytes:
        """See `Wire`."""
        data = self._rest + data
        while (head := data.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(data, 0, head)
            if length is None:
                raise LoadError("an answer of the server has no length")
            end = head + 4 + int(length[1])
            if len(data) < end:
                break
            if not data.startswith(_OK):
                raise LoadError(f"the server refused: {data[:end].decode(errors='replace')}")
            self.acked += 1
            data = data[end:]
        self._rest = data
        return b""


def run(field: Field) -> dict[str, float]:
    """Messages a second whose senders were told that they are stored."""
    load = field.load
    wires = [RestWire(field.user(2 * number), field.random) for number in range(load.connections)]
    connections = field.loop.open(load.address, wires)
    posters = []
    for number, connection in enumerate(connections):
        wire = connection.wire
        wire.compose(
            field.content(),
            to=field.user(2 * number + 1),
            group=False,
            idempotent=load.idempotent,
        )
        posters.append(Asking(connection, partial(wire.messages, 1)))
    for poster in posters:
        poster.advance()
    field.loop.run(load.warmup, "warming up")
    for poster in posters:
        poster.to_answer.clear()
    begin = clock()
    usage = Usage(load.server)
    field.loop.run(load.duration, "measuring")
    wall = clock() - begin
    seconds = [each for poster in posters for each in poster.to_answer]
    figures = {"messages": len(seconds) / wall} | usage.figures(len(seconds))
    for poster in posters:
        poster.going = False
    field.loop.settle(lambda: all(poster.settled for poster in posters), "not every call answered")
    return (
        figures
        | latencies("answer", seconds, (0.5, 0.99))
        | {"sent": sum(poster.asked for poster in posters)}
    )

"""How a server is spoken to, one connection at a time; sans I/O.

`ImWire` speaks to ours, by hand and as cheaply as Python can: the frame of a message is encoded
once, and of what arrives only the first bytes of each frame are looked at. Other servers are
measured by giving the scenarios another `Wire`.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, Final, Protocol

from imserver.bench.load_error import LoadError

if TYPE_CHECKING:
    import ssl
    from collections.abc import Generator, Sequence
    from random import Random

_TEXT: Final = 0x81  # FIN and opcode, RFC 6455 section 5.2
_CLOSE: Final = 0x88
_PING: Final = 0x89
_PONG: Final = 0x8A
_PUSHES: Final = (b'{"type":"new_message"', b'{"type":"new_group_message"')
_SENT: Final = b'{"type":"send_message","data":{"success":true'
_ACKED: Final = b'{"type":"ack","data":{"success":true'
_STATUS: Final = b'{"type":"message_status"'
_ID: Final = b'"data":{"id":"'


class Wire(Protocol):
    """One user's connection to a server: says what to send, counts what comes."""

    acked: int  # own messages that the server has confirmed
    received: int  # messages of others that have arrived

    def __init__(self, user: str, random: Random) -> None:
        """`user` names the user; `random` is for masks and the like, so that runs repeat."""

    @staticmethod
    def create_group(
        address: tuple[str, int], members: Sequence[str], tls: ssl.SSLContext | None
    ) -> str:
        """Make a group of users who are not connected yet; returns its name. Blocks.

        Raises:
            LoadError: the server refuses.
        """

    def opening(self, host: str) -> Generator[bytes, bytes, bytes]:
        """The opening of a session: yields bytes to send, and receives the bytes that arrived.

        Returns what arrived beyond it.
        """

    def compose(self, content: str, *, to: str, group: bool, idempotent: bool) -> None:
        """Prepare the message that `messages` repeats, to a user or a group."""

    def messages(self, count: int) -> bytes:
        """The bytes that send the prepared message `count` times."""

    def feed(self, data: bytes) -> bytes:
        """Take what arrived; returns the bytes to send in reply, if any.

        Raises:
            LoadError: the server refuses, or says goodbye.
        """


def mask(payload: bytes, key: bytes) -> bytes:
    """XOR with the four bytes of `key`, again and again (RFC 6455 section 5.3)."""
    size = len(payload)
    keys = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(keys, "big")).to_bytes(size, "big")


def client_frame(payload: bytes, key: bytes, first: int = _TEXT) -> bytes:
    """A whole masked frame."""
    size = len(payload)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + key + mask(payload, key)


class ImWire:
    """Our own server's WebSocket; see `Wire`."""

    def __init__(self, user: str, random: Random) -> None:
        self.acked = 0
        self.received = 0
        self.unconfirmed = 0  # own acknowledgements that the server has not confirmed
        self._acknowledges = False
        self._user = user
        self._random = random
        self._key = random.randbytes(4)
        self._rest = b""  # of a frame that has not arrived in full
        self._message = b""  # the frame to send
        self._pattern: bytes | None = None  # its payload, where each message is another
        self._composed = 0

    @staticmethod
    def create_group(
        address: tuple[str, int], members: Sequence[str], tls: ssl.SSLContext | None
    ) -> str:
        """See `Wire`."""
        import http.client

        owner, *others = members
        connection = (
            http.client.HTTPConnection(*address, timeout=60)
            if tls is None
            else http.client.HTTPSConnection(*address, timeout=60, context=tls)
        )
        try:
            connection.request(
                "POST",
                "/api/v1/groups",
                json.dumps({"name": "bench", "members": others}),
                {"X-User-ID": owner, "Content-Type": "application/json"},
            )
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        if answer.status != 200:
            raise LoadError(f"the server refused a group of {len(members)}: {body.decode()}")
        group_id: str = json.loads(body)["group"]["id"]
        return group_id

    def opening(self, host: str) -> Generator[bytes, bytes, bytes]:
        """See `Wire`: the handshake, then the login."""
        nonce = base64.b64encode(self._random.randbytes(16)).decode()
        received = yield (
            f"GET /ws HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {nonce}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        while b"\r\n\r\n" not in received:
            received += yield b""
        if not received.startswith(b"HTTP/1.1 101 "):
            raise LoadError(f"the server refused a session: {received.decode(errors='replace')}")
        rest = received.partition(b"\r\n\r\n")[2]
        login = {"user_id": self._user, "token": "bench", "platform": "bench"}
        answer = yield self.request("login", login)
        answer = rest + answer
        while (found := _whole_frame(answer)) is None:
            answer += yield b""
        payload, rest = found
        self.answered(payload)
        return rest

    def request(self, kind: str, data: dict[str, Any]) -> bytes:
        """The frame of any request."""
        return client_frame(_json({"type": kind, "data": data, "timestamp": 0}), self._key)

    def compose(self, content: str, *, to: str, group: bool, idempotent: bool) -> None:
        """See `Wire`."""
        data = {"group_id" if group else "receiver_id": to, "type": "text", "content": content}
        if idempotent:
            data["client_msg_id"] = f"{self._random.getrandbits(64):016x}-%010d"
        payload = _json({"type": "send_message", "data": data, "timestamp": 1640995200000})
        if idempotent:
            self._pattern = payload
        else:
            self._message = client_frame(payload, self._key)

    def acknowledge(self) -> None:
        """From now on say of each message that arrives that it was read."""
        self._acknowledges = True

    def messages(self, count: int) -> bytes:
        """See `Wire`."""
        if self._pattern is None:
            return self._message * count
        first = self._composed
        self._composed += count
        return b"".join(
            client_frame(self._pattern % number, self._key)
            for number in range(first, first + count)
        )

    def feed(self, data: bytes) -> bytes:
        """See `Wire`."""
        if self._rest:
            data = self._rest + data
        reply = b""
        place = 0
        end = len(data)
        while end - place >= 2:
            size = data[place + 1]
            start = place + 2
            if size == 126:
                start = place + 4
                if start > end:
                    break
                size = data[place + 2] << 8 | data[place + 3]
            elif size == 127:
                start = place + 10
                if start > end:
                    break
                size = int.from_bytes(data[place + 2 : start], "big")
            after = start + size
            if after > end:
                break
            if data.startswith(_PUSHES, start):
                self.received += 1
                if self._acknowledges:
                    reply += self._read(data, start)
            elif data.startswith(_SENT, start):
                self.acked += 1
            elif data.startswith(_ACKED, start):
                self.unconfirmed -= 1
            elif data.startswith(_STATUS, start):
                pass
            else:
                reply += self._other(data[place], data[start:after])
            place = after
        self._rest = data[place:]
        return reply

    def _read(self, data: bytes, start: int) -> bytes:
        """The frame that acknowledges the message in the frame at `start`."""
        begin = data.index(_ID, start) + len(_ID)
        message_id = data[begin : data.index(b'"', begin)]
        self.unconfirmed += 1
        ack = b'{"type":"ack","data":{"message_id":"%b","status":"read"},"timestamp":0}'
        return client_frame(ack % message_id, self._key)

    def _other(self, first: int, payload: bytes) -> bytes:
        if first == _TEXT:
            self.answered(payload)
        elif first == _PING:
            return client_frame(payload, self._key, _PONG)
        elif first == _CLOSE:
            code = int.from_bytes(payload[:2], "big")
            raise LoadError(f"the server closed a session: {code} {payload[2:].decode()}")
        return b""

    def answered(self, payload: bytes) -> None:
        """Look at an answer that is no confirmed message.

        Raises:
            LoadError: it is a refusal.
        """
        frame = json.loads(payload)
        data = frame["data"]
        if "error" in data:
            raise LoadError(f"the server refused {frame['type']}: {data['error']}")


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _whole_frame(data: bytes) -> tuple[bytes, bytes] | None:
    """The payload of a short first frame and what follows it; None if more has to come."""
    if len(data) < 4:
        return None
    size, start = data[1], 2
    if size == 126:
        size, start = int.from_bytes(data[2:4], "big"), 4
    if len(data) < start + size:
        return None
    return data[start : start + size], data[start + size :]

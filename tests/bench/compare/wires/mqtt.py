"""MQTT 3.1.1: a topic a user and one for the group; section numbers are the standard's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.bench.load_error import LoadError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from random import Random

_CONNACK: Final = 0x20
_PUBLISH: Final = 0x30
_PUBACK: Final = 0x40
_SUBACK: Final = 0x90
_IDENTIFIERS: Final = 1024  # for packets, reused in turn: never as many are under way
_GROUP: Final = "group"


class MqttQos1Wire:
    """QoS 1: the broker confirms what is published, the receiver what it gets (section 4.3.2).

    The sender of a group's message gets it as well, as MQTT 3.1.1 has it; not counted.
    """

    qos = 1

    def __init__(self, user: str, random: Random) -> None:
        """See `imserver.bench.wire.Wire`."""
        self.acked = 0
        self.received = 0
        self._user = user
        self._rest = b""
        self._ring = b""  # the message once for each identifier, and all of that once more
        self._size = 0
        self._next = 0

    @staticmethod
    def create_group(address: tuple[str, int], members: Sequence[str], tls: None) -> str:
        """Nothing to create: everyone subscribes to its topic."""
        return _GROUP

    def opening(self, host: str) -> Generator[bytes, bytes, bytes]:
        """Connect with a clean session and no keep-alive, then subscribe."""
        received = yield _packet(0x10, _text("MQTT") + b"\x04\x02\x00\x00" + _text(self._user))
        while len(received) < 4:
            received += yield b""
        if received[0] != _CONNACK or received[3] != 0:
            raise LoadError(f"the broker refused a connection: {received.hex()}")
        topics = (f"user/{self._user}", f"group/{_GROUP}")
        wanted = b"".join(_text(topic) + bytes((self.qos,)) for topic in topics)
        received = yield _packet(0x82, b"\x00\x01" + wanted)
        while len(received) < 4 + len(topics):
            received += yield b""
        granted = bytes((self.qos,)) * len(topics)
        if received[0] != _SUBACK or received[4 : 4 + len(topics)] != granted:
            raise LoadError(f"the broker refused a subscription: {received.hex()}")
        return received[4 + len(topics) :]

    def compose(self, content: str, *, to: str, group: bool, idempotent: bool) -> None:
        """See `imserver.bench.wire.Wire`."""
        topic = _text(f"{'group' if group else 'user'}/{to}")
        messages = [
            _packet(
                _PUBLISH | self.qos << 1,
                topic + (number.to_bytes(2, "big") if self.qos else b"") + content.encode(),
            )
            for number in range(1, _IDENTIFIERS + 1)
        ]
        self._size = len(messages[0])
        self._ring = b"".join(messages) * 2

    def messages(self, count: int) -> bytes:
        """See `imserver.bench.wire.Wire`."""
        if count > _IDENTIFIERS:
            raise LoadError(f"no more than {_IDENTIFIERS} messages can be under way")
        begin = self._next * self._size
        self._next = (self._next + count) % _IDENTIFIERS
        if not self.qos:
            self.acked += count
        return self._ring[begin : begin + count * self._size]

    def feed(self, data: bytes) -> bytes:
        """See `imserver.bench.wire.Wire`."""
        if self._rest:
            data = self._rest + data
        reply = b""
        place = 0
        end = len(data)
        while end - place >= 2:
            size = data[place + 1]
            start = place + 2
            if size > 0x7F:  # section 2.2.3; two bytes are enough for every message here
                start = place + 3
                if start > end:
                    break
                if data[place + 2] > 0x7F:
                    raise LoadError("the broker sent an unexpectedly long packet")
                size = size & 0x7F | data[place + 2] << 7
            after = start + size
            if after > end:
                break
            first = data[place]
            if first & 0xF0 == _PUBLISH:
                self.received += 1
                if first & 0x06:
                    identifier = start + 2 + (data[start] << 8 | data[start + 1])
                    reply += b"\x40\x02" + data[identifier : identifier + 2]
            elif first == _PUBACK:
                self.acked += 1
            else:
                raise LoadError(f"the broker sent an unexpected packet: {data[place:after].hex()}")
            place = after
        self._rest = data[place:]
        return reply


class MqttQos0Wire(MqttQos1Wire):
    """QoS 0: nobody confirms anything; what is sent counts as confirmed."""

    qos = 0


def _text(value: str) -> bytes:
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def _packet(first: int, body: bytes) -> bytes:
    size = len(body)
    if size < 0x80:
        return bytes((first, size)) + body
    return bytes((first, size & 0x7F | 0x80, size >> 7)) + body

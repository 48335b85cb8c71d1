"""NATS with JetStream: one stream on file holds everything, each user has a push consumer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from imserver.bench.load_error import LoadError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from random import Random

_STREAM: Final = "IM"
_GROUP: Final = "group"
_DELIVERED: Final = b"1"  # the subscription that a consumer pushes into
_HELLO: Final = {"verbose": False, "pedantic": False, "lang": "bench", "version": "1"}


class NatsWire:
    """A publish waits for the stream's acknowledgement, a delivery is acknowledged.

    The consumers are durable, as users who come back need them, and keep what was acknowledged
    on file, as the stream does: so JetStream has it by default.
    """

    memory = False  # whether consumers keep that in memory, and deliver it again after a restart

    def __init__(self, user: str, random: Random) -> None:
        """See `imserver.bench.wire.Wire`."""
        self.acked = 0
        self.received = 0
        self._user = user
        self._rest = b""
        self._message = b""
        self._answer = b""  # the newest of the stream, or of JetStream itself
        self._filter = f"user.{user}"

    @staticmethod
    def create_group(address: tuple[str, int], members: Sequence[str], tls: None) -> str:
        """Nothing to create: everyone's consumer filters for its subject."""
        return _GROUP

    def opening(self, host: str) -> Generator[bytes, bytes, bytes]:
        """Connect, subscribe, and create the consumer."""
        yield from self._connect()
        consumer = {
            "durable_name": self._user,
            "deliver_subject": f"deliver.{self._user}",
            "filter_subject": self._filter,
            "deliver_policy": "all",
            "ack_policy": "explicit",
            "mem_storage": self.memory,
        }
        subject = f"CONSUMER.DURABLE.CREATE.{_STREAM}.{self._user}"
        yield from self._call(subject, {"stream_name": _STREAM, "config": consumer})
        return b""

    def compose(self, content: str, *, to: str, group: bool, idempotent: bool) -> None:
        """See `imserver.bench.wire.Wire`."""
        subject = f"{'group' if group else 'user'}.{to}"
        data = content.encode()
        self._message = b"PUB %b answer.%b %d\r\n%b\r\n" % (
            subject.encode(),
            self._user.encode(),
            len(data),
            data,
        )

    def messages(self, count: int) -> bytes:
        """See `imserver.bench.wire.Wire`."""
        return self._message * count

    def feed(self, data: bytes) -> bytes:
        """See `imserver.bench.wire.Wire`."""
        if self._rest:
            data = self._rest + data
        reply = b""
        place = 0
        end = len(data)
        while (line := data.find(b"\r\n", place)) >= 0:
            words = data[place:line].split(b" ")
            after = line + 2
            if words[0] == b"MSG":
                start, after = after, after + int(words[-1]) + 2
                if after > end:
                    break
                if words[2] == _DELIVERED:
                    self.received += 1
                    reply += b"PUB %b 4\r\n+ACK\r\n" % words[3]
                else:
                    self._answer = data[start : after - 2]
                    if b'"error"' in self._answer:
                        raise LoadError(f"JetStream refused: {self._answer.decode()}")
                    self.acked += 1
            elif words[0] == b"PING":
                reply += b"PONG\r\n"
            elif words[0] not in (b"PONG", b"INFO"):
                raise LoadError(f"NATS said: {data[place:line].decode()}")
            place = after
        self._rest = data[place:]
        return reply

    def _connect(self) -> Generator[bytes, bytes, None]:
        subscriptions = f"SUB deliver.{self._user} 1\r\nSUB answer.{self._user} 2\r\n"
        received = yield f"CONNECT {json.dumps(_HELLO)}\r\n{subscriptions}PING\r\n".encode()
        while b"PONG\r\n" not in received:
            if b"-ERR" in received:
                raise LoadError(f"NATS refused a connection: {received.decode()}")
            received += yield b""

    def _call(self, subject: str, request: dict[str, Any]) -> Generator[bytes, bytes, Any]:
        """Ask JetStream; returns its answer."""
        body = json.dumps(request)
        head = f"PUB $JS.API.{subject} answer.{self._user} {len(body)}"
        said = f"{head}\r\n{body}\r\n".encode()
        while not self.acked:
            said = self.feed((yield said))
        self.acked = 0
        return json.loads(self._answer)


class NatsGroupWire(NatsWire):
    """Everyone's consumer hears the group."""

    def __init__(self, user: str, random: Random) -> None:
        """See `imserver.bench.wire.Wire`."""
        super().__init__(user, random)
        self._filter = f"group.{_GROUP}"


class NatsMemoryWire(NatsWire):
    """Consumers in memory; the messages are on file all the same."""

    memory = True


class NatsMemoryGroupWire(NatsGroupWire):
    """Everyone's consumer hears the group, and is in memory."""

    memory = True


class NatsStream(NatsWire):
    """Whoever sets the stream up: its opening makes sure that there is one."""

    kept = 0  # messages in the stream

    def opening(self, host: str) -> Generator[bytes, bytes, bytes]:
        """Create the stream, or look how much is in it."""
        yield from self._connect()
        stream = {"name": _STREAM, "subjects": ["user.*", "group.*"], "storage": "file"}
        answer = yield from self._call(f"STREAM.CREATE.{_STREAM}", stream)
        self.kept = answer["state"]["messages"]
        return b""

"""Pairs of users, one writing to the other, a fixed number of messages under way in each.

The next message leaves when one has arrived *and* its sender was told that it is stored, so a
server that confirms before it delivers, or delivers before it confirms, gains nothing.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from imserver.bench.loop import LoadConnection, clock
from imserver.bench.measuring import Field, Usage, latencies
from imserver.bench.wire import ImWire

if TYPE_CHECKING:
    from imserver.bench.wire import Wire


class TalkingPair:
    """A sender, a receiver, and the times of the messages under way between them.

    Call `advance` when something has arrived at either.
    """

    def __init__(self, sender: LoadConnection, receiver: LoadConnection) -> None:
        self.acked = 0
        self.received = 0
        self.sent = 0
        self.to_ack: list[float] = []  # seconds from send to confirmation
        self.to_receive: list[float] = []  # seconds from send to arrival
        self.in_flight = 0  # as many are kept under way; 0 stops
        self._sender = sender
        self._from: Wire = sender.wire
        self._to: Wire = receiver.wire
        self._unacked: deque[float] = deque()  # the time of each send
        self._unreceived: deque[float] = deque()

    def advance(self) -> None:
        """Take note of what arrived, and send what there is room for."""
        now = clock()
        while self.acked < self._from.acked:
            self.acked += 1
            self.to_ack.append(now - self._unacked.popleft())
        while self.received < self._to.received:
            self.received += 1
            self.to_receive.append(now - self._unreceived.popleft())
        room = self.in_flight - self.sent + min(self.acked, self.received)
        if room > 0:
            self.send(room, now)

    def send(self, count: int, now: float) -> None:
        """Send messages, as of the time `now`."""
        self.sent += count
        self._unacked.extend((now,) * count)
        self._unreceived.extend((now,) * count)
        self._sender.send(self._from.messages(count))

    def forget(self) -> None:
        """Drop the times measured so far."""
        self.to_ack.clear()
        self.to_receive.clear()

    @property
    def settled(self) -> bool:
        """Whether everything sent has arrived and is confirmed."""
        return self.acked == self.received == self.sent


def run(field: Field, *, acknowledged: bool = False) -> dict[str, float]:
    """Messages a second that their receivers have; `acknowledged`: and say that they have read."""
    load = field.load
    connections = field.open(2 * load.pairs)
    pairs = []
    readers: list[ImWire] = []
    for number in range(load.pairs):
        sender, receiver = connections[2 * number : 2 * number + 2]
        sender.wire.compose(
            field.content(),
            to=field.user(2 * number + 1),
            group=False,
            idempotent=load.idempotent,
        )
        if acknowledged:
            assert isinstance(receiver.wire, ImWire)
            receiver.wire.acknowledge()
            readers.append(receiver.wire)
        pair = TalkingPair(sender, receiver)
        sender.changed = receiver.changed = pair.advance
        pairs.append(pair)
    for pair in pairs:
        pair.in_flight = load.in_flight
        pair.advance()
    field.loop.run(load.warmup, "warming up")
    for pair in pairs:
        pair.forget()
    before = sum(pair.received for pair in pairs)
    begin = clock()
    usage = Usage(load.server)
    field.loop.run(load.duration, "measuring")
    count = sum(pair.received for pair in pairs) - before
    figures = {"messages": count / (clock() - begin)} | usage.figures(count)
    to_receive = [seconds for pair in pairs for seconds in pair.to_receive]
    to_ack = [seconds for pair in pairs for seconds in pair.to_ack]
    for pair in pairs:
        pair.in_flight = 0
    field.loop.settle(lambda: all(pair.settled for pair in pairs), "not every message arrived")
    field.loop.settle(
        lambda: not any(wire.unconfirmed for wire in readers),
        "not every acknowledgement was confirmed",
    )
    return (
        figures
        | latencies("receive", to_receive, (0.5, 0.99))
        | latencies("ack", to_ack, (0.5, 0.99))
        | {"sent": sum(pair.sent for pair in pairs)}
    )

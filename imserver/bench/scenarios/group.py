"""One group, one of its members writing, a fixed number of messages under way.

The next message leaves when one has arrived at *every* other member and its sender was told that
it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imserver.bench.loop import LoadConnection, clock
from imserver.bench.measuring import Field, Usage, latencies

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from imserver.bench.wire import Wire


class FanOut:
    """A sender, its receivers, and the deliveries of each message."""

    def __init__(self, sender: LoadConnection, receivers: Sequence[LoadConnection]) -> None:
        self.delivered = 0
        self.complete = 0  # messages that everyone has
        self.sent = 0
        self.to_receive: list[float] = []  # seconds from send to each arrival
        self.to_last: list[float] = []  # seconds from send to the last arrival
        self.in_flight = 0  # as many are kept under way; 0 stops
        self._sender = sender
        self._from: Wire = sender.wire
        self._receivers = len(receivers)
        self._times: list[float] = []  # of each send
        self._arrived: list[int] = []  # at how many, of each message
        sender.changed = self.advance
        for receiver in receivers:
            receiver.changed = self._watch(receiver.wire)

    def advance(self) -> None:
        """Send what there is room for."""
        room = self.in_flight - self.sent + min(self._from.acked, self.complete)
        if room > 0:
            self.sent += room
            self._times.extend((clock(),) * room)
            self._arrived.extend((0,) * room)
            self._sender.send(self._from.messages(room))

    def forget(self) -> None:
        """Drop the times measured so far."""
        self.to_receive.clear()
        self.to_last.clear()

    @property
    def settled(self) -> bool:
        """Whether everything sent has arrived everywhere and is confirmed."""
        return self._from.acked == self.complete == self.sent

    def _watch(self, wire: Wire) -> Callable[[], None]:
        seen = 0

        def changed() -> None:
            nonlocal seen
            now = clock()
            while seen < wire.received:
                seconds = now - self._times[seen]
                self.to_receive.append(seconds)
                self.delivered += 1
                arrived = self._arrived[seen] = self._arrived[seen] + 1
                seen += 1
                if arrived == self._receivers:
                    self.to_last.append(seconds)
                    self.complete += 1
                    self.advance()

        return changed


def run(field: Field) -> dict[str, float]:
    """Deliveries a second: messages times the members who have them."""
    load = field.load
    users = [field.user(number) for number in range(load.members)]
    group = load.wire.create_group(load.address, users, load.tls())
    sender, *receivers = field.open(load.members)
    sender.wire.compose(field.content(), to=group, group=True, idempotent=load.idempotent)
    fan_out = FanOut(sender, receivers)
    fan_out.in_flight = load.in_flight
    fan_out.advance()
    field.loop.run(load.warmup, "warming up")
    fan_out.forget()
    delivered, complete = fan_out.delivered, fan_out.complete
    begin = clock()
    usage = Usage(load.server)
    field.loop.run(load.duration, "measuring")
    wall = clock() - begin
    deliveries = fan_out.delivered - delivered
    figures = {
        "deliveries": deliveries / wall,
        "messages": (fan_out.complete - complete) / wall,
    } | usage.figures(deliveries)
    to_receive, to_last = list(fan_out.to_receive), list(fan_out.to_last)
    fan_out.in_flight = 0
    field.loop.settle(lambda: fan_out.settled, "not every message arrived everywhere")
    return (
        figures
        | latencies("receive", to_receive, (0.5, 0.99))
        | latencies("last", to_last, (0.5, 0.99))
        | {"sent": fan_out.sent}
    )

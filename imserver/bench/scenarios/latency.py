"""Messages at a fixed rate, whatever becomes of those before (an open loop).

A message's time runs from the moment at which it was *due*, so a server (or a client) that stalls
is charged for everything that had to wait meanwhile: no coordinated omission.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.bench.loop import clock
from imserver.bench.measuring import Field, Usage, latencies
from imserver.bench.scenarios.direct import TalkingPair

if TYPE_CHECKING:
    from collections.abc import Callable

_PARTS: Final = (0.5, 0.99, 0.999)


def _partner(number: int) -> int:
    """Sessions write to each other in twos: 0 to 1 and 1 to 0."""
    return number ^ 1


def _both(there: TalkingPair, back: TalkingPair) -> Callable[[], None]:
    def advance() -> None:
        there.advance()
        back.advance()

    return advance


def run(field: Field) -> dict[str, float]:
    """Milliseconds from due to arrived, and to confirmed, at a rate that is given."""
    load = field.load
    connections = field.open(2 * (load.sessions // 2))
    for number, connection in enumerate(connections):
        connection.wire.compose(
            field.content(),
            to=field.user(_partner(number)),
            group=False,
            idempotent=load.idempotent,
        )
    pairs = [
        TalkingPair(connection, connections[_partner(number)])
        for number, connection in enumerate(connections)
    ]
    for number, connection in enumerate(connections):
        connection.changed = _both(pairs[number], pairs[_partner(number)])
    field.random.shuffle(pairs)
    turn = 0

    def tick(due: float) -> None:
        nonlocal turn
        pairs[turn % len(pairs)].send(1, due)
        turn += 1

    field.loop.pace(load.warmup, 1 / load.rate, "warming up", tick)
    for pair in pairs:
        pair.forget()
    before = turn
    begin = clock()
    usage = Usage(load.server)
    field.loop.pace(load.duration, 1 / load.rate, "measuring", tick)
    sent = turn - before
    figures = {"messages": sent / (clock() - begin)} | usage.figures(sent)
    field.loop.settle(lambda: all(pair.settled for pair in pairs), "not every message arrived")
    to_receive = [seconds for pair in pairs for seconds in pair.to_receive]
    to_ack = [seconds for pair in pairs for seconds in pair.to_ack]
    return (
        figures
        | latencies("receive", to_receive, _PARTS)
        | latencies("ack", to_ack, _PARTS)
        | {"sent": turn}
    )

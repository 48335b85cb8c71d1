"""Paging through a backlog, from its beginning to its end and again, as clients do after a while.

The backlog lies in a number of conversations, its messages nearly in turn from each, as in a
busy team: a page changes from one conversation to another with almost every message.
"""

from __future__ import annotations

from typing import Final

from imserver.bench.load_error import LoadError
from imserver.bench.loop import clock
from imserver.bench.measuring import Field, Usage, latencies
from imserver.bench.scenarios.asking import Asking
from imserver.bench.wire import ImWire

_SENDERS: Final = 20  # conversations
_STORING_IN_FLIGHT: Final = 1  # messages under way of each sender: more would come in runs
_STORING_SLICE: Final = 0.2  # seconds
_PAGE: Final = b'{"type":"sync_offline","data":{"messages":['
_MESSAGE: Final = b'{"id":"msg_'


class SyncWire(ImWire):
    """A session that pages; `acked` counts its pages, `received` the messages on them."""

    limit = 0  # messages a page
    passes = 0  # from the backlog's beginning to its end
    cursor = ""  # the id of the last message had

    def next_page(self) -> bytes:
        """The frame that asks for what comes after the last page."""
        asked = {"limit": self.limit}
        if self.cursor:
            asked |= {"last_message_id": self.cursor}  # type: ignore[dict-item]
        return self.request("sync_offline", asked)

    def answered(self, payload: bytes) -> None:
        """See `ImWire`."""
        if not payload.startswith(_PAGE):
            super().answered(payload)
            return
        self.acked += 1
        count = payload.count(_MESSAGE)
        self.received += count
        if b'"has_more":true' in payload[-200:]:
            last = payload.rindex(_MESSAGE) + len(_MESSAGE)
            self.cursor = "msg_" + payload[last : payload.index(b'"', last)].decode()
        else:
            self.cursor = ""
            self.passes += 1


def run(field: Field) -> dict[str, float]:
    """Pages and messages a second."""
    load = field.load
    _store_backlog(field)
    wires = [SyncWire(field.user(0), field.random) for _ in range(load.connections)]
    readers = []
    for wire, connection in zip(wires, field.loop.open(load.address, wires), strict=True):
        wire.limit = load.page
        readers.append(Asking(connection, wire.next_page))
    for reader in readers:
        reader.advance()
    field.loop.run(load.warmup, "warming up")
    for reader in readers:
        reader.to_answer.clear()
    before = sum(wire.received for wire in wires)
    begin = clock()
    usage = Usage(load.server)
    field.loop.run(load.duration, "measuring")
    wall = clock() - begin
    messages = sum(wire.received for wire in wires) - before
    seconds = [each for reader in readers for each in reader.to_answer]
    figures = {"messages": messages / wall, "pages": len(seconds) / wall} | usage.figures(messages)
    for reader in readers:
        reader.going = False
    field.loop.settle(lambda: all(reader.settled for reader in readers), "not every page came")
    _check(field, wires)
    return (
        figures
        | latencies("page", seconds, (0.5, 0.99))
        | {"backlog": load.backlog, "passes": sum(wire.passes for wire in wires)}
    )


def _store_backlog(field: Field) -> None:
    load = field.load
    wires = [ImWire(field.user(number), field.random) for number in range(1, _SENDERS + 1)]
    connections = field.loop.open(load.address, wires)
    shares = [len(range(number, load.backlog, _SENDERS)) for number in range(_SENDERS)]
    for wire in wires:
        wire.compose(field.content(), to=field.user(0), group=False, idempotent=load.idempotent)
    sent = [0] * _SENDERS

    def all_stored() -> bool:
        for number, (wire, connection) in enumerate(zip(wires, connections, strict=True)):
            room = min(_STORING_IN_FLIGHT + wire.acked, shares[number]) - sent[number]
            if room > 0:
                sent[number] += room
                connection.send(wire.messages(room))
        return all(wire.acked == share for wire, share in zip(wires, shares, strict=True))

    while not all_stored():
        stored = sum(wire.acked for wire in wires)
        field.loop.turn(_STORING_SLICE)
        field.progress("storing the backlog", stored / load.backlog)


def _check(field: Field, wires: list[SyncWire]) -> None:
    """A whole pass holds the whole backlog, once."""
    for wire in wires:
        if wire.passes and wire.received < wire.passes * field.load.backlog:
            raise LoadError("a sync from beginning to end left messages out")

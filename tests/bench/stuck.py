"""What readers who do not read cost the others, and the server's memory.

    python -m tests.bench.stuck

Two measurements, each on a server of its own:

- One group of `--members`, one of them writing, one message at a time, as in the bench `group`.
  In every other round one more member reads nothing at all; in the others it reads like everybody.
  Rounds alternate, so that what else happens on the machine falls on both. It makes no difference
  if the medians are no further apart than the rounds of one kind are among themselves.
- `--stuck` users who do not read, and senders who write to them in turn, each message to one of
  them, so that no two outboxes share a byte, until the server has let everyone go. No more may wait
  than the outboxes may hold, and its resident memory may not grow by much more than that.

Figures go to standard output as JSON. Ends with 1 where one of the two is not so.
"""

from __future__ import annotations

import json
import re
import select
import socket
import statistics
import sys
import tempfile
import urllib.request
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.progress import Progress

from imserver.bench import machine
from imserver.bench.loop import Loop, clock
from imserver.bench.measuring import latencies
from imserver.bench.scenarios.group import FanOut
from imserver.bench.target import OwnServer
from imserver.bench.wire import ImWire

if TYPE_CHECKING:
    from collections.abc import Callable

    from imserver.bench.target import Running

    Told = Callable[[str, float], None]

_RECEIVE_BUFFER: Final = 4096  # bytes that the kernel holds for one who does not read
_WARMING: Final = 2.0  # seconds
_LOOKS: Final = 0.1  # seconds from one look at the memory to the next
_SENDERS: Final = 16
_IN_FLIGHT: Final = 64  # messages of all senders together
_CONTENT: Final = 60_000  # characters
_PATIENCE: Final = 600.0  # seconds for everyone to be let go
_SLACK: Final = 48 << 20  # bytes for what is under way: batches and caches
# What the C library's heap loses between blocks that stay and blocks that come and go: a quarter to
# a third of what waits, as measured. (With MALLOC_MMAP_THRESHOLD_=32768 in the server's environment
# it is next to nothing, and all of it is given back afterwards; but sending is half as fast.)
_HEAP: Final = 1.4


class Stuck:
    """A session that is opened and then never read."""

    def __init__(self, address: tuple[str, int], user: str) -> None:
        self._sock = socket.socket()
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        self._sock.connect(address)
        opening = ImWire(user, Random(user)).opening("127.0.0.1")
        self._sock.sendall(next(opening))
        try:
            while True:
                said = opening.send(self._sock.recv(4096))
                self._sock.sendall(said)
        except StopIteration:
            pass

    @property
    def alive(self) -> bool:
        """Whether the server still holds the connection."""
        poll = select.poll()
        poll.register(self._sock, 0)
        return not poll.poll(0)

    def close(self) -> None:
        """Go away."""
        self._sock.close()


@click.command()
@click.option("--members", default=1000, show_default=True, help="Of the group.")
@click.option("--rounds", default=5, show_default=True, help="Of each kind.")
@click.option("--seconds", default=5.0, show_default=True, help="Of each round.")
@click.option("--stuck", default=1000, show_default=True, help="Users who do not read.")
@click.option("--outbox", default=1 << 20, show_default=True, help="limits.outbox_bytes.")
def main(members: int, rounds: int, seconds: float, stuck: int, outbox: int) -> None:
    """Measure what readers who do not read cost."""
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=1.0)

        def told(doing: str, done: float) -> None:
            bar.update(task, description=doing, completed=done)

        with OwnServer().running(None) as server:
            one = one_stuck(server, told, members, rounds, seconds)
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "config.toml"
            # It is the outbox that is to let them go, and not their silence.
            config.write_text(
                f"[limits]\noutbox_bytes = {outbox}\n[timeouts]\nsilence = {2 * _PATIENCE}\n"
            )
            with OwnServer(config=config).running(None) as server:
                many = many_stuck(server, told, stuck, outbox)
    print(json.dumps({"one_stuck": one, "many_stuck": many}, indent=2))
    sys.exit(1 if one["beyond_noise"] or many["beyond_bound"] or many["still_held"] else 0)


# -- one of a thousand ------------------------------------------------------------------------


def one_stuck(
    server: Running, told: Told, members: int, rounds: int, seconds: float
) -> dict[str, Any]:
    """Latencies at the others, with one who does not read and without."""
    loop = Loop(lambda doing, done: None)
    users = [f"member{number}" for number in range(members + 1)]
    group = ImWire.create_group(server.address, users, None)
    *reading, odd = users
    wires = [ImWire(user, Random(user)) for user in reading]
    sender, *receivers = loop.open(server.address, wires)
    wires[0].compose("x" * 100, to=group, group=True, idempotent=False)
    fan_out = FanOut(sender, receivers)
    figures: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    still_stuck = 0
    for number in range(2 * rounds):
        is_stuck = number % 2 == 1
        told(f"round {number + 1}, {'one stuck' if is_stuck else 'all read'}", number / 2 / rounds)
        stuck = readers = None
        if is_stuck:
            stuck = Stuck(server.address, odd)
        else:
            readers = loop.open(server.address, [ImWire(odd, Random(odd))])
        fan_out.in_flight = 1
        fan_out.advance()
        loop.run(_WARMING, "")
        fan_out.forget()
        loop.run(seconds, "")
        figures[is_stuck].append(latencies("receive", list(fan_out.to_receive), (0.5, 0.99)))
        fan_out.in_flight = 0
        loop.settle(lambda: fan_out.settled, "not every message arrived everywhere")
        if stuck is not None:
            still_stuck += stuck.alive
            stuck.close()
        if readers is not None:
            loop.forget(readers[0])
    loop.close()
    p99 = {kind: [figure["receive_p99"] for figure in found] for kind, found in figures.items()}
    difference = statistics.median(p99[True]) - statistics.median(p99[False])
    noise = max(max(times) - min(times) for times in p99.values())
    return {
        "members": members,
        "rounds_of_each": rounds,
        "stuck_to_the_end_of_rounds": still_stuck,
        "all_read_p50_ms": statistics.median(f["receive_p50"] for f in figures[False]),
        "one_stuck_p50_ms": statistics.median(f["receive_p50"] for f in figures[True]),
        "all_read_p99_ms": statistics.median(p99[False]),
        "one_stuck_p99_ms": statistics.median(p99[True]),
        "all_read_p99_of_rounds_ms": p99[False],
        "one_stuck_p99_of_rounds_ms": p99[True],
        "beyond_noise": difference > noise,
    }


# -- a thousand of them -----------------------------------------------------------------------


def many_stuck(server: Running, told: Told, count: int, outbox: int) -> dict[str, Any]:
    """The server's memory while nobody reads what everybody is sent."""
    assert server.pid is not None
    loop = Loop(lambda doing, done: None)
    senders = [ImWire(f"sender{number}", Random(number)) for number in range(_SENDERS)]
    connections = loop.open(server.address, senders)
    stuck = [Stuck(server.address, f"stuck{number}") for number in range(count)]
    base = peak = machine.memory(server.pid).resident
    sent = 0
    looked = 0.0
    begun = clock()
    overflows = waiting = 0
    while overflows < count and clock() - begun < _PATIENCE:
        if clock() - looked > _LOOKS:
            looked = clock()
            peak = max(peak, machine.memory(server.pid).resident)
            overflows = metric(server, "imserver_outbox_overflows_total")
            waiting = max(waiting, metric(server, "imserver_outbox_waiting_bytes"))
            told(f"{overflows} let go, {peak >> 20} MiB", overflows / count)
        while sent - sum(wire.acked for wire in senders) < _IN_FLIGHT:
            wire = senders[sent % _SENDERS]
            wire.compose("x" * _CONTENT, to=f"stuck{sent % count}", group=False, idempotent=False)
            connections[sent % _SENDERS].send(wire.messages(1))
            sent += 1
        loop.turn(0.01)
    seconds = clock() - begun
    peak = max(peak, machine.memory(server.pid).resident)
    ended = clock() + 30  # each is reset within seconds, though it reads nothing
    while (held := sum(one.alive for one in stuck)) and clock() < ended:
        loop.turn(0.1)
    allowed = count * outbox
    bound = int(_HEAP * allowed) + _SLACK
    loop.close()
    for one in stuck:
        one.close()
    return {
        "stuck": count,
        "outbox_bytes": outbox,
        "messages_sent": sent,
        "bytes_sent": sent * _CONTENT,
        "seconds": round(seconds, 1),
        "closed_4008": overflows,
        "waiting_at_most": waiting,
        "still_held": held,
        "resident_before": base,
        "resident_at_most": peak,
        "grown_by": peak - base,
        "bound": bound,
        "resident_after": machine.memory(server.pid).resident,
        "beyond_bound": waiting > allowed or peak - base > bound,
    }


def metric(server: Running, name: str) -> int:
    """What the server says of itself."""
    host, port = server.address
    with urllib.request.urlopen(f"http://{host}:{port}/metrics", timeout=60) as answer:
        found = re.search(rf"^{name} (\S+)$", answer.read().decode(), re.MULTILINE)
    assert found
    return int(float(found[1]))


if __name__ == "__main__":
    main()

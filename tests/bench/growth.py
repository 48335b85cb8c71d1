"""What a send, a page of sync, a login and a start cost, by how much is stored already.

`python -m tests.bench.growth` fills a database of each size (see `generate`), serves it and
measures. What matters is the last column, the largest size's figure over the smallest's: nothing
may grow with what is stored. Reads come before writes, so that each size is what it says.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

import click
from rich.console import Console
from rich.table import Table

from imserver.bench import machine
from imserver.bench.load_error import LoadError
from imserver.bench.loop import Loop, clock
from imserver.bench.measuring import Usage, percentile
from imserver.bench.report import show_environment
from imserver.bench.runner import environment
from imserver.bench.scenarios.asking import Asking
from imserver.bench.scenarios.direct import TalkingPair
from imserver.bench.scenarios.paging import SyncWire
from imserver.bench.target import OwnServer
from imserver.bench.wire import ImWire
from tests.bench.generate import POPULAR, UNREAD, WRITER, generate, group, user

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from imserver.bench.loop import LoadConnection
    from imserver.bench.target import Running

SIZES: Final = (10_000, 1_000_000, 10_000_000)
_STARTS: Final = 5
_LOGINS: Final = 50
_PAGES: Final = 30
_PAGE: Final = 200
_WRITERS_PAGE: Final = 5  # there are no more for them among ten thousand messages
_ENOUGH_SECONDS: Final = 5.0  # of asking the same again
_ALONE: Final = 300  # messages sent one by one
_PAIRS: Final = 50
_IN_FLIGHT: Final = 8
_SENDING_SECONDS: Final = 3.0
_WARMING_SECONDS: Final = 1.0
_MANY: Final = 0  # the user in 500 groups, one of them of 10,000, who has read nothing
_READER: Final = 3  # another one, who has read nearly everything


class Row(NamedTuple):
    """One thing that must not grow."""

    name: str
    label: str
    unit: str
    digits: int = 2


ROWS: Final = (
    Row("start", "start to ready", "ms", 0),
    Row("resident", "resident memory then", "MB", 1),
    Row("login_few", "opening a session", "ms"),
    Row("login_many", "opening a session, in 500 groups", "ms"),
    Row("page_few", "sync page: all unread, 25 pairs", "ms"),
    Row("page_many", "sync page: all unread, 500 groups", "ms"),
    Row("page_read", "sync page: nearly all read", "ms"),
    Row("page_middle_few", "sync page: cursor halfway, 25 pairs", "ms"),
    Row("page_middle_many", "sync page: cursor halfway, 500 groups", "ms"),
    Row("page_end_many", "sync page: the newest, 500 groups", "ms"),
    Row("page_writer", "sync page: of one who only writes", "ms"),
    Row("send_alone", "send, one at a time, p50", "ms"),
    Row("send_group_first", "first send to a group of 10,000", "ms"),
    Row("send_group", "send to a group of 10,000, p50", "ms"),
    Row("send_rate", f"sends, {_PAIRS} pairs, {_IN_FLIGHT} in flight", "/s", 0),
    Row("send_cpu", "server CPU for each of them", "µs", 1),
    Row("size", "the database", "MB", 1),
)


class Session:
    """One user's connection, asked one thing at a time."""

    def __init__(self, loop: Loop, server: Running, number: int) -> None:
        assert server.pid is not None
        self._loop = loop
        self._pid = server.pid
        self.wire = SyncWire(user(number), Random(number))
        self.wire.limit = _PAGE
        (self.connection,) = loop.open(server.address, [self.wire])

    def pages(self, name: str, cursor: int | None, *, full: bool = True) -> dict[str, float]:
        """Milliseconds for the page after a cursor: their median, and the server's CPU for each.

        Raises:
            LoadError: the page should be full and is not: sizes could not be compared.
        """

        def request() -> bytes:
            self.wire.cursor = "" if cursor is None else f"msg_{cursor}"
            return self.wire.next_page()

        self.wire.received = 0
        before = machine.cpu_seconds(self._pid)
        seconds = self._ask(request, _PAGES)
        cpu = machine.cpu_seconds(self._pid) - before
        if full and self.wire.received < _PAGE * len(seconds):
            raise LoadError("there are too few messages for a full page of sync")
        return {
            name: 1000 * statistics.median(seconds),
            f"{name}_cpu": 1000 * cpu / self.wire.acked,
        }

    def sends(self, to: str, *, to_group: bool) -> list[float]:
        """Milliseconds for each of many sends, one at a time."""
        self.wire.compose("x" * 60, to=to, group=to_group, idempotent=False)
        return [1000 * seconds for seconds in self._ask(lambda: self.wire.messages(1), _ALONE)]

    def _ask(self, request: Callable[[], bytes], count: int) -> list[float]:
        """Seconds for each of `count` requests, or for less of them where they are slow."""
        self.wire.acked = 0
        asking = Asking(self.connection, request)
        asking.advance()
        begin = clock()
        for number in range(1, count + 1):
            self._loop.settle(partial(_has, asking, number), "no answer")
            if clock() - begin > _ENOUGH_SECONDS:
                break
        asking.going = False
        self._loop.settle(lambda: asking.settled, "no answer")
        self.connection.changed = lambda: None
        return asking.to_answer[:count]


def _has(asking: Asking, answers: int) -> bool:
    return len(asking.to_answer) >= answers


@contextmanager
def _looping() -> Generator[Loop, None, None]:
    loop = Loop(lambda _doing, _done: None)
    try:
        yield loop
    finally:
        loop.close()


def measure(folder: Path, messages: int, core: int | None) -> dict[str, float]:
    """All figures for the database in a folder, of so many messages."""
    target = OwnServer(folder)
    ready = []
    for _ in range(_STARTS):
        with target.running(core) as server:
            assert server.ready_seconds is not None
            assert server.pid is not None
            ready.append(server.ready_seconds)
            resident = machine.memory(server.pid).resident
    figures = {"start": 1000 * statistics.median(ready), "resident": resident / 1e6}
    with target.running(core) as server, _looping() as loop:
        figures |= _read(loop, server, messages)
    with target.running(core) as server, _looping() as loop:
        figures |= _write(loop, server)
    return figures | {"size": (folder / "imserver.db").stat().st_size / 1e6}


def _login(loop: Loop, server: Running, name: str, number: int) -> dict[str, float]:
    assert server.pid is not None
    before = machine.cpu_seconds(server.pid)
    seconds = []
    for _ in range(_LOGINS):
        begin = clock()
        session = Session(loop, server, number)
        seconds.append(clock() - begin)
        loop.forget(session.connection)
    cpu = machine.cpu_seconds(server.pid) - before
    return {name: 1000 * statistics.median(seconds), f"{name}_cpu": 1000 * cpu / _LOGINS}


def _read(loop: Loop, server: Running, messages: int) -> dict[str, float]:
    few, many = Session(loop, server, POPULAR), Session(loop, server, _MANY)
    reader, writer = Session(loop, server, _READER), Session(loop, server, WRITER)
    writer.wire.limit = _WRITERS_PAGE
    middle = messages // 2
    return (
        _login(loop, server, "login_few", POPULAR)
        | _login(loop, server, "login_many", _MANY)
        | few.pages("page_few", None)
        | many.pages("page_many", None)
        | reader.pages("page_read", None, full=False)
        | few.pages("page_middle_few", middle)
        | many.pages("page_middle_many", middle)
        | many.pages("page_end_many", messages - UNREAD, full=False)
        | writer.pages("page_writer", None, full=False)
    )


def _write(loop: Loop, server: Running) -> dict[str, float]:
    alone = sorted(Session(loop, server, 101).sends(user(102), to_group=False))
    in_group = Session(loop, server, _MANY).sends(group(0), to_group=True)
    figures = {
        "send_alone": percentile(alone, 0.5),
        "send_group_first": in_group[0],
        "send_group": percentile(sorted(in_group[1:]), 0.5),
    }
    wires = [ImWire(user(1000 + number), Random(number)) for number in range(2 * _PAIRS)]
    connections: list[LoadConnection] = loop.open(server.address, wires)
    pairs = []
    for number in range(0, 2 * _PAIRS, 2):
        sender, receiver = connections[number : number + 2]
        sender.wire.compose("x" * 60, to=user(1001 + number), group=False, idempotent=False)
        pair = TalkingPair(sender, receiver)
        sender.changed = receiver.changed = pair.advance
        pairs.append(pair)
    for pair in pairs:
        pair.in_flight = _IN_FLIGHT
        pair.advance()
    loop.run(_WARMING_SECONDS, "warming up")
    before = sum(pair.received for pair in pairs)
    begin = clock()
    usage = Usage(server.pid)
    loop.run(_SENDING_SECONDS, "sending")
    sent = sum(pair.received for pair in pairs) - before
    figures |= {
        "send_rate": sent / (clock() - begin),
        "send_cpu": usage.figures(sent)["server_us"],
    }
    for pair in pairs:
        pair.in_flight = 0
    loop.settle(lambda: all(pair.settled for pair in pairs), "not every message arrived")
    return figures


def _show(console: Console, sizes: tuple[int, ...], measured: list[dict[str, float]]) -> None:
    table = Table()
    table.add_column("figure")
    table.add_column("unit")
    for size in sizes:
        table.add_column(f"{size:,}", justify="right")
    table.add_column("ratio", justify="right")
    for row in ROWS:
        for name, label in (
            (row.name, row.label),
            (f"{row.name}_cpu", "  CPU of the server for it"),
        ):
            if name in measured[0]:
                values = [figures[name] for figures in measured]
                cells = [f"{value:,.{row.digits}f}" for value in values]
                table.add_row(label, row.unit, *cells, f"{values[-1] / values[0]:.2f}")
    console.print(table)


@click.command()
@click.option("--sizes", default=",".join(map(str, SIZES)), show_default=True,
              help="Numbers of messages, smallest first.")  # fmt: skip
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="Where databases are made.  [default: the temporary folder]")  # fmt: skip
@click.option("--server-core", type=int, help="Pin the server to this core.")
@click.option("--client-core", type=int, help="Pin the load to this core.")
@click.option("--json", "json_file", type=click.Path(path_type=Path, dir_okay=False),
              help="Write the figures to this file.")  # fmt: skip
def main(
    sizes: str,
    folder: Path | None,
    server_core: int | None,
    client_core: int | None,
    json_file: Path | None,
) -> None:
    """Measure what grows with the number of messages stored."""
    counts = tuple(int(size) for size in sizes.split(","))
    console = Console()
    where = environment(folder)
    show_environment(console, where)
    measured = []
    for messages in counts:
        with tempfile.TemporaryDirectory(prefix="imserver-growth-", dir=folder) as data:
            filled = generate(Path(data), messages)
            console.print(f"{messages:,} messages written in {filled.seconds:.0f} s")
            if client_core is not None:
                os.sched_setaffinity(0, {client_core})
            gc.collect()
            gc.disable()
            try:
                measured.append(measure(Path(data), messages, server_core))
            except LoadError as error:
                raise click.ClickException(str(error)) from None
            gc.enable()
    _show(console, counts, measured)
    if json_file is not None:
        document = {"environment": where, "sizes": dict(zip(counts, measured, strict=True))}
        json_file.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main(prog_name="python -m tests.bench.growth")

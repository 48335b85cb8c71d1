"""What sends cost while retention removes a million old messages, beside what they cost without.

`python -m tests.bench.retention` serves copies of one generated database in turn, with and without
`[retention]`, and sends messages one at a time. What matters is the last column.
"""

from __future__ import annotations

import gc
import os
import shutil
import statistics
import tempfile
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import apsw
import click
from rich.console import Console
from rich.table import Table

from imserver.bench.load_error import LoadError
from imserver.bench.loop import Loop, clock
from imserver.bench.measuring import percentile
from imserver.bench.report import show_environment
from imserver.bench.runner import environment
from imserver.bench.target import OwnServer
from tests.bench.generate import generate, user
from tests.bench.growth import Session

if TYPE_CHECKING:
    from imserver.bench.target import Running

_SETTINGS: Final = "[retention]\ndays = 1\n"
_ROWS: Final = (
    ("p50", "ms"),
    ("p90", "ms"),
    ("p99", "ms"),
    ("max", "ms"),
    ("sent", "/s"),
    ("removed", "/s"),
)


def measure(
    database: Path, config: Path | None, seconds: float, core: int | None
) -> dict[str, float]:
    """Sends one at a time for so long, on a copy of a database.

    Raises:
        LoadError: there was nothing to remove any more.
    """
    with tempfile.TemporaryDirectory(dir=database.parent) as folder:
        copy = Path(folder) / database.name
        shutil.copyfile(database, copy)
        before = _count(copy)
        loop = Loop(lambda _doing, _done: None)
        try:
            with OwnServer(Path(folder), config).running(core) as server:
                times, took = _send(loop, server, seconds)
                left = _count(copy)
        finally:
            loop.close()
    removed = max(0, before + len(times) - left)  # an answer or two are not counted
    if config is not None and removed >= before:
        raise LoadError("all was removed before the end: generate more, or measure for less long")
    return {
        "p50": percentile(times, 0.5),
        "p90": percentile(times, 0.9),
        "p99": percentile(times, 0.99),
        "max": times[-1],
        "sent": len(times) / took,
        "removed": removed / took,
    }


def _send(loop: Loop, server: Running, seconds: float) -> tuple[list[float], float]:
    session = Session(loop, server, 101)
    times: list[float] = []
    begin = clock()
    while clock() - begin < seconds:
        times += session.sends(user(102), to_group=False)
    return sorted(times), clock() - begin


def _count(database: Path) -> int:
    with closing(apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READONLY)) as db:
        [(messages,)] = db.execute("SELECT count(*) FROM message")
    return int(messages)


def _show(
    console: Console, without: list[dict[str, float]], beside: list[dict[str, float]]
) -> None:
    table = Table()
    for name in ("figure (median of the runs)", "unit", "without", "while it removes", "ratio"):
        table.add_column(name, justify="left" if name.startswith(("f", "u")) else "right")
    for name, unit in _ROWS:
        one, other = (statistics.median(run[name] for run in runs) for runs in (without, beside))
        ratio = f"{other / one:.2f}" if one else ""
        table.add_row(name, unit, f"{one:,.2f}", f"{other:,.2f}", ratio)
    console.print(table)


@click.command()
@click.option("--messages", default=1_000_000, show_default=True, help="Old ones, to be removed.")
@click.option("--runs", default=5, show_default=True, help="Of each kind, in turn.")
@click.option("--seconds", default=10.0, show_default=True, help="For each run.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="Where databases are made.  [default: the temporary folder]")  # fmt: skip
@click.option("--server-core", type=int, help="Pin the server to this core.")
@click.option("--client-core", type=int, help="Pin the load to this core.")
def main(
    messages: int,
    runs: int,
    seconds: float,
    folder: Path | None,
    server_core: int | None,
    client_core: int | None,
) -> None:
    """Measure sends with retention at work, and without."""
    console = Console()
    show_environment(console, environment(folder))
    with tempfile.TemporaryDirectory(prefix="imserver-retention-", dir=folder) as data:
        filled = generate(Path(data), messages)
        console.print(f"{messages:,} messages written in {filled.seconds:.0f} s")
        config = Path(data) / "retention.toml"
        config.write_text(_SETTINGS)
        if client_core is not None:
            os.sched_setaffinity(0, {client_core})
        gc.collect()
        gc.disable()
        without, beside = [], []
        try:
            for _ in range(runs):
                without.append(measure(filled.database, None, seconds, server_core))
                beside.append(measure(filled.database, config, seconds, server_core))
        except LoadError as error:
            raise click.ClickException(str(error)) from None
    _show(console, without, beside)


if __name__ == "__main__":
    main(prog_name="python -m tests.bench.retention")

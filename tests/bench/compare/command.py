"""The command line of the comparison."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import msgspec
from rich.console import Console

from imserver.bench import runner
from imserver.bench.load import Load
from imserver.bench.report import describe, show_environment, warn
from imserver.bench.wire import ImWire
from tests.bench.compare import report
from tests.bench.compare.peers import PEERS
from tests.bench.compare.rounds import CASES, Case, Result, alternate

if TYPE_CHECKING:
    from tests.bench.compare.peers import Peer

_CORES: Final = sorted(os.sched_getaffinity(0))
_NOWHERE: Final = ("", 0)
_WIDTH: Final = 150  # columns, where there is no terminal


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--peer", "names", type=click.Choice(list(PEERS)), multiple=True,
              help="Compare these alone; may be repeated.  [default: all]")  # fmt: skip
@click.option("--case", "cases", type=click.Choice(list(CASES)), multiple=True,
              help="Measure these alone; may be repeated.  [default: all]")  # fmt: skip
@click.option("--runs", type=click.IntRange(1), default=5, show_default=True,
              help="Rounds: each peer once in each; medians are reported.")  # fmt: skip
@click.option("--duration", type=click.FloatRange(0, min_open=True), default=5.0,
              show_default=True, help="Seconds measured in each run.")  # fmt: skip
@click.option("--warmup", type=click.FloatRange(0), default=1.0, show_default=True,
              help="Seconds before that.")  # fmt: skip
@click.option("--pairs", type=click.IntRange(1), default=50, show_default=True,
              help="direct: pairs of users.")  # fmt: skip
@click.option("--members", type=click.IntRange(2), default=1000, show_default=True,
              help="group: its members, the sender included.")  # fmt: skip
@click.option("--size", type=click.IntRange(1, 10_000), default=60, show_default=True,
              help="Characters of each message's content.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Makes runs repeatable.")
@click.option("--server-core", type=click.Choice(_CORES), default=_CORES[0], show_default=True,
              help="Pin the servers to this core.")  # fmt: skip
@click.option("--client-core", type=click.Choice(_CORES), default=_CORES[-1], show_default=True,
              help="Pin the load to this core.")  # fmt: skip
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path),
              help="Write everything as JSON to this file, anew after every run.")  # fmt: skip
def compare(
    names: tuple[str, ...],
    cases: tuple[str, ...],
    runs: int,
    server_core: int,
    client_core: int,
    json_file: Path | None,
    **parameters: Any,
) -> None:
    """Put the loads of `imserver bench` on imserver and on its peers, in turn.

    Servers keep their files in temporary folders; TMPDIR says where.
    """
    # Whoever ends us must not leave a server behind.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    console = Console(width=None if sys.stdout.isatty() else _WIDTH)
    environment = runner.environment(None)
    show_environment(console, environment)
    disk = runner.disk_warning(environment)
    if disk is not None:
        warn(console, disk.replace("--data", "TMPDIR"))
    peers = _installed(console, names or tuple(PEERS))
    asked = {"runs": runs, "server_core": server_core, "client_core": client_core, **parameters}
    told: list[dict[str, Any]] = []
    failed = False
    for case in (CASES[name] for name in cases or tuple(CASES)):
        able = [peer for peer in peers if case.scenario in peer.wires]
        load = _load(case, client_core, parameters)
        results: list[Result] = []
        for results, last in alternate(case, able, load, runs=runs, server_core=server_core):
            print(_line(case, last), file=sys.stderr, flush=True)
            if json_file is not None:
                document = {
                    "environment": environment,
                    "asked": asked,
                    "results": told + report.told(case, results),
                }
                json_file.write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
        told += report.told(case, results)
        title = f"{case.name}: {describe(case.scenario, msgspec.structs.asdict(load))}"
        report.show(console, case, title, results)
        failed = failed or any(result.failures for result in results)
    raise SystemExit(1 if failed else 0)


def _installed(console: Console, names: tuple[str, ...]) -> list[Peer]:
    installed = []
    for peer in (PEERS[name] for name in names):
        version = peer.version()
        if version is None:
            console.print(f"{peer.name} is not here: {peer.install}", soft_wrap=True, markup=False)
        else:
            console.print(f"{peer.name}: {version}", soft_wrap=True, highlight=False)
            installed.append(peer)
    return installed


def _load(case: Case, core: int, parameters: dict[str, Any]) -> Load:
    return Load(
        scenario=case.scenario,
        wire=ImWire,
        address=_NOWHERE,
        core=core,
        in_flight=case.in_flight,
        rate=1.0,
        backlog=1,
        page=1,
        **parameters,
    )


def _line(case: Case, result: Result) -> str:
    number = len(result.runs) + len(result.failures)
    if result.failures and result.failures[-1].startswith(f"run {number}:"):
        return f"{case.name}, {result.peer}, {result.failures[-1]}"
    figure = result.runs[-1][case.figure]
    return f"{case.name}, {result.peer}, run {number}: {figure:,.0f} {case.unit}"

"""The command line of the bench."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from imserver.bench import report, runner
from imserver.bench.load import Load
from imserver.bench.load_error import LoadError
from imserver.bench.scenarios.table import SCENARIOS
from imserver.bench.target import GivenServer, OwnServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from imserver.bench import load as loads
    from imserver.bench.target import BenchTarget

ALL: Final = "all"
_F = TypeVar("_F", bound="Callable[..., Any]")
_NOWHERE: Final = ("", 0)


def _count(name: str, default: int | None, help_text: str, least: int = 1) -> Callable[[_F], _F]:
    return click.option(
        name, type=click.IntRange(least), default=default, show_default=True, help=help_text
    )


def _seconds(name: str, default: float, help_text: str, least: float = 0.0) -> Callable[[_F], _F]:
    return click.option(
        name, type=click.FloatRange(least), default=default, show_default=True, help=help_text
    )


def _core(name: str, help_text: str) -> Callable[[_F], _F]:
    return click.option(
        name, type=click.Choice(sorted(map(str, os.sched_getaffinity(0)))), help=help_text
    )


def _path(name: str, help_text: str, **kind: Any) -> Callable[[_F], _F]:
    return click.option(name, type=click.Path(path_type=Path, **kind), help=help_text)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.argument("scenario", type=click.Choice([*SCENARIOS, ALL]))
@click.option("--url", help="Measure the server at this address instead of an own one.")
@_path("--ca-file", "The certificates to trust a server that speaks TLS with, in PEM.  "
       "[default: what the system trusts]", exists=True, dir_okay=False)  # fmt: skip
@click.option("--server-pid", type=click.IntRange(1),
              help="With --url: its process, to read its CPU and memory from.")  # fmt: skip
@_path("--data", "Data folder of the own server, kept.  [default: a temporary one]",
       file_okay=False)  # fmt: skip
@_path("--config", "Settings file of the own server.  [default: none]", exists=True, dir_okay=False)
@_seconds("--duration", 5.0, "Seconds measured in each run.", least=0.01)
@_seconds("--warmup", 1.0, "Seconds before that.")
@_count("--runs", 3, "Runs, each on a fresh server; medians are reported.")
@_count("--size", 60, "Characters of each message's content.")
@click.option("--idempotent", is_flag=True, help="Give each message a client_msg_id of its own.")
@_count("--pairs", 50, "direct, acks: pairs of users.")
@_count("--in-flight", None, "direct, acks, group: messages under way.  [default: 8, in a group 4]")
@_count("--members", 1000, "group: its members, the sender included.", least=2)
@_count("--connections", None, "rest, sync: connections.  [default: 16 and 1]")
@_count("--sessions", None, "latency, idle: sessions.  [default: 200 and 10000]", least=2)
@_count("--backlog", 20_000, "sync: messages to page through.")
@click.option("--page", type=click.IntRange(1, 200), default=200, show_default=True,
              help="sync: messages a page.")  # fmt: skip
@click.option("--rate", type=click.FloatRange(0, min_open=True), default=1000.0, show_default=True,
              help="latency: messages a second, over all sessions.")  # fmt: skip
@click.option("--seed", type=int, default=1, show_default=True, help="Makes runs repeatable.")
@_core("--server-core", "Pin the server to this core.")
@_core("--client-core", "Pin the load client to this core.")
@click.option("--json", "json_file", type=click.File("wb", lazy=False),
              help="Write everything as JSON to a file, or to standard output with -.")  # fmt: skip
def bench(
    scenario: str,
    url: str | None,
    ca_file: Path | None,
    server_pid: int | None,
    data: Path | None,
    config: Path | None,
    runs: int,
    server_core: str | None,
    client_core: str | None,
    json_file: Any,
    **parameters: Any,
) -> None:
    """Measure how fast a server is on this machine.

    Without --url, each run starts a server of its own with its defaults, on a new database.
    """
    # Whoever ends us must not leave a server behind.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    target: BenchTarget
    try:
        target = OwnServer(data, config) if url is None else GivenServer(url, server_pid)
        environment = runner.environment(data)
        quiet = json_file is not None and json_file.name in ("-", "<stdout>")
        console = Console(stderr=quiet)
        if not quiet:
            report.show_environment(console, environment)
            disk = runner.disk_warning(environment)
            if url is None and disk is not None:
                report.warn(console, disk)
        reports = []
        for name in SCENARIOS if scenario == ALL else (scenario,):
            load = _load(name, target, client_core, ca_file, parameters)
            measured = _measure(target, load, runs, server_core)
            reports.append(measured)
            if not quiet:
                report.show(console, measured)
    except (LoadError, OSError) as error:
        print(f"imserver: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    if json_file is not None:
        document = {"environment": environment, "reports": reports}
        json_file.write(msgspec.json.format(msgspec.json.encode(document)) + b"\n")


def _load(
    name: str,
    target: BenchTarget,
    core: str | None,
    ca_file: Path | None,
    parameters: dict[str, Any],
) -> loads.Load:
    given = {name: value for name, value in parameters.items() if value is not None}
    return Load(
        scenario=name,
        wire=target.wire,
        address=_NOWHERE,
        ca_file=None if ca_file is None else str(ca_file),
        core=None if core is None else int(core),
        **{**SCENARIOS[name].defaults, **given},
    )


def _measure(
    target: BenchTarget, load: loads.Load, runs: int, server_core: str | None
) -> runner.Report:
    core = None if server_core is None else int(server_core)
    console = Console(stderr=True)
    with Progress(
        TextColumn(load.scenario),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("starting", total=1.0)

        def progress(number: int, said: loads.Progressed) -> None:
            bar.update(
                task, completed=said.done, description=f"run {number + 1} of {runs}: {said.doing}"
            )

        return runner.run(target, load, runs=runs, server_core=core, progress=progress)

"""The comparison for people: one table a case."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from rich import box
from rich.markup import escape
from rich.table import Table

from imserver.bench.report import warn
from tests.bench.compare.peers import OURS
from tests.bench.compare.rounds import crowded

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from tests.bench.compare.rounds import Case, Result

_CPU: Final = ("server_us", "server_cpu", "client_cpu", "other_cpu")


def show(console: Console, case: Case, title: str, results: Sequence[Result]) -> None:
    """Print what every peer did in a case, and what is to be said against it."""
    ours = _ours(results)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("peer")
    table.add_column("durability")
    for heading in (
        case.unit,
        "lowest",
        "highest",
        "imserver is",
        "p50 ms",
        "p99 ms",
        "server\nµs each",
        "server\nCPU %",
        "load\nCPU %",
        "others'\nCPU %",
        "runs",
    ):
        table.add_column(heading, justify="right")
    for result in results:
        table.add_row(result.peer, result.durability, *_cells(case, result, ours))
    console.print(title, style="bold", highlight=False, soft_wrap=True)
    console.print(table)
    for result in results:
        for warning in result.warnings:
            warn(console, escape(f"{result.peer}: {warning}"))
    for warning in crowded(results):
        warn(console, warning)


def told(case: Case, results: Sequence[Result]) -> list[dict[str, Any]]:
    """All of it, for JSON; `imserver_ratio` is our median over the peer's."""
    ours = _ours(results)
    return [
        {
            "case": case.name,
            "unit": case.unit,
            "peer": result.peer,
            "version": result.version,
            "durability": result.durability,
            "imserver_ratio": _ratio(case, ours, result),
            "figures": result.figures,
            "runs": result.runs,
            "warnings": result.warnings,
        }
        for result in results
    ]


def _ours(results: Sequence[Result]) -> Result | None:
    return next((result for result in results if result.peer == OURS), None)


def _ratio(case: Case, ours: Result | None, theirs: Result) -> float | None:
    if ours is None or not ours.runs or not theirs.runs:
        return None
    return ours.figures[case.figure] / theirs.figures[case.figure]


def _cells(case: Case, result: Result, ours: Result | None) -> list[str]:
    if not result.runs:
        return []
    figures = result.figures
    values = [run[case.figure] for run in result.runs]
    ratio = _ratio(case, ours, result)
    numbers = [figures[case.figure], min(values), max(values)]
    return [
        *(f"{number:,.0f}" for number in numbers),
        "" if ratio is None else f"{ratio:.2f} x",
        f"{figures['receive_p50']:.2f}",
        f"{figures['receive_p99']:.2f}",
        *(f"{figures[name]:.{1 if name == 'server_us' else 0}f}" for name in _CPU),
        str(len(result.runs)),
    ]

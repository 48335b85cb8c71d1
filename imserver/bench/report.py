"""Reports for people: one table a scenario, and warnings about its figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from imserver.bench.scenarios.table import SCENARIOS

if TYPE_CHECKING:
    from rich.console import Console

    from imserver.bench.runner import Report


def describe(name: str, asked: dict[str, Any]) -> str:
    """A scenario and its parameters, in one line."""
    return SCENARIOS[name].summary.format(**asked)


def show(console: Console, report: Report) -> None:
    """Print a report."""
    runs = len(report.runs)
    title = f"{report.scenario}: {describe(report.scenario, report.asked)}"
    console.print(title, style="bold", soft_wrap=True, highlight=False)
    table = Table()
    table.add_column("figure")
    table.add_column("median of " + str(runs) if runs > 1 else "value", justify="right")
    if runs > 1:
        table.add_column("lowest", justify="right")
        table.add_column("highest", justify="right")
    table.add_column("unit")
    for figure in SCENARIOS[report.scenario].figures:
        if figure.name not in report.figures:
            continue
        values = [run[figure.name] for run in report.runs if figure.name in run]
        shown = [report.figures[figure.name]]
        if runs > 1:
            shown += [min(values), max(values)]
        table.add_row(
            figure.label, *(f"{value:,.{figure.digits}f}" for value in shown), figure.unit
        )
    console.print(table)
    for warning in report.warnings:
        warn(console, warning)


def warn(console: Console, sentence: str) -> None:
    """Print a warning about a measurement."""
    console.print(f"warning: {sentence}", style="yellow", soft_wrap=True, highlight=False)


def show_environment(console: Console, environment: dict[str, Any]) -> None:
    """Print where it was measured."""
    console.print(
        "imserver {imserver}, Python {python}, Linux {kernel}, {processor}, {cores} cores, "
        "database on {filesystem}, load average {load_average:.1f}".format(**environment),
        soft_wrap=True,
        highlight=False,
    )

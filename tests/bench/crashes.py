"""How often a server may be killed under load without losing anything.

    python -m tests.bench.crashes --cycles 200

Each cycle starts the server, lets four users talk with eight sends each in flight, to each other
and to a group, kills the process (`kill -9`) at no moment in particular, and starts it again, every
fourth time or so after a start that was killed too. Then everybody syncs: what was acknowledged
must be there, in its place, once, in the order in which each had sent; what was pushed and what was
read must still be so. What had no answer is sent again with its `client_msg_id`, and some of what
had one, and must be there once. In the end `imserver check` has to find nothing.

Figures go to standard output as JSON. Ends with 1 where anything was lost, doubled or reordered.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.support.crashes import MOST_ANSWERS, crash_again_and_again

if TYPE_CHECKING:
    from tests.support.crashes import Ledger

_WHOLE_EVERY = 20  # cycles after which everything is looked at, not only what is new


@click.command()
@click.option("--cycles", default=200, show_default=True, help="How often it is killed.")
@click.option(
    "--answers", default=MOST_ANSWERS, show_default=True, help="Sends in a cycle, at the most."
)
@click.option("--data", type=click.Path(path_type=Path), help="Keep the database here.")
def main(cycles: int, answers: int, data: Path | None) -> None:
    """Kill a server again and again, and look for what is missing."""
    begun = time.monotonic()
    seen: dict[str, int] = {"cycles": 0}
    columns = (
        TextColumn("killed"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[sends]} sends"),
        TimeRemainingColumn(),
    )
    failure = None
    with (
        tempfile.TemporaryDirectory(prefix="imserver-crashes-") as folder,
        Progress(*columns, console=Console(stderr=True)) as bar,
    ):
        task = bar.add_task("", total=cycles, sends=0)

        def progress(cycle: int, ledger: Ledger) -> None:
            seen.update(_figures(cycle, ledger))
            bar.update(task, completed=cycle, sends=seen["acknowledged"])

        where = data or Path(folder)
        where.mkdir(parents=True, exist_ok=True)
        try:
            trio.run(_crash, where, cycles, answers, progress)
        except* AssertionError as errors:
            failure = str(_first(errors)) or "a promise was broken"
    result = seen | {"seconds": round(time.monotonic() - begun), "failure": failure}
    print(json.dumps(result, indent=2))
    sys.exit(0 if failure is None else 1)


async def _crash(folder, cycles, answers, progress) -> None:
    await crash_again_and_again(
        folder, cycles, progress, whole_every=_WHOLE_EVERY, most_answers=answers
    )


def _figures(cycle: int, ledger: Ledger) -> dict[str, int]:
    return {
        "cycles": cycle,
        "acknowledged": len(ledger.promised),
        "unanswered_when_killed": ledger.unanswered,
        "of_them_stored": ledger.found,
        "sent_again": ledger.repeats,
        "pushes": sum(map(len, ledger.pushed.values())),
        "acks": sum(map(len, ledger.read.values())),
    }


def _first(errors: BaseException) -> BaseException:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


if __name__ == "__main__":
    main()

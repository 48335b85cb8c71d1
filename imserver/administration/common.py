"""What these commands have in common: how they reach the server, and how they say what it did."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import trio
from rich.console import Console
from rich.table import Table
from rich.text import Text

from imserver.administration.control import NotDoneError, command
from imserver.commands import fail, first_password_sentence, settings_of
from imserver.store.database import StoreError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from imserver.administration.control import Control
    from imserver.server import Server

T = TypeVar("T")

PAGE = 200  # of what is read page by page

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one object a line."
)


def run(
    context: click.Context,
    config: Path | None,
    data: str | None,
    work: Callable[[Control], Awaitable[T]],
    *,
    running: bool = False,
    founding: bool = False,
) -> T:
    """Do some work on the server; it may print only where `running`.

    With `running`, only on one that runs already; `founding` may make a database where there is
    none. What goes wrong is said in one sentence, and the process ends with 1.
    """
    settings = settings_of(context, config, data)
    if not (running or founding or Path(settings.database_path).exists()):
        fail(f"there is no database {settings.database_path}")

    async def main() -> T:
        return await command(settings, work, running=running, started=_tell_of_the_first)

    try:
        return trio.run(main)
    except (NotDoneError, StoreError) as error:
        fail(str(error))
    except BaseException as error:
        if _is_interrupt(error):
            raise SystemExit(130) from None
        raise


def _is_interrupt(error: BaseException) -> bool:
    # What interrupts a server of this process comes in a group.
    if isinstance(error, BaseExceptionGroup):
        return all(_is_interrupt(each) for each in error.exceptions)
    return isinstance(error, KeyboardInterrupt)


def _tell_of_the_first(server: Server) -> None:
    if server.first_password is not None:
        print(first_password_sentence(server.first_password), file=sys.stderr)


def put(text: str) -> None:
    """Print a line, or several; whoever reads them may have enough before the end."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # Nothing more can be said there, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def put_lines(objects: Iterable[Any]) -> None:
    """Print JSON, one object a line."""
    for each in objects:
        put(json.dumps(each, ensure_ascii=False))


def put_table(names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, as wide as the terminal; elsewhere as wide as it is."""
    table = Table(box=None, pad_edge=False, show_header=any(names))
    for name in names:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    wide = None if sys.stdout.isatty() else 10_000
    console = Console(width=wide, highlight=False, markup=False, emoji=False)
    with console.capture() as printed:
        console.print(table)
    put("\n".join(line.rstrip() for line in printed.get().splitlines()))

"""How commands print what a server has answered."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, one object a line."
)


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

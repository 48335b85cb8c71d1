"""What the commands that work on the data have in common, such as a progress bar."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from imserver.cli.options import SETTINGS, fail, located, settings_of
from imserver.store.database import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Bar:
    """A progress bar on standard error, if that is a terminal and nobody wants quiet."""

    def __init__(self, quiet: bool) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=False),
            TimeElapsedColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
            redirect_stdout=False,  # it would go to standard error
        )
        self._doing = ""

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, doing: str, done: int, total: int) -> None:
        """See `files.Progress`."""
        if doing != self._doing:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._bar.add_task(escape(doing), total=total or None)
            self._doing = doing
        self._bar.update(self._bar.task_ids[-1], completed=done, total=total or None)


def data_command(name: str, epilog: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with what all of them have: where the data is, and quiet."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
        return click.command(name, context_settings=SETTINGS, epilog=epilog)(
            click.pass_context(located(quiet(function)))
        )

    return decorate


def database_of(context: click.Context, config: Path | None, data: str | None) -> Path:
    """The database that the server has."""
    return Path(settings_of(context, config, data).database_path)


@contextmanager
def working(quiet: bool) -> Iterator[Bar]:
    """Long work: with a progress bar, cleaned up after when it is ended by a signal."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        with Bar(quiet) as bar:
            yield bar
    except StoreError as error:
        fail(str(error))
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def refuse_to_replace(target: Path, force: bool) -> None:
    """Refuse to replace a file that is there, unless `force` is given."""
    if target.exists() and not force:
        fail(f"{target} exists already: --force replaces it")


class OutputFile(click.Path):
    """A file to write; with a slash at the end it is a folder, which must be there."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """See `click.ParamType`."""
        if isinstance(value, Path):
            return value
        if value.endswith("/") and not Path(value).is_dir():
            self.fail(f"there is no folder {value}", param, ctx)
        return Path(value)


def now_ms() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000

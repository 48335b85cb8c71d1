"""What the commands have in common: where the server's data is, and how they refuse."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeVar

import click

from imserver.config import Config, ConfigError, load_config
from imserver.domain.model import FIRST_ADMINISTRATOR

if TYPE_CHECKING:
    from collections.abc import Callable

F = TypeVar("F", bound="Callable[..., Any]")

SETTINGS: Final = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
PATH: Final = click.Path(path_type=Path)


def fail(sentence: str) -> NoReturn:
    """Say what is wrong in one sentence, and exit with 1."""
    print(f"imserver: {sentence}", file=sys.stderr)
    raise SystemExit(1)


def examples(*lines: str) -> str:
    """Examples, for the end of a command's help."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def located(function: F) -> F:
    """Give a command the options that say where the data is; see `settings_of`."""
    for option in (
        click.option("--data", help="Folder that holds everything.  [default: data]"),
        click.option("--config", type=PATH,
                     help="Settings file.  [default: config.toml, if it is there]"),
    ):  # fmt: skip
        function = option(function)
    return function


def settings_of(context: click.Context, config: Path | None, data: str | None) -> Config:
    """The settings that the server has; the options may stand before the command too."""
    outer = context.find_root().params
    try:
        settings = load_config(
            config or outer.get("config"), flags={"data": data or outer.get("data")}
        )
    except ConfigError as error:
        fail(str(error))
    if settings.database == ":memory:":
        fail("a database in memory is gone when its server is")
    return settings


def first_password_sentence(password: str) -> str:
    """What is told once of the administrator that a start has made, and nowhere else."""
    return (
        f"imserver: the first administrator is {FIRST_ADMINISTRATOR}, with this password for one "
        f"login: {password}"
    )

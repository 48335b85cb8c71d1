"""Where the chat is shown, and where lines come from: a screen, or two pipes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, Protocol

from imserver.chat.pipes import Pipes

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

BOLD: Final = "1"
DIM: Final = "2"
_INCAPABLE: Final = ("dumb", "unknown")  # terminals on which no line can be edited

Completion = Callable[[str], Iterable[str]]


class Terminal(Protocol):
    """What the chat needs of both."""

    def style(self, text: str, style: str) -> str:
        """The text in a style, where there are any."""

    @property
    def columns(self) -> int | None:
        """How wide it is; None: lines are as long as they are."""

    def show(self, text: str) -> None:
        """Print whole lines, above what is being typed.

        Raises:
            BrokenPipeError: nobody reads them.
        """

    def ask(self, prompt: str, *, hidden: bool = False) -> None:
        """What stands before the line that is being typed; `hidden`: it is a secret."""

    async def line(self) -> str | None:
        """The next line that the user enters; None at the end of input."""


@asynccontextmanager
async def open_terminal(complete: Completion) -> AsyncIterator[Terminal]:
    """The terminal, or the pipes; afterwards everything is as it was.

    `complete` is asked for what may stand in place of the last word of a line, up to the cursor.
    """
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    capable = os.environ.get("TERM", "") not in _INCAPABLE
    if not (capable and sys.stdin.isatty() and sys.stdout.isatty()):
        with Pipes() as pipes:
            yield pipes
        return
    # Not loaded for pipes: it takes a tenth of a second.
    from imserver.chat.screen import open_screen

    async with open_screen(complete) as screen:
        yield screen

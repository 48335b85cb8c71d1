"""What signals do before there is a server, and what was asked of it by then.

Loads next to nothing: the first handler stands before anything else is imported.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType

_STOPS = (signal.SIGTERM, signal.SIGINT)


def end_on_sigterm() -> None:
    """End at once on SIGTERM, also as the first process of a container.

    The kernel drops signals for that process unless it has a handler of its own.
    """
    if signal.SIGTERM in heeded():
        signal.signal(signal.SIGTERM, _end)


def heeded() -> list[signal.Signals]:
    """The signals that ask a server to stop, except those that this process was told to ignore.

    A shell has what it runs in the background ignore SIGINT.
    """
    return [number for number in _STOPS if signal.getsignal(number) is not signal.SIG_IGN]


class Asked:
    """Remembers the first signal to stop, where ending at once would be too rude."""

    def __init__(self) -> None:
        self.number: int | None = None

    def listen(self) -> None:
        """Remember from now on."""
        for number in heeded():
            signal.signal(number, self._remember)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number = number


def _end(number: int, frame: FrameType | None) -> None:
    os._exit(128 + number)  # as the signal itself would: nothing was begun that needs an end

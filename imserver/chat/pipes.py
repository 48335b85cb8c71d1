"""The chat without a terminal: a line out for each that comes in, no prompt, no escape code."""

from __future__ import annotations

import codecs
import os
import sys
from collections import deque
from typing import Final, Self

import trio

try:
    import termios
except ImportError:  # not on this system
    _has_termios = False
else:
    _has_termios = True

_READ_BYTES: Final = 4096


class Pipes:
    """Owner of standard input and output while the chat runs; see `Terminal`."""

    columns: int | None = None

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""  # of a line that has not ended
        self._lines: deque[str] = deque()
        self._pollable = True  # whether the system tells when standard input can be read
        self._ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        _echo(on=True)

    def style(self, text: str, style: str) -> str:
        """See `Terminal`: there are none."""
        return text

    def show(self, text: str) -> None:
        """See `Terminal`."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def ask(self, prompt: str, *, hidden: bool = False) -> None:
        """See `Terminal`: there is no prompt, but a secret is not shown where lines are typed."""
        _echo(on=not hidden)

    async def line(self) -> str | None:
        """See `Terminal`."""
        while not self._lines and not self._ended:
            data = await self._read()
            if data:
                *lines, self._rest = (self._rest + self._decoder.decode(data)).split("\n")
                self._lines += (line.removesuffix("\r") for line in lines)
            else:
                self._ended = True
                if self._rest:
                    self._lines.append(self._rest)
        return self._lines.popleft() if self._lines else None

    async def _read(self) -> bytes:
        """The next bytes of standard input, without keeping anybody waiting; none at its end."""
        number = sys.stdin.fileno()
        if self._pollable:
            try:
                await trio.lowlevel.wait_readable(number)
                return os.read(number, _READ_BYTES)
            except OSError:  # a file, or a console that cannot be waited for
                self._pollable = False
        try:
            return await trio.to_thread.run_sync(
                os.read, number, _READ_BYTES, abandon_on_cancel=True
            )
        except OSError:
            return b""


def _echo(*, on: bool) -> None:
    """Say whether the terminal, if standard input is one, shows what is typed."""
    if not (_has_termios and sys.stdin.isatty()):
        return
    number = sys.stdin.fileno()
    now = termios.tcgetattr(number)
    flags = now[3] | termios.ECHO if on else now[3] & ~termios.ECHO
    if flags != now[3]:
        now[3] = flags
        termios.tcsetattr(number, termios.TCSADRAIN, now)

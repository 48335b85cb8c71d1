"""The screen and the keyboard, or two pipes.

On a terminal the line that is being typed stays below what comes in: the terminal's own echo is
off, and the line is drawn again after each message. In pipes there is neither prompt nor escape
code, and a line goes out for each that comes in.
"""

from __future__ import annotations

import codecs
import os
import shutil
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio

from imserver.chat.editor import Editor, EndOfInput

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

try:
    import termios
except ImportError:  # not on this system: then lines come as the console gives them
    _has_termios = False
else:
    _has_termios = True

_READ_BYTES: Final = 4096
_CLEAR: Final = "\r\x1b[K"
BOLD: Final = "1"
DIM: Final = "2"


class Terminal:
    """Owner of standard input and output while the chat runs; made by `open_terminal`."""

    def __init__(self, *, interactive: bool) -> None:
        self.interactive = interactive
        self._colour = interactive and not os.environ.get("NO_COLOR")
        self._editor = Editor()
        self._prompt = ""
        self._pollable = True  # whether the system tells when standard input can be read

    def style(self, text: str, style: str) -> str:
        """The text in a style, where there are any."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour else text

    def show(self, text: str) -> None:
        """Print whole lines, above what is being typed.

        Raises:
            BrokenPipeError: nobody reads them.
        """
        if self.interactive:
            self._write(f"{_CLEAR}{text}\n{self._line()}")
        else:
            self._write(f"{text}\n")

    def ask(self, prompt: str) -> None:
        """What stands before the line that is being typed."""
        self._prompt = prompt
        self._redraw()

    async def lines(self) -> AsyncGenerator[str, None]:
        """What the user enters, line by line, until the end of input."""
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        rest = ""
        while data := await self._read():
            text = decoder.decode(data)
            if self.interactive:
                try:
                    lines = self._editor.feed(text)
                except EndOfInput:
                    return
                self._redraw()
            else:
                *lines, rest = (rest + text).split("\n")
            for line in lines:
                yield line.removesuffix("\r")
        if rest:
            yield rest

    def leave(self) -> None:
        """Clean the last row up."""
        if self.interactive:
            with suppress(OSError):
                self._write(_CLEAR)

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

    def _redraw(self) -> None:
        if self.interactive:
            self._write(_CLEAR + self._line())

    def _line(self) -> str:
        shown, column = self._editor.render(self._prompt, shutil.get_terminal_size().columns)
        return f"{shown}\r\x1b[{column}C" if column else f"{shown}\r"

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


@contextmanager
def open_terminal() -> Iterator[Terminal]:
    """The terminal, or the pipes; afterwards everything is as it was."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
    interactive = _has_termios and sys.stdin.isatty() and sys.stdout.isatty()
    terminal = Terminal(interactive=interactive)
    if not interactive:
        yield terminal
        return
    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    ours = termios.tcgetattr(number)
    ours[3] &= ~(termios.ICANON | termios.ECHO)
    # Suspended, the terminal would be left without its echo.
    ours[6][termios.VSUSP] = b"\0"
    termios.tcsetattr(number, termios.TCSADRAIN, ours)
    try:
        yield terminal
    finally:
        terminal.leave()
        termios.tcsetattr(number, termios.TCSADRAIN, before)

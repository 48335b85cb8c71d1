"""`imserver chat` as its users start it: in pipes, and in a terminal."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from tests.client.support import LONG
from tests.e2e.process import environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

CHAT = [sys.executable, "-m", "imserver", "chat"]

# The first terminal that the leader of a session opens is the one whose Ctrl-C reaches it.
_AS_LEADER = """
import os, sys
os.close(os.open(os.ttyname(0), os.O_RDWR))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


# Escape sequences, carriage returns and steps back.
_STEERING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\b]")


class Window:
    """A running chat: what it shows, and a keyboard."""

    def __init__(self, process: trio.Process, keyboard: Callable[[bytes], Awaitable[None]]) -> None:
        self.process = process
        self.echoes = lambda: False  # whether its terminal shows by itself what is typed
        self.raw = ""  # everything so far, as it came
        self.shown = ""  # the same, without what steers the terminal
        self._seen = 0  # how much of it the test has looked at
        self._keyboard = keyboard
        self._more = trio.Event()

    async def type(self, text: str) -> None:
        await self._keyboard(text.encode())

    async def sees(self, text: str) -> None:
        """Wait until a text is shown, after what was waited for before."""
        with trio.move_on_after(LONG):
            while True:
                found = self.shown.find(text, self._seen)
                if found >= 0:
                    self._seen = found + len(text)
                    return
                await self._more.wait()
        raise AssertionError(f"{text!r} is not in {self.shown[self._seen :]!r}")

    def take(self, data: bytes) -> None:
        self.raw += data.decode(errors="replace")
        self.shown = _STEERING.sub("", self.raw)
        self._more.set()
        self._more = trio.Event()

    async def ended(self) -> int:
        with trio.fail_after(LONG):
            return await self.process.wait()


@asynccontextmanager
async def window(*arguments: str, **variables: str) -> AsyncIterator[Window]:
    """A chat in pipes; both outputs are shown."""
    process = await trio.lowlevel.open_process(
        [*CHAT, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(**variables),
    )
    assert process.stdin is not None
    assert process.stdout is not None
    opened = Window(process, process.stdin.send_all)

    async def read() -> None:
        async for data in process.stdout:
            opened.take(data)

    async with process.stdin, process.stdout, trio.open_nursery() as nursery:
        nursery.start_soon(read)
        try:
            yield opened
        finally:
            await _end(process)


@asynccontextmanager
async def terminal_window(
    *arguments: str, columns: int = 60, kind: str = "xterm"
) -> AsyncIterator[Window]:
    """A chat in a terminal of its own."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", _AS_LEADER, *CHAT[1:], *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment(TERM=kind),
        start_new_session=True,
    )

    async def keyboard(data: bytes) -> None:
        await trio.lowlevel.wait_writable(ours)
        os.write(ours, data)

    opened = Window(process, keyboard)
    opened.echoes = lambda: bool(termios.tcgetattr(theirs)[3] & termios.ECHO)

    async def read() -> None:
        while True:
            await trio.lowlevel.wait_readable(ours)
            opened.take(os.read(ours, 4096))

    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            try:
                yield opened
            finally:
                await _end(process)
                nursery.cancel_scope.cancel()
    finally:
        os.close(ours)
        os.close(theirs)


async def _end(process: trio.Process) -> None:
    if process.returncode is None:
        process.send_signal(signal.SIGKILL)
    with trio.CancelScope(shield=True):
        await process.wait()

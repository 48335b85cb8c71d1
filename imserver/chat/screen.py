"""The chat in a terminal: the line being typed stays below what comes in.

Laws:

- The line editor is prompt_toolkit's. It runs an event loop of its own, so it has a thread of its
  own, and nothing outside this module knows of either.
- The thread hands lines to trio with `run_sync_soon`; trio reaches the editor's loop with
  `call_soon_threadsafe`, and prints through prompt_toolkit's proxy, made for other threads.
- The thread ends before `open_screen` does: then the terminal is as it was.
"""

from __future__ import annotations

import os
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio
from prompt_toolkit import PromptSession
from prompt_toolkit.completion import Completer
from prompt_toolkit.completion import Completion as Proposal
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.key_binding import KeyBindings
from prompt_toolkit.patch_stdout import StdoutProxy
from prompt_toolkit.shortcuts import CompleteStyle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from prompt_toolkit.completion import CompleteEvent
    from prompt_toolkit.document import Document
    from prompt_toolkit.key_binding import KeyPressEvent

    from imserver.chat.terminal import Completion

_MOST_LINES: Final = 1000  # typed ahead
_BUNDLE: Final = 0.02  # seconds in which what is printed is put together


class Screen:
    """Owner of the terminal while the chat runs; see `Terminal`. Made by `open_screen`."""

    def __init__(self, complete: Completion) -> None:
        self._colour = not os.environ.get("NO_COLOR")
        self._prompt = ""
        self._hidden = False
        self._typed, self._lines = trio.open_memory_channel[str](_MOST_LINES)
        self._token = trio.lowlevel.current_trio_token()
        self.started = trio.Event()
        # Each print would wait for the terminal's answer to where the cursor is.
        os.environ.setdefault("PROMPT_TOOLKIT_NO_CPR", "1")
        self._session: PromptSession[str] = PromptSession(
            lambda: self._prompt,
            is_password=Condition(lambda: self._hidden),
            completer=_Names(complete),
            complete_while_typing=False,
            complete_style=CompleteStyle.READLINE_LIKE,
            reserve_space_for_menu=0,
            key_bindings=self._keys(),
            erase_when_done=True,
        )
        self._proxy = StdoutProxy(sleep_between_writes=_BUNDLE, raw=True)

    def style(self, text: str, style: str) -> str:
        """See `Terminal`."""
        return f"\x1b[{style}m{text}\x1b[0m" if self._colour else text

    @property
    def columns(self) -> int | None:
        """See `Terminal`."""
        return self._session.app.output.get_size().columns

    def show(self, text: str) -> None:
        """See `Terminal`."""
        self._proxy.write(f"{text}\n")

    def ask(self, prompt: str, *, hidden: bool = False) -> None:
        """See `Terminal`."""
        self._prompt = prompt
        self._hidden = hidden
        self._session.app.invalidate()

    async def line(self) -> str | None:
        """See `Terminal`."""
        try:
            return await self._lines.receive()
        except trio.EndOfChannel:
            return None

    async def run(self) -> None:
        """Edit lines until the user or `leave` ends it; not to be cancelled before `leave`."""
        with self._typed:
            await trio.to_thread.run_sync(self._edit)

    def leave(self) -> None:
        """End the editor."""
        loop = self._session.app.loop
        if loop is not None:
            with suppress(RuntimeError):  # it has ended in between
                loop.call_soon_threadsafe(self._exit)

    def close(self) -> None:
        """Print what is left; to be called when the editor has ended."""
        self._proxy.close()

    # -- in the editor's thread ---------------------------------------------------------------

    def _edit(self) -> None:
        with suppress(EOFError, KeyboardInterrupt, OSError):  # the last: the terminal is gone
            self._session.prompt(pre_run=lambda: self._token.run_sync_soon(self.started.set))

    def _exit(self) -> None:
        app = self._session.app
        if app.is_running and app.future is not None and not app.future.done():
            app.exit(exception=EOFError())

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("enter", filter=has_focus(DEFAULT_BUFFER))
        def enter(event: KeyPressEvent) -> None:
            # The editor does not end with the line: what is typed on belongs to the next one.
            buffer = event.current_buffer
            hidden = self._hidden  # before the line is out: its taker may ask for another one
            self._token.run_sync_soon(self._take, buffer.text)
            buffer.reset(append_to_history=not hidden)

        @keys.add("escape", "enter", filter=has_focus(DEFAULT_BUFFER))
        def new_line(event: KeyPressEvent) -> None:
            event.current_buffer.insert_text("\n")

        return keys

    # -- in trio's thread again ---------------------------------------------------------------

    def _take(self, line: str) -> None:
        try:
            self._typed.send_nowait(line)
        except trio.WouldBlock:
            self.show("-- too many lines are waiting; this one was not taken")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the chat is at its end


class _Names(Completer):
    """Completes the last word before the cursor, in quotes if it holds a space."""

    def __init__(self, complete: Completion) -> None:
        self._complete = complete

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterable[Proposal]:
        """See `Completer`."""
        before = document.current_line_before_cursor
        start = before.rfind(' "') + 1 if before.count('"') % 2 else before.rfind(" ") + 1
        word = before[start:]
        for name in self._complete(before):
            shown = f'"{name}"' if " " in name else name
            if shown.startswith(word) or name.startswith(word):
                yield Proposal(shown + " ", -len(word), display=name)


@asynccontextmanager
async def open_screen(complete: Completion) -> AsyncIterator[Screen]:
    """The terminal that standard input and output are; afterwards it is as it was."""
    screen = Screen(complete)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(screen.run)
            await screen.started.wait()
            try:
                yield screen
            finally:
                screen.leave()
    finally:
        screen.close()

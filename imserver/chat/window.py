"""What the window shows: messages, ticks, notes and questions, as lines of text."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from imserver.chat.terminal import BOLD, DIM, Terminal
from imserver.chat.text import laid_out, printable, shortened, width
from imserver.chat.ticks import MARKS, Tick
from imserver.domain.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imserver.chat.contacts import Contacts, Partner
    from imserver.client import Message

_SNIPPET: Final = 40  # cells
_NAME: Final = 24
_NAMED: Final = 3  # readers whose names are shown
_TICK_INDENT: Final = 6
_LEFT: Final = 22  # cells of a table's first column


class Window:
    """Shows things on a terminal, for one user."""

    def __init__(self, terminal: Terminal, contacts: Contacts, user_id: str) -> None:
        self._terminal = terminal
        self._contacts = contacts
        self._user_id = user_id

    def message(self, message: Message, partner: Partner, mark: str = "") -> None:
        """Show a message, with how far it has come."""
        style = self._terminal.style
        time = _time(message.timestamp)
        mine = message.sender_id == self._user_id
        sender = "you" if mine else message.sender_id
        where = f" to {partner.id}" if mine else ""
        if partner.is_group:
            where = f" in {self.name(partner)}"
        if message.type == "system":
            sender, where = "", f"*{where}"
        elif message.type != "text":
            where += f" ({message.type})"
        head = width(f"{time} {sender}{where}: ")
        text = message.content + (f"  {mark}" if mark else "")
        body = laid_out(text, head, self._terminal.columns)
        if mark and body.endswith(mark):
            body = body.removesuffix(mark) + style(mark, DIM)
        shown = f"{style(sender, BOLD)}{where}" if sender else where
        self._terminal.show(f"{style(time, DIM)} {shown}: {body}")

    def tick(self, tick: Tick | None) -> None:
        """Show that a message has come further."""
        if tick is None:
            return
        names = ", ".join(tick.by[:_NAMED])
        if len(tick.by) > _NAMED:
            names += f" and {len(tick.by) - _NAMED} more"
        by = (
            "" if not names else f" to {names}" if tick.level is Level.DELIVERED else f" by {names}"
        )
        line = f"{MARKS[tick.level]}{by}: {self.snippet(tick.message)}"
        body = laid_out(line, _TICK_INDENT, self._terminal.columns)
        self._terminal.show(self._terminal.style(" " * _TICK_INDENT + body, DIM))

    def note(self, text: str) -> None:
        """Show a note of the chat itself."""
        body = laid_out(text, len("-- "), self._terminal.columns)
        self._terminal.show(self._terminal.style(f"-- {body}", DIM))

    def table(self, rows: Iterable[tuple[str, str]]) -> None:
        """Show rows of two columns."""
        for left, right in rows:
            head = f"  {left:{_LEFT}} "
            self._terminal.show(head + laid_out(right, width(head), self._terminal.columns))

    def prompt(self, partner: Partner | None) -> None:
        """Show the receiver of the line that is being typed."""
        self._terminal.ask(f"{self.name(partner)}> " if partner is not None else "> ")

    def question(self, text: str, *, hidden: bool = False) -> None:
        """Ask something: the next line is the answer."""
        self._terminal.ask(f"{printable(text)} ", hidden=hidden)
        if self._terminal.columns is None:
            self.note(text)

    def name(self, partner: Partner) -> str:
        """What somebody is called, in a few cells."""
        return shortened(self._contacts.name(partner), _NAME) if partner.is_group else partner.id

    def snippet(self, message: Message) -> str:
        """The beginning of a message."""
        return shortened(message.content, _SNIPPET)


def _time(timestamp: int) -> str:
    """A time in milliseconds as the user's clock shows it, with the day if it is another one."""
    then = datetime.fromtimestamp(timestamp / 1000)
    today = then.date() == datetime.now().date()
    return then.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")

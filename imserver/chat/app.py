"""The chat itself: what is shown, what is acknowledged, and what the commands do.

Laws:

- What was shown is acknowledged as read, with one cumulative ack a conversation; what was not
  shown is not.
- Lines are carried out in the order in which they were typed, each when the one before is done;
  while there is no connection they wait.
"""

from __future__ import annotations

import shlex
from contextlib import aclosing
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple, assert_never

import trio

from imserver.chat.terminal import BOLD, DIM, Terminal
from imserver.chat.text import indented, printable, shortened
from imserver.chat.ticks import MARKS, Tick, Ticks
from imserver.client import (
    Client,
    ClientError,
    ConnectionLost,
    Disconnected,
    Gap,
    Invitation,
    Message,
    Reconnected,
    Refused,
    StatusChange,
)
from imserver.domain.model import GROUP_PREFIX, Level

if TYPE_CHECKING:
    from imserver.client import Event

HELP: Final = """\
  TEXT                  send it to whom you are talking to; // at the start for one slash
  /to USER [TEXT]       talk to a user; with a group's id, to a group
  /group NAME USER...   create a group, and talk to it
  /join ID              join a group, and talk to it
  /leave [ID]           leave a group: this one, or another
  /groups               the groups you are in
  /who                  who is in this group
  /help, /quit          this; and away (or Ctrl-D, Ctrl-C)"""

_MOST_LINES: Final = 100  # typed ahead
_GRACE: Final = 10.0  # seconds that lines may still take when the input has ended
_PARTING: Final = 2.0  # seconds that the last acks may take
_SNIPPET: Final = 40  # cells
_NAME: Final = 24
_MOST_ASKED: Final = 20  # own messages whose status is asked for after a reconnect


class Peer(NamedTuple):
    """Whom somebody talks to: a user or a group."""

    id: str
    is_group: bool


def peer_of(message: Message, user_id: str) -> Peer:
    """The conversation of a message, as `user_id` sees it."""
    if message.group_id is not None:
        return Peer(message.group_id, True)
    if message.sender_id != user_id:
        return Peer(message.sender_id, False)
    return Peer(message.receiver_id or user_id, False)


class Chat:
    """One chat window."""

    def __init__(self, client: Client, terminal: Terminal, peer: Peer | None) -> None:
        self._client = client
        self._terminal = terminal
        self._peer = peer
        self._has_talked = peer is not None  # to anybody
        self._names: dict[str, str] = {}  # of groups, by id
        self._ticks = Ticks(client.user_id)
        self._shown: dict[Peer, str] = {}  # the last message of each, to be acknowledged
        self._news = trio.Event()  # set when there is something to acknowledge
        self._unfinished = 0  # lines that were entered and not carried out
        self._failure: ClientError | None = None

    async def run(self) -> int:
        """Chat until the input ends or the user leaves.

        Returns:
            How many lines could not be carried out.

        Raises:
            ClientError: the server wants this user no more.
            BrokenPipeError: nobody reads what is shown.
        """
        if self._peer is None:
            self._note("/to USER says whom you are talking to; /help tells the rest")
        self._update_prompt()
        lines, typed = trio.open_memory_channel[str](_MOST_LINES)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow, nursery)
            nursery.start_soon(self._acknowledge)
            with trio.CancelScope() as scope:
                nursery.start_soon(self._read, lines, scope)
                await self._work(typed)
            nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        with trio.move_on_after(_PARTING):
            await self._acknowledge_shown()
        return self._unfinished

    # -- from the server ----------------------------------------------------------------------

    async def _follow(self, nursery: trio.Nursery) -> None:
        try:
            async for event in self._client:
                self._take(event, nursery)
        except ClientError as error:
            self._failure = error
            nursery.cancel_scope.cancel()

    def _take(self, event: Event, nursery: trio.Nursery) -> None:
        match event:
            case Message():
                self._show_message(event, nursery)
            case StatusChange(status="failed"):
                lost = self._ticks.fail(event)
                what = event.message_id if lost is None else shortened(lost.content, _SNIPPET)
                self._note(f"nobody got this before it was removed: {what}")
            case StatusChange():
                self._show_tick(self._ticks.take(event))
            case Invitation():
                name, group = printable(event.name), event.group_id
                self._note(f'{event.invited_by} invites you to "{name}": /join {group}')
            case Disconnected():
                self._note(f"disconnected ({event.reason}), reconnecting")
            case Reconnected():
                self._note("back")
                nursery.start_soon(self._catch_up)
            case Gap(restored=True):
                self._note("the server was restored from an older copy; what follows may repeat")
            case Gap():
                self._note("older messages are not kept any more")
            case _:
                assert_never(event)

    def _show_message(self, message: Message, nursery: trio.Nursery) -> None:
        me = self._client.user_id
        peer = peer_of(message, me)
        if peer.is_group and peer.id not in self._names:
            self._names[peer.id] = peer.id  # until it is known
            nursery.start_soon(self._learn_name, peer.id)
        self._terminal.show(self._line_of(message, peer))
        if message.sender_id == me and message.receiver_id != me:
            self._ticks.add(message, peer)
        else:
            self._shown[peer] = message.id
            self._news.set()
        if not self._has_talked and message.type != "system":
            self._talk_to(peer)  # who writes first is the one to answer

    def _line_of(self, message: Message, peer: Peer, mark: str = "") -> str:
        """A message as it is shown."""
        style = self._terminal.style
        mine = message.sender_id == self._client.user_id
        sender = "you" if mine else message.sender_id
        where = f" to {peer.id}" if mine else ""
        if peer.is_group:
            where = f" in {self._name(peer)}"
        what = "" if message.type == "text" else f" ({message.type})"
        head = f"{style(_time(message.timestamp), DIM)} "
        if message.type == "system":
            return indented(message.content, f"{head}*{where}: ")
        text = indented(message.content, f"{head}{style(sender, BOLD)}{where}{what}: ")
        return text + (f"  {style(mark, DIM)}" if mark else "")

    def _show_tick(self, tick: Tick | None) -> None:
        if tick is None:
            return
        snippet = shortened(tick.message.content, _SNIPPET)
        by = f" by {tick.by}" if tick.by is not None else ""
        if tick.level is Level.DELIVERED and by:
            by = f" to {tick.by}"
        self._terminal.show(self._terminal.style(f"      {MARKS[tick.level]}{by}: {snippet}", DIM))

    async def _learn_name(self, group_id: str) -> None:
        try:
            self._names[group_id] = (await self._client.get_group(group_id)).name
        except ClientError:
            return  # one who has left is not told
        self._update_prompt()

    async def _catch_up(self) -> None:
        """Ask how far own messages have come: nobody repeats what was told in between."""
        for message in self._ticks.open(_MOST_ASKED):
            try:
                self._show_tick(self._ticks.correct(await self._client.get_message(message.id)))
            except Refused:
                continue  # it has been removed since
            except ClientError:
                return

    async def _acknowledge(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            await self._acknowledge_shown()

    async def _acknowledge_shown(self) -> None:
        while self._shown:
            peer, message_id = self._shown.popitem()
            try:
                await self._client.ack(message_id, "read", cumulative=True)
            except Refused:
                continue  # it has been removed since
            except ClientError:
                return
            except trio.Cancelled:
                self._shown.setdefault(peer, message_id)
                raise

    # -- from the user ------------------------------------------------------------------------

    async def _read(self, lines: trio.MemorySendChannel[str], scope: trio.CancelScope) -> None:
        async with lines, aclosing(self._terminal.lines()) as entered:
            async for line in entered:
                self._unfinished += 1
                await lines.send(line)
        scope.deadline = trio.current_time() + _GRACE

    async def _work(self, typed: trio.MemoryReceiveChannel[str]) -> None:
        async for line in typed:
            if not self._client.connected and line.strip():
                self._note("not connected: this waits")
            try:
                if await self._do(line.strip()):
                    self._unfinished = 0
                    return
            except Refused as refused:
                self._note(str(refused))
            except ConnectionLost as lost:
                self._note(str(lost))
            except ValueError as error:
                self._note(str(error))
            self._unfinished -= 1

    async def _do(self, line: str) -> bool:
        """Carry a line out; says whether it was the last."""
        if line.startswith("/") and not line.startswith("//"):
            command, _, rest = line[1:].partition(" ")
            return await self._command(command, rest.strip())
        if line:
            await self._send(line.removeprefix("/") if line.startswith("//") else line)
        return False

    async def _command(self, command: str, rest: str) -> bool:
        client = self._client
        match command:
            case "quit" | "exit" | "q":
                return True
            case "help":
                self._terminal.show(HELP)
            case "to" if rest:
                name, _, text = rest.partition(" ")
                self._talk_to(Peer(name, name.startswith(GROUP_PREFIX)))
                if text.strip():
                    await self._send(text.strip())
            case "group" if rest:
                name, *members = shlex.split(rest)
                group = await client.create_group(name, members)
                self._names[group.id] = group.name
                self._talk_to(Peer(group.id, True))
            case "join" if rest:
                await client.join(rest)
                self._talk_to(Peer(rest, True))
                await self._learn_name(rest)
            case "leave" if rest or (self._peer is not None and self._peer.is_group):
                await self._leave(rest)
            case "groups":
                for group in await client.groups():
                    count = len(group.members) + 1
                    self._note(f"{group.id}  {printable(group.name)}  ({count})")
            case "who" if self._peer is not None and self._peer.is_group:
                everyone = await client.members(self._peer.id)
                self._note(", ".join(f"{member.user_id} ({member.role})" for member in everyone))
            case "who" if self._peer is not None:
                self._note(f"you are talking to {self._peer.id}")
            case _:
                self._note(f"this is no command, or something is missing: /{command}; see /help")
        return False

    async def _leave(self, group_id: str) -> None:
        left = group_id or (self._peer.id if self._peer is not None else "")
        await self._client.leave(left)
        self._note(f"you have left {self._name(Peer(left, True))}")
        if self._peer is not None and self._peer.id == left:
            self._peer = None
            self._update_prompt()

    async def _send(self, text: str) -> None:
        peer = self._peer
        if peer is None:
            self._note("to whom? /to USER says it")
            return
        if peer.is_group:
            sent = await self._client.send(text, group=peer.id)
        else:
            sent = await self._client.send(text, to=peer.id)
        self._terminal.show(self._line_of(sent, peer, MARKS[Level.SENT]))
        if sent.receiver_id != self._client.user_id:
            self._ticks.add(sent, peer)

    def _talk_to(self, peer: Peer) -> None:
        self._has_talked = True
        if peer != self._peer:
            self._peer = peer
            self._note(f"talking to {self._name(peer)}")
        self._update_prompt()

    def _update_prompt(self) -> None:
        self._terminal.ask(f"{self._name(self._peer)}> " if self._peer is not None else "> ")

    def _name(self, peer: Peer) -> str:
        return shortened(self._names.get(peer.id, peer.id), _NAME) if peer.is_group else peer.id

    def _note(self, text: str) -> None:
        """Say something that nobody has written."""
        self._terminal.show(self._terminal.style(f"-- {text}", DIM))


def _time(timestamp: int) -> str:
    """A time in milliseconds as the user's clock shows it, with the day if it is another one."""
    then = datetime.fromtimestamp(timestamp / 1000)
    today = then.date() == datetime.now().date()
    return then.strftime("%H:%M" if today else "%Y-%m-%d %H:%M")

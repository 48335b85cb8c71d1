"""The chat itself: what is shown, what is acknowledged, and where lines go.

Laws:

- What was shown is acknowledged as read, with one cumulative ack a conversation; what was not
  shown is not.
- Lines are carried out in the order in which they were typed, each when the one before is done;
  while there is no connection they wait.
- Only the user decides where a line goes. What others write never changes it, and an unknown name
  is asked about first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, assert_never

import trio

from imserver.chat.contacts import Contacts, Partner, looks_like_group, partner_of
from imserver.chat.instructions import Search, run_instruction
from imserver.chat.text import printable
from imserver.chat.ticks import MARKS, Ticks
from imserver.chat.window import Window
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
from imserver.domain.model import Level

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imserver.chat.terminal import Terminal
    from imserver.client import Event

_MOST_LINES: Final = 100  # typed ahead
_GRACE: Final = 10.0  # seconds that lines may still take when the input has ended
_PARTING: Final = 2.0  # seconds that the last acks may take
_MOST_ASKED: Final = 20  # own messages whose status is asked for after a reconnect
_YES: Final = ("y", "yes")


class Chat:
    """One chat window. `start` is the first receiver: a user, or a group by name or id."""

    def __init__(
        self, client: Client, terminal: Terminal, contacts: Contacts, start: Partner | None
    ) -> None:
        self.client = client
        self.contacts = contacts
        self.window = Window(terminal, contacts, client.user_id)
        self.partner: Partner | None = None
        self.search: Search | None = None  # the last one, if it may find more
        self._terminal = terminal
        self._start = start
        self._ticks = Ticks(client.user_id)
        self._shown: dict[Partner, str] = {}  # the last message of each, to be acknowledged
        self._news = trio.Event()  # set when there is something to acknowledge
        self._ticked = trio.Event()  # set when a summary is due at some time
        self._strangers: set[Partner] = set()  # senders for whom a hint was shown
        self._lines, self._typed = trio.open_memory_channel[str](_MOST_LINES)
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
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow, nursery)
            nursery.start_soon(self._acknowledge)
            nursery.start_soon(self._sum_up)
            with trio.CancelScope() as scope:
                nursery.start_soon(self._read, scope)
                try:
                    await self._begin()
                    await self._work()
                except ClientError as error:
                    self._failure = error
            nursery.cancel_scope.cancel()
        if self._failure is not None:
            raise self._failure
        with trio.move_on_after(_PARTING):
            await self._acknowledge_shown()
        return self._unfinished

    async def _begin(self) -> None:
        self.window.prompt(None)
        start = self._start
        if start is None:
            await self.refresh()
            self.window.note("/to NAME chooses a user or a group; /help shows all commands")
            return
        if not start.is_group:
            self.talk_to(start)  # given on the command line: no question
            return
        await self.refresh()
        found = self.contacts.find(start.id)
        if found is not None and found.is_group:
            self.talk_to(found)
        else:
            self.window.note(f"you are in no group {printable(start.id)}; /groups shows yours")

    async def refresh(self) -> None:
        """Fetch the user's groups."""
        try:
            self.contacts.learn(await self.client.groups())
        except Refused:
            return

    # -- from the server ----------------------------------------------------------------------

    async def _follow(self, nursery: trio.Nursery) -> None:
        try:
            async for event in self.client:
                self._take(event, nursery)
        except ClientError as error:
            self._failure = error
            nursery.cancel_scope.cancel()

    def _take(self, event: Event, nursery: trio.Nursery) -> None:
        note = self.window.note
        match event:
            case Message():
                self._show_message(event, nursery)
            case StatusChange(status="failed"):
                lost = self._ticks.fail(event)
                what = event.message_id if lost is None else self.window.snippet(lost)
                note(f"nobody got this before it was removed: {what}")
            case StatusChange():
                self.window.tick(self._ticks.take(event, trio.current_time()))
                self._ticked.set()
            case Invitation():
                name, group = printable(event.name), event.group_id
                note(f'{event.invited_by} invites you to "{name}": /join {group}')
            case Disconnected():
                note(f"disconnected ({event.reason}), reconnecting")
            case Reconnected():
                note("back")
                nursery.start_soon(self._catch_up)
            case Gap(restored=True):
                note("the server was restored from an older copy; what follows may repeat")
            case Gap():
                note("older messages are not kept any more")
            case _:
                assert_never(event)

    def _show_message(self, message: Message, nursery: trio.Nursery) -> None:
        me = self.client.user_id
        partner = partner_of(message, me)
        if partner.is_group and not self.contacts.knows_group(partner.id):
            self.contacts.name_group(partner.id, partner.id)  # until it is known
            nursery.start_soon(self.learn_name, partner.id)
        self.window.message(message, partner)
        if message.sender_id == me and message.receiver_id != me:
            self._watch(message, partner)
        else:
            self._shown[partner] = message.id
            self._news.set()
        if message.type != "system":
            if not partner.is_group:
                self.contacts.meet(partner.id)
            if self.partner is None and partner not in self._strangers:
                self._strangers.add(partner)
                self.window.note(f"/to {self.window.name(partner)} answers")

    def _watch(self, own: Message, partner: Partner) -> None:
        """From now on show how far an own message comes."""
        self.window.tick(self._ticks.add(own, partner, trio.current_time()))
        self._ticked.set()

    async def show_again(self, message: Message) -> None:
        """Show an older message; this acknowledges nothing."""
        partner = partner_of(message, self.client.user_id)
        if partner.is_group and not self.contacts.knows_group(partner.id):
            self.contacts.name_group(partner.id, partner.id)
            await self.learn_name(partner.id)
        self.window.message(message, partner)

    async def learn_name(self, group_id: str) -> None:
        """Ask what a group is called."""
        try:
            name = (await self.client.get_group(group_id)).name
        except ClientError:
            return  # whoever has left is not told
        self.contacts.name_group(group_id, name)
        self.window.prompt(self.partner)

    async def _catch_up(self) -> None:
        """Ask for the status of own messages: changes during the outage are not sent again."""
        for message in self._ticks.open(_MOST_ASKED):
            try:
                self.window.tick(self._ticks.correct(await self.client.get_message(message.id)))
            except Refused:
                continue  # it has been removed since
            except ClientError:
                return

    async def _sum_up(self) -> None:
        while True:
            due = self._ticks.next_summary()
            if due is None:
                await self._ticked.wait()
                self._ticked = trio.Event()
                continue
            await trio.sleep_until(due)
            for tick in self._ticks.summaries(trio.current_time()):
                self.window.tick(tick)

    async def _acknowledge(self) -> None:
        while True:
            await self._news.wait()
            self._news = trio.Event()
            await self._acknowledge_shown()

    async def _acknowledge_shown(self) -> None:
        while self._shown:
            partner, message_id = self._shown.popitem()
            try:
                await self.client.ack(message_id, "read", cumulative=True)
            except Refused:
                continue  # it has been removed since
            except ClientError:
                return
            except trio.Cancelled:
                self._shown.setdefault(partner, message_id)
                raise

    # -- from the user ------------------------------------------------------------------------

    async def _read(self, scope: trio.CancelScope) -> None:
        async with self._lines:
            while (line := await self._terminal.line()) is not None:
                self._unfinished += 1
                await self._lines.send(line)
        scope.deadline = trio.current_time() + _GRACE

    async def _work(self) -> None:
        async for line in self._typed:
            if not self.client.connected and line.strip():
                self.window.note("not connected: this waits")
            try:
                if await self._do(line.strip()):
                    self._unfinished = 0
                    return
            except Refused as refused:
                self.window.note(str(refused))
            except ConnectionLost as lost:
                self.window.note(str(lost))
            except ValueError as error:
                self.window.note(str(error))
            self._unfinished -= 1

    async def _do(self, line: str) -> bool:
        """Carry a line out; says whether it was the last."""
        if line.startswith("/") and not line.startswith("//"):
            command, _, rest = line[1:].partition(" ")
            return await run_instruction(self, command, rest.strip())
        if line:
            await self.send(line.removeprefix("/") if line.startswith("//") else line)
        return False

    async def send(self, text: str) -> None:
        """Send a text to the present receiver."""
        partner = self.partner
        if partner is None:
            self.window.note("not sent: choose a receiver first, with /to NAME")
            return
        if partner.is_group:
            sent = await self.client.send(text, group=partner.id)
        else:
            sent = await self.client.send(text, to=partner.id)
            self.contacts.meet(partner.id)
        self.window.message(sent, partner, MARKS[Level.SENT])
        if sent.receiver_id != self.client.user_id:
            self._watch(sent, partner)

    async def choose(self, name: str) -> bool:
        """Talk to a group or a user by name; says whether anybody was found, or agreed to."""
        found = self.contacts.find(name)
        if found is None:
            await self.refresh()
            found = self.contacts.find(name)
        if found is None:
            user_id = name.removeprefix("@")
            if looks_like_group(name):
                self.talk_to(None)
                self.window.note(f"you are in no group {printable(name)}; /join {printable(name)}")
                return False
            if not await self.agree_to([user_id]):
                self.talk_to(None)
                return False
            found = Partner(user_id, False)
        self.talk_to(found)
        return True

    async def agree_to(self, user_ids: Iterable[str]) -> bool:
        """Whether the user confirms those of these people whom they do not know yet."""
        unknown = [user_id for user_id in user_ids if not self.contacts.knows(user_id)]
        if not unknown:
            return True
        hints = {self.contacts.similar(user_id) for user_id in unknown} - {None}
        hint = f" (did you mean {', '.join(sorted(filter(None, hints)))}?)" if hints else ""
        names = printable(", ".join(unknown))
        answer = await self.answer_to(f"{names}: you have not talked before{hint}. Go on? [y/N]")
        if (answer or "").strip().lower() not in _YES:
            self.window.note("nothing was done")
            return False
        self.contacts.meet(*unknown)
        return True

    async def answer_to(self, question: str, *, hidden: bool = False) -> str | None:
        """The user's answer to a question: the next line; None at the end of input."""
        self.window.question(question, hidden=hidden)
        try:
            answer = await self._typed.receive()
        except trio.EndOfChannel:
            return None
        finally:
            self.window.prompt(self.partner)
        self._unfinished -= 1
        return answer

    def talk_to(self, partner: Partner | None) -> None:
        """Send lines there from now on; None: nowhere."""
        if partner is not None and partner != self.partner:
            self.window.note(f"talking to {self.window.name(partner)}")
        self.partner = partner
        self.window.prompt(partner)

"""The inbox against a model of a server: whatever happens, each message once and in order."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from imserver.client.client_events import Disconnected, Gap, Reconnected
from imserver.client.inbox import MOST_OWN, Inbox, SyncPage
from imserver.domain.answered import StatusChange
from imserver.domain.model import Message, message_id, parse_message_id

ME = "alice"
LOST = Disconnected("gone")


def message(seq: int, sender: str = "bob", *, status: str = "sent") -> Message:
    receiver = ME if sender != ME else "bob"
    return Message(
        id=message_id(seq),
        sender_id=sender,
        receiver_id=receiver,
        type="text",
        content=str(seq),
        status=status,
        timestamp=seq,
    )


def drain(inbox: Inbox) -> list[str]:
    """What the program gets now, as ids of messages and names of other events."""
    taken = []
    while (event := inbox.next()) is not None:
        taken.append(event.id if isinstance(event, Message) else type(event).__name__)
    return taken


def live(cursor: int = 0, most: int = 4, *, own: bool = False) -> Inbox:
    """An inbox that has caught up."""
    inbox = Inbox(ME, cursor=cursor, own=own, most=most)
    inbox.ask()
    inbox.take(SyncPage([]))
    return inbox


class Following(RuleBasedStateMachine):
    """A server with one order, and an inbox that is told of it in every way there is."""

    @initialize(
        start=st.sampled_from([None, 0, 2]),
        own=st.booleans(),
        most=st.integers(1, 5),
        before=st.lists(st.sampled_from(["bob", "acked", ME]), max_size=6),
    )
    def begin(self, start: int | None, own: bool, most: int, before: list[str]) -> None:
        # Each message of the server: its sender, and its status as the user sees it.
        self.server: list[Message] = []
        for sender in before:
            self.store("bob" if sender == "acked" else sender, acked=sender == "acked")
        if start is not None:
            start = min(start, len(self.server))
        self.inbox = Inbox(ME, cursor=start, own=own, most=most)
        self.own = own
        self.most = most
        self.connected = True
        self.requested: tuple[int | None, int] | None = None  # a request on its way to the server
        self.page: SyncPage | None = None  # an answer on its way back
        self.arriving: list[Message] = []  # pushes and the like on their way, in order
        self.seen: list[int] = []
        self.returned: set[int] = set()  # results of sends of this client
        # What the program is to see; None until the first page has come, without a cursor.
        self.wanted: set[int] | None = None
        self.offered: set[int] = set()  # what the page under way would make it
        if start is not None:
            self.wanted = set(range(start + 1, len(self.server) + 1))

    def store(self, sender: str, *, acked: bool = False) -> Message:
        stored = message(len(self.server) + 1, sender, status="read" if acked else "sent")
        self.server.append(stored)
        return stored

    def want(self, stored: Message) -> None:
        if self.wanted is not None:
            self.wanted.add(int(stored.content))

    @rule(sender=st.sampled_from(["bob", "carol", ME]), count=st.integers(1, 6), now=st.booleans())
    def somebody_sends(self, sender: str, count: int, now: bool) -> None:
        for _ in range(count):
            stored = self.store(sender)
            self.want(stored)
            if self.connected:
                self.arriving.append(stored)
        if now:
            self.flush()

    @precondition(lambda self: self.connected and self.wanted is not None)
    @rule(awaited=st.booleans())
    def this_client_sends(self, awaited: bool) -> None:
        """The answer comes in its place among the pushes, so it is handled like one."""
        stored = self.store(ME)
        self.want(stored)
        self.flush()
        self.inbox.send(stored, returned=awaited)
        if awaited:
            self.returned.add(int(stored.content))

    @precondition(lambda self: not self.connected and self.wanted is not None)
    @rule()
    def an_unanswered_send_was_stored(self) -> None:
        """It is repeated first thing on the next connection."""
        stored = self.store(ME)
        self.want(stored)
        self.the_connection_is_back()
        self.inbox.send(stored, returned=True)
        self.returned.add(int(stored.content))

    @precondition(lambda self: self.arriving)
    @rule()
    def a_push_arrives(self) -> None:
        self.inbox.push(self.arriving.pop(0))

    def flush(self) -> None:
        while self.arriving:
            self.a_push_arrives()

    @precondition(lambda self: self.connected and self.inbox.behind and self.inbox.has_room
                  and self.requested is None and self.page is None)  # fmt: skip
    @rule()
    def a_page_is_asked_for(self) -> None:
        request = self.inbox.ask()
        cursor = request.last_message_id
        after = None if cursor is None else parse_message_id(cursor)
        assert bool(request.include_own) is (after is not None)
        assert bool(request.include_newest) is (after is None)
        assert request.limit is not None
        self.requested = (after, request.limit)

    @precondition(lambda self: self.requested is not None)
    @rule()
    def the_server_reads_it(self) -> None:
        assert self.requested is not None
        after, limit = self.requested
        if after is None:
            found = [m for m in self.server if m.sender_id != ME and m.status == "sent"]
            newest = len(self.server)
            # A start without a cursor: what is not acknowledged now, and all that comes.
            self.offered = {int(m.content) for m in found}
            self.newest = newest
        else:
            found = self.server[after:]
            newest = None
        self.page = SyncPage(
            found[:limit], len(found) > limit, None if newest is None else message_id(newest)
        )
        self.requested = None

    @precondition(lambda self: self.page is not None)
    @rule(meanwhile=st.integers(0, 8))
    def the_page_arrives(self, meanwhile: int) -> None:
        """What was stored after it was read may well come before it."""
        assert self.page is not None
        if meanwhile:
            self.somebody_sends("bob", meanwhile, True)
        self.inbox.take(self.page)
        self.page = None
        if self.wanted is None:
            self.wanted = self.offered | set(range(self.newest + 1, len(self.server) + 1))

    @precondition(lambda self: self.connected)
    @rule()
    def the_connection_dies(self) -> None:
        self.connected = False
        self.arriving.clear()
        self.requested = self.page = None
        self.inbox.disconnect(LOST)

    @precondition(lambda self: not self.connected)
    @rule()
    def the_connection_is_back(self) -> None:
        self.connected = True
        self.inbox.reconnect()

    @rule(count=st.integers(1, 3))
    def the_program_reads(self, count: int) -> None:
        for _ in range(count):
            event = self.inbox.next()
            if isinstance(event, Message):
                seq = int(event.content)
                assert not self.seen or seq > self.seen[-1]
                self.seen.append(seq)
                assert self.inbox.cursor == event.id

    @invariant()
    def nothing_grows(self) -> None:
        if hasattr(self, "inbox"):
            assert len(self.inbox._live) <= self.most + 1
            # Half of it was there when the page was asked for; marks may stand between.
            assert len(self.inbox._ready) <= 2 * (self.most // 2 + self.most + self.most + 3)

    @precondition(lambda self: self.connected)
    @rule()
    def everything_settles(self) -> None:
        """Whatever is under way arrives, and pages are asked for until there are no more."""
        self.flush()
        for _ in range(3 * len(self.server) + 10):
            self.the_program_reads(10 * self.most)
            if self.page is not None:
                self.the_page_arrives(0)
            elif self.requested is not None:
                self.the_server_reads_it()
            elif self.inbox.behind:
                self.a_page_is_asked_for()
        self.the_program_reads(10 * self.most)
        assert not self.inbox.behind
        assert self.wanted is not None
        told = self.wanted if self.own else self.wanted - self.returned
        assert self.seen == sorted(told)
        assert self.inbox.cursor == message_id(len(self.server))

    def teardown(self) -> None:
        """In the end each message was seen once, or returned."""
        if hasattr(self, "inbox"):
            if not self.connected:
                self.the_connection_is_back()
            self.everything_settles()


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_pushes_before_the_page_wait_for_it() -> None:
    inbox = Inbox(ME, cursor=1, own=False, most=4)
    inbox.push(message(3))
    assert drain(inbox) == []
    inbox.ask()
    inbox.take(SyncPage([message(2), message(3)]))
    assert drain(inbox) == ["msg_2", "msg_3"]
    assert inbox.cursor == "msg_3"


def test_a_repeated_push_is_told_once() -> None:
    inbox = live()
    inbox.push(message(1))
    inbox.push(message(1))
    assert drain(inbox) == ["msg_1"]
    inbox.push(message(1))
    assert drain(inbox) == []


def test_what_finds_no_room_is_asked_for_again() -> None:
    inbox = live(most=2)
    for seq in range(1, 9):
        inbox.push(message(seq))
    assert inbox.behind
    assert drain(inbox) == ["msg_1", "msg_2"]
    assert inbox.ask().last_message_id == "msg_2"
    inbox.take(SyncPage([message(seq) for seq in (3, 4)], has_more=True))
    assert inbox.behind
    assert drain(inbox) == ["msg_3", "msg_4"]
    inbox.ask()
    inbox.take(SyncPage([message(seq) for seq in range(5, 9)]))
    assert not inbox.behind
    assert drain(inbox) == [message_id(seq) for seq in range(5, 9)]


def test_a_page_after_an_overflow_is_not_the_last() -> None:
    inbox = Inbox(ME, cursor=0, own=False, most=2)
    inbox.ask()
    for seq in range(1, 5):
        inbox.push(message(seq))
    inbox.take(SyncPage([message(1)]))  # read before the pushes that were dropped
    assert inbox.behind
    inbox.ask()
    inbox.take(SyncPage([message(seq) for seq in (2, 3, 4)]))
    assert not inbox.behind
    assert drain(inbox) == ["msg_1", "msg_2", "msg_3", "msg_4"]


def test_status_changes_keep_their_place_and_are_dropped_without_room() -> None:
    inbox = live(most=2)
    change = StatusChange("msg_9", "read", "bob", 1)
    inbox.push(message(1))
    inbox.push(change)
    inbox.push(change)
    assert drain(inbox) == ["msg_1", "StatusChange"]
    assert not inbox.behind


def test_a_cancelled_send_is_told_when_it_was_stored_after_all() -> None:
    inbox = live()
    inbox.send(message(1, ME), returned=False)
    assert drain(inbox) == ["msg_1"]


def test_another_devices_message_that_a_send_returned_before_it_was_read_is_not_told() -> None:
    inbox = live()
    inbox.push(message(1, ME))
    inbox.send(message(1, ME), returned=True)  # the same client_msg_id
    assert drain(inbox) == []
    assert inbox.cursor == "msg_1"


def test_own_sends_move_the_cursor_of_a_program_that_reads_nothing() -> None:
    inbox = live()
    for seq in range(1, 2 * MOST_OWN):
        inbox.send(message(seq, ME), returned=True)
    assert inbox.cursor == message_id(2 * MOST_OWN - 1)
    assert not inbox.crowded


def test_own_sends_behind_unread_events_are_bounded() -> None:
    inbox = live(most=1)
    for seq in range(1, 2 * MOST_OWN + 10, 2):
        assert not inbox.crowded or seq > 2 * MOST_OWN
        inbox.push(message(seq))
        inbox.send(message(seq + 1, ME), returned=True)
    assert inbox.crowded


def test_a_note_to_oneself_is_returned_and_not_told() -> None:
    inbox = live()
    note = Message(id="msg_1", sender_id=ME, receiver_id=ME, type="text", content="buy milk",
                   status="sent", timestamp=1)  # fmt: skip
    inbox.send(note, returned=True)
    inbox.push(note)  # the server pushes it to the sending session too
    assert drain(inbox) == []


def test_what_retention_took_is_told_before_what_follows() -> None:
    inbox = Inbox(ME, cursor=1, own=False, most=4)
    inbox.ask()
    inbox.take(SyncPage([message(7)], gap=True, oldest_message_id="msg_5"))
    assert inbox.next() == Gap("msg_5")
    assert drain(inbox) == ["msg_7"]


def test_pages_that_all_say_so_are_one_gap() -> None:
    inbox = Inbox(ME, cursor=1, own=False, most=4)
    for more in (True, False):
        inbox.ask()
        inbox.take(SyncPage([message(7 if more else 8)], has_more=more, gap=True))
    assert drain(inbox) == ["Gap", "msg_7", "msg_8"]
    inbox.disconnect(LOST)
    inbox.reconnect()
    inbox.ask()
    inbox.take(SyncPage([], gap=True))
    assert drain(inbox) == ["Disconnected", "Reconnected", "Gap"]


def test_what_failed_meanwhile_is_told() -> None:
    inbox = Inbox(ME, cursor=1, own=False, most=4)
    inbox.ask()
    inbox.take(SyncPage([message(7)], failed=["msg_1"]))
    assert inbox.next() == StatusChange("msg_1", "failed", "system", 0)
    assert drain(inbox) == ["msg_7"]


def test_after_a_restore_everything_not_acknowledged_follows() -> None:
    inbox = live(cursor=9)
    inbox.disconnect(LOST)
    inbox.reconnect()
    inbox.restart()
    request = inbox.ask()
    assert request.last_message_id is None
    inbox.take(SyncPage([message(3)], newest_message_id="msg_4"))
    assert drain(inbox) == ["Disconnected", "Reconnected", "Gap", "msg_3"]
    assert inbox.cursor == "msg_4"


@pytest.mark.parametrize("losses", [2, 5])
def test_a_flapping_connection_is_told_once(losses: int) -> None:
    inbox = live()
    for _ in range(losses):
        inbox.disconnect(LOST)
        inbox.reconnect()
    assert drain(inbox) == ["Disconnected", "Reconnected"]


def test_a_loss_that_is_known_is_not_told_twice() -> None:
    inbox = live()
    inbox.disconnect(LOST)
    assert inbox.next() == LOST
    inbox.reconnect()
    inbox.disconnect(LOST)
    assert drain(inbox) == []
    inbox.reconnect()
    assert inbox.next() == Reconnected()


def test_an_id_that_is_none_is_refused() -> None:
    odd = Message(id="17", sender_id="bob", receiver_id=ME, type="text", content="x",
                  status="sent", timestamp=1)  # fmt: skip
    with pytest.raises(ValueError, match="not a message id"):
        live().push(odd)

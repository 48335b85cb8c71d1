"""The parts of the chat that do no I/O: the line being typed, what is printable, the ticks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from imserver.chat.contacts import Ambiguous, Contacts, Partner
from imserver.chat.text import fitting, laid_out, printable, shortened, width, wrapped
from imserver.chat.ticks import Ticks
from imserver.client import Group, Message, StatusChange
from imserver.domain.model import Level


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, 你好, é, 👩‍👩‍👧", "plain, 你好, é, 👩‍👩‍👧"),
        ("\x1b]0;title\x07", "\ufffd]0;title\ufffd"),
        ("a\rb\x08\x9b2J", "a\ufffdb\ufffd\ufffd2J"),
        ("evil\u202etxt.exe", "evil\ufffdtxt.exe"),
        ("one\u2028two\tthree", "one\ntwo three"),
    ],
)
def test_what_is_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


@given(st.text())
def test_nothing_printable_drives_a_terminal(text: str) -> None:
    assert all(character == "\n" or ord(character) >= 32 for character in printable(text))
    assert "\x7f" not in printable(text)


def test_no_line_of_a_message_looks_like_another_message() -> None:
    assert laid_out("hi\n12:00 bob: pay me", 11, None) == "hi\n        12:00 bob: pay me"


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("one two three", ["one two", "three"]),
        ("one  two", ["one  two"]),
        ("incomprehensibilities", ["incompreh", "ensibilit", "ies"]),
        ("a incomprehensible", ["a incompr", "ehensible"]),
        ("你好世界你好", ["你好世界", "你好"]),
        ("我们去见，好吗", ["我们去", "见，好吗"]),
        ("请看report吧", ["请看", "report吧"]),
        ("👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", ["👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧👩‍👩‍👧", "👩‍👩‍👧"]),
        ("", [""]),
    ],
)
def test_lines_are_broken_between_words(text: str, lines: list[str]) -> None:
    assert wrapped(text, 9, 9) == lines


@given(st.text(st.characters(categories=["L", "P", "Zs"]), max_size=80), st.integers(4, 30))
def test_every_line_fits_and_no_letter_is_lost(text: str, columns: int) -> None:
    lines = wrapped(text, columns, columns)
    assert all(width(line) <= columns for line in lines)
    assert "".join("".join(lines).split()) == "".join(text.split())


def test_width() -> None:
    assert width("abc") == 3
    assert width("你好") == 4
    assert width("e\u0301") == 1
    assert fitting("你好", 3) == "你"
    assert shortened("one\n two", 80) == "one two"
    assert shortened("abcdefgh", 5) == "abcd…"


def message(seq: int, status: str = "sent") -> Message:
    return Message(id=f"msg_{seq}", sender_id="alice", receiver_id="bob", type="text",
                   content=str(seq), status=status, timestamp=1)  # fmt: skip


def change(seq: int, status: str, by: str = "bob", *, cumulative: bool = False) -> StatusChange:
    return StatusChange(f"msg_{seq}", status, by, 1, cumulative)


def test_ticks_go_forward_only() -> None:
    ticks = Ticks("alice")
    ticks.add(message(1), "bob")
    tick = ticks.take(change(1, "delivered"))
    assert tick is not None
    assert (tick.message.content, tick.level, tick.by) == ("1", Level.DELIVERED, ("bob",))
    assert ticks.take(change(1, "delivered")) is None
    assert ticks.take(change(1, "read")) is not None
    assert ticks.take(change(1, "delivered")) is None
    assert ticks.take(change(1, "read", "carol")) is not None  # a group has several readers


def test_ticks_are_for_own_messages() -> None:
    ticks = Ticks("alice")
    assert ticks.take(change(1, "read")) is None
    ticks.add(message(1), "bob")
    assert ticks.take(change(1, "read", "alice")) is None


def test_a_cumulative_ack_covers_its_conversation() -> None:
    ticks = Ticks("alice")
    for seq, conversation in ((1, "bob"), (2, "carol"), (3, "bob"), (4, "bob")):
        ticks.add(message(seq), conversation)
    assert ticks.take(change(3, "read", cumulative=True)) is not None
    assert ticks.take(change(1, "read")) is None
    assert [left.id for left in ticks.open(9)] == ["msg_2", "msg_4"]
    assert [left.id for left in ticks.open(1)] == ["msg_4"]


def test_what_was_missed_is_corrected() -> None:
    ticks = Ticks("alice")
    ticks.add(message(1), "bob")
    assert ticks.correct(message(1)) is None
    tick = ticks.correct(message(1, "read"))
    assert tick is not None
    assert (tick.level, tick.by) == (Level.READ, ())
    assert ticks.correct(message(1, "read")) is None


def test_few_are_remembered() -> None:
    ticks = Ticks("alice")
    for seq in range(1, 1000):
        ticks.add(message(seq), "bob")
    assert len(ticks.open(1000)) == 200


def test_members_of_a_group_are_summed_up_ever_more_rarely() -> None:
    ticks = Ticks("alice")
    ticks.add(replace(message(1), receiver_id=None, group_id="group_1"), "group_1")
    shown = []
    for second in range(100):
        assert ticks.take(change(1, "read", f"user{second}"), float(second)) is None
        shown += ticks.summaries(float(second))
    assert [len(tick.by) for tick in shown] == [2, 5, 10, 19, 36, 69]
    assert ticks.next_summary() == 133
    assert ticks.summaries(132.0) == []


def test_names_are_resolved() -> None:
    contacts = Contacts("alice")
    one, other = group("group_1", "team", "bob"), group("group_2", "bob", "carol")
    contacts.learn([one, other])
    assert contacts.find("team") == contacts.find("group_1") == Partner("group_1", True)
    assert contacts.find("carol") == Partner("carol", False)
    with pytest.raises(Ambiguous, match="/to group_2, /to @bob for the user"):
        contacts.find("bob")
    assert contacts.find("@bob") == Partner("bob", False)
    assert contacts.find("caro") is None
    assert contacts.similar("caro") == "carol"
    contacts.forget_group("group_1")
    assert contacts.find("team") is None


def group(group_id: str, name: str, *members: str) -> Group:
    return Group(id=group_id, name=name, description="", owner_id="alice", members=list(members),
                 created_at="", updated_at="")  # fmt: skip


def test_a_reader_may_be_faster_than_the_answer_to_the_send() -> None:
    ticks = Ticks("alice")
    assert ticks.take(change(1, "delivered")) is None
    assert ticks.take(change(1, "read")) is None
    tick = ticks.add(message(1), "bob")
    assert tick is not None
    assert (tick.level, tick.by) == (Level.READ, ("bob",))
    assert ticks.add(message(2), "bob") is None

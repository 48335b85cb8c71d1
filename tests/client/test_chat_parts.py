"""The parts of the chat that do no I/O: the line being typed, what is printable, the ticks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imserver.chat.editor import Editor, EndOfInput
from imserver.chat.text import fitting, indented, printable, shortened, width
from imserver.chat.ticks import Ticks
from imserver.client import Message, StatusChange
from imserver.domain.model import Level

LEFT, RIGHT, UP, DOWN = "\x1b[D", "\x1b[C", "\x1b[A", "\x1b[B"
HOME, END, DELETE = "\x1b[H", "\x1bOF", "\x1b[3~"
BACKSPACE = "\x7f"


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("hello\r", "hello"),
        ("helo" + LEFT + "l\n", "hello"),
        ("hello!" + BACKSPACE + "\r", "hello"),
        (BACKSPACE + LEFT + "hello" + RIGHT + "\r", "hello"),
        ("ello" + HOME + "h" + END + "!\r", "hello!"),
        ("xhello" + HOME + DELETE + "\r", "hello"),
        ("xhello\x01\x04\r", "hello"),
        ("rubbish\x15hello\r", "hello"),
        ("hello there \x17\r", "hello "),
        ("hello there" + LEFT * 6 + "\x0b\r", "hello"),
        ("\x1b[1;5Chel\x00lo\x1b[Z\r", "hello"),
        ("你好" + LEFT + "们" + BACKSPACE + "\r", "你好"),
    ],
)
def test_what_is_typed(typed: str, line: str) -> None:
    assert Editor().feed(typed) == [line]
    split = Editor()
    assert [found for character in typed for found in split.feed(character)] == [line]


def test_lines_come_back() -> None:
    editor = Editor()
    assert editor.feed("one\rtwo\rtwo\r\r") == ["one", "two", "two", ""]
    assert editor.feed(UP + "\r") == ["two"]
    assert editor.feed(UP * 9 + "\r") == ["one"]
    assert editor.feed(UP * 2 + DOWN * 9 + "new\r") == ["new"]


def test_the_end_of_input_is_an_empty_lines_affair() -> None:
    editor = Editor()
    editor.feed("x\x04")
    with pytest.raises(EndOfInput):
        editor.feed(BACKSPACE + "\x04")


@given(st.text(max_size=60), st.integers(0, 70), st.integers(12, 40))
def test_the_line_fits_its_row(typed: str, back: int, columns: int) -> None:
    editor = Editor()
    editor.feed("".join(character for character in typed if character.isprintable()))
    editor.feed(LEFT * back)
    shown, column = editor.render("> ", columns)
    assert width(shown) < columns
    assert column < columns
    assert shown.startswith("> ")


def test_the_window_slides_with_the_cursor() -> None:
    editor = Editor()
    editor.feed("abcdefghijklmnopqrstuvwxyz")
    assert editor.render("> ", 13) == ("> qrstuvwxyz", 12)
    editor.feed(HOME)
    assert editor.render("> ", 13) == ("> abcdefghij", 2)
    assert editor.render("", 80) == ("abcdefghijklmnopqrstuvwxyz", 0)


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
    assert indented("hi\n12:00 bob: pay me", "12:00 eve: ") == (
        "12:00 eve: hi\n        12:00 bob: pay me"
    )


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
    assert (tick.message.content, tick.level, tick.by) == ("1", Level.DELIVERED, "bob")
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
    assert (tick.level, tick.by) == (Level.READ, None)
    assert ticks.correct(message(1, "read")) is None


def test_few_are_remembered() -> None:
    ticks = Ticks("alice")
    for seq in range(1, 1000):
        ticks.add(message(seq), "bob")
    assert len(ticks.open(1000)) == 200

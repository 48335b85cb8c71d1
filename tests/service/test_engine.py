"""How the engine takes writes: answered in order, pushed after the answer, defects kept apart."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from imserver.domain.errors import ApiError, Code
from imserver.service.engine import (
    Caller,
    Change,
    Delivery,
    Outcome,
)
from tests.service.engines import Engines, MemoryLink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imserver.live.hub import Session

ANN, BOB = Caller("ann"), Caller("bob")


@pytest.fixture
def engines() -> Iterator[Engines]:
    engines = Engines(None)
    yield engines
    engines.stop()


def received(session: Session) -> list[dict[str, Any]]:
    """What came out of a session's link."""
    assert isinstance(session.link, MemoryLink)
    return session.link.received()


class Tell(Change[None, bytes]):
    """Pushes a text to bob; `conclude` does what it is told before."""

    def __init__(self, text: bytes, before: Any = lambda: None) -> None:
        self._text = text
        self._before = before

    def apply(self, tx: Any) -> None:
        """Write nothing."""

    def conclude(self, stored: None) -> Outcome[bytes]:
        """Answer and push."""
        self._before()
        return Outcome(b'"done"', (Delivery(self._text, {"bob"}),))


def test_a_write_is_waited_for(engines: Engines) -> None:
    sent = engines.run(
        engines.write, "send_message", ANN, {"receiver_id": "bob", "content": "hello"}
    )
    assert sent["message"]["status"] == "sent"
    shown = engines.run(engines.ask, "get_message", BOB, {"message_id": sent["message_id"]})
    assert shown["message"] == sent["message"]


def test_a_refusal_is_raised_where_it_is_waited_for(engines: Engines) -> None:
    request = {"group_id": "group_nowhere", "content": "hello"}
    assert engines.run(engines.write, "send_message", ANN, request) is Code.NOT_FOUND


def test_pushes_leave_after_the_batch_in_its_order(engines: Engines) -> None:
    bob = engines.connect("bob")
    seen: list[int] = []
    commands = [
        Tell(b'{"number":%d}' % number, lambda: seen.append(len(received(bob))))
        for number in range(3)
    ]
    engines.run(engines.burst, commands)
    assert seen == [0, 0, 0]
    assert received(bob) == [{"number": 0}, {"number": 1}, {"number": 2}]


@pytest.mark.expects_error_log
def test_what_cannot_be_put_into_words_fails_alone(engines: Engines) -> None:
    """It is stored, but its answer is a defect; its neighbours and the writer do not know."""
    bob = engines.connect("bob")

    def fail() -> None:
        raise ZeroDivisionError

    answers = engines.run(
        engines.burst, [Tell(b'"before"'), Tell(b'"never"', fail), Tell(b'"after"')]
    )
    assert isinstance(answers[1], ApiError)
    assert answers[1].code is Code.INTERNAL
    assert [answers[0], answers[2]] == [b'"done"', b'"done"']
    assert received(bob) == ["before", "after"]


def test_users_are_told_apart_by_every_code_point(engines: Engines) -> None:
    names = ["ren\u00e9", "rene\u0301", "Ren\u00e9", "ｒené", "李雷", "李"]
    for name in names:
        request = {"receiver_id": name, "content": name}
        engines.run(engines.write, "send_message", ANN, request)
    for name in names:
        page = engines.run(engines.ask, "sync_offline", Caller(name), {})
        assert [message["content"] for message in page["messages"]] == [name]


def test_a_full_queue_is_waited_for() -> None:
    engines = Engines(None, capacity=2)

    async def write_many() -> list[Any]:
        answers: list[Any] = []

        async def write_one(number: int) -> None:
            request = {"receiver_id": "bob", "content": str(number)}
            await engines.writer.wait_room()
            assert not engines.writer.full
            answers.append(await engines.write("send_message", ANN, request))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(write_one, number)
        return answers

    answers = engines.run(write_many)
    assert sorted(answer["message_id"] for answer in answers) == sorted(
        f"msg_{seq}" for seq in range(1, 21)
    )
    engines.stop()


def test_a_closed_engine_accepts_nothing(engines: Engines) -> None:
    async def late() -> Any:
        engines.writer.close()
        await engines.writer.wait_closed()
        return await engines.write("send_message", ANN, {"receiver_id": "bob", "content": "late"})

    assert engines.run(late) is Code.UNAVAILABLE
    assert engines.run(engines.ask, "sync_offline", BOB, {})["messages"] == []

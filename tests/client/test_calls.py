"""Requests and their answers, without a network."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
import trio.testing

from imserver.client import ClientClosed, ClientError, Code, ConnectionLost, Refused
from imserver.client.calls import Call, Calls
from imserver.client.lifeline import Delays
from imserver.client.route import parse_url
from imserver.domain.answered import HeartbeatAnswer
from imserver.domain.errors import CloseCode
from imserver.domain.frames import decode_envelope
from imserver.domain.requested import Heartbeat, SendMessage


def make(calls: Calls, content: str = "x", *, repeatable: bool = True) -> Call:
    return calls.make("heartbeat", SendMessage(content), HeartbeatAnswer, repeatable=repeatable)


async def leave(calls: Calls, count: int) -> list[str]:
    """The contents of the next requests that leave."""
    frames = [json.loads((await calls.unsent()).frame) for _ in range(count)]
    return [frame["data"]["content"] for frame in frames]


def answer(calls: Calls, call: Call, data: dict[str, Any], kind: str = "heartbeat") -> Call | None:
    frame = {"type": kind, "data": data, "message_id": call.correlation}
    return calls.answer(decode_envelope(json.dumps(frame).encode()))


async def test_an_answer_finds_its_request() -> None:
    calls = Calls()
    first, second = make(calls), make(calls)
    await leave(calls, 2)
    assert calls.awaited == 2
    assert answer(calls, second, {"timestamp": 2}) is second
    assert second.answer == HeartbeatAnswer(2)
    assert not first.done.is_set()
    assert calls.awaited == 1
    assert answer(calls, second, {"timestamp": 3}) is None


@pytest.mark.parametrize(
    ("kind", "data", "code"),
    [
        ("heartbeat", {"success": False, "error": "No", "code": "forbidden"}, Code.FORBIDDEN),
        ("error", {"error": "No", "code": "unknown_type"}, Code.UNKNOWN_TYPE),
        ("error", {}, Code.INTERNAL),
        ("heartbeat", {"error": "Later", "code": "of a newer server"}, "of a newer server"),
    ],
)
async def test_a_refusal(kind: str, data: dict[str, Any], code: str) -> None:
    calls = Calls()
    call = make(calls)
    await leave(calls, 1)
    answer(calls, call, data, kind)
    assert isinstance(call.error, Refused)
    assert call.error.code == code


async def test_an_answer_that_cannot_be_read_fails_its_call() -> None:
    calls = Calls()
    call = make(calls)
    await leave(calls, 1)
    answer(calls, call, {"timestamp": "noon"})
    assert isinstance(call.error, ClientError)
    assert not isinstance(call.error, Refused)


async def test_what_has_no_answer_leaves_again_before_what_is_new() -> None:
    calls = Calls()
    a, _b, c = make(calls, "a"), make(calls, "b"), make(calls, "c")
    assert await leave(calls, 3) == ["a", "b", "c"]
    answer(calls, a, {"timestamp": 1})
    calls.disconnect(None)
    assert calls.awaited == 0
    make(calls, "d")
    assert await leave(calls, 2) == ["b", "c"]
    answer(calls, c, {"timestamp": 1})
    calls.disconnect(None)
    assert await leave(calls, 2) == ["b", "d"]


async def test_what_may_not_be_repeated_fails_only_if_it_has_left() -> None:
    calls = Calls()
    sent, waiting = make(calls, "a", repeatable=False), make(calls, "b", repeatable=False)
    await leave(calls, 1)
    calls.disconnect(None)
    assert isinstance(sent.error, ConnectionLost)
    assert not waiting.done.is_set()
    assert await leave(calls, 1) == ["b"]


async def test_what_nobody_waits_for_leaves_no_more() -> None:
    calls = Calls()
    sent, waiting = make(calls, "a"), make(calls, "b")
    await leave(calls, 1)
    for call in (sent, waiting):
        calls.abandon(call)
    make(calls, "c")
    assert await leave(calls, 1) == ["c"]
    calls.disconnect(None)
    assert await leave(calls, 1) == ["c"]
    assert answer(calls, sent, {"timestamp": 1}) is None


def test_nothing_is_kept_of_calls_that_are_given_up_while_there_is_no_connection() -> None:
    calls = Calls()
    for _ in range(1000):
        calls.abandon(make(calls))
    assert not calls._pending
    assert not calls._unsent


async def test_the_answer_to_an_abandoned_call_is_still_known() -> None:
    calls = Calls()
    call = make(calls)
    await leave(calls, 1)
    calls.abandon(call)
    assert answer(calls, call, {"timestamp": 1}) is call


async def test_too_big_fails_the_largest() -> None:
    calls = Calls()
    small, large, unsent = make(calls, "a"), make(calls, "b" * 100), make(calls, "c" * 1000)
    await leave(calls, 2)
    calls.disconnect(CloseCode.MESSAGE_TOO_BIG)
    assert isinstance(large.error, Refused)
    assert large.error.code == Code.TOO_LARGE
    assert not small.done.is_set()
    assert not unsent.done.is_set()


async def test_the_end_is_told_to_everyone() -> None:
    calls = Calls()
    waiting = [make(calls), make(calls)]
    await leave(calls, 1)
    calls.fail(ClientClosed("over"))
    errors = [call.error for call in waiting]
    assert all(isinstance(error, ClientClosed) for error in errors)
    assert errors[0] is not errors[1]  # each is raised in a task of its own


async def test_a_sender_waits_for_requests(autojump_clock: trio.testing.MockClock) -> None:
    calls = Calls()
    left = []

    async def write() -> None:
        left.append(await calls.unsent())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        assert not left
        call = calls.make("heartbeat", Heartbeat(), HeartbeatAnswer, repeatable=True)
    assert left == [call]


def test_a_text_without_utf8_is_the_callers_fault() -> None:
    calls = Calls()
    with pytest.raises(UnicodeEncodeError):
        make(calls, "\ud800")
    assert not calls._pending


@pytest.mark.parametrize(
    ("url", "host_header", "path", "rest"),
    [
        ("http://127.0.0.1:8080", "127.0.0.1:8080", "/ws", "http://127.0.0.1:8080"),
        ("ws://127.0.0.1:8080/ws", "127.0.0.1:8080", "/ws", "http://127.0.0.1:8080"),
        ("https://chat.example/im/", "chat.example", "/im/ws", "https://chat.example/im"),
        ("wss://chat.example:8443", "chat.example:8443", "/ws", "https://chat.example:8443"),
        ("http://[::1]:80", "[::1]", "/ws", "http://[::1]:80"),
    ],
)
def test_urls(url: str, host_header: str, path: str, rest: str) -> None:
    address = parse_url(url)
    assert (address.host_header, address.path, address.rest) == (host_header, path, rest)
    assert address.secure is rest.startswith("https")


def test_delays_grow_to_a_limit_and_are_never_more() -> None:
    delays = Delays(1.0, 8.0)
    for limit in (1.0, 2.0, 4.0, 8.0, 8.0, 8.0):
        assert 0 <= delays.next() <= limit
    assert max(delays.next() for _ in range(200)) > 4.0  # drawn from all of it
    delays.reset()
    assert delays.next() <= 1.0

"""Frames on an open WebSocket, as RFC 6455 has them and as it has them not."""

from __future__ import annotations

import json
import tracemalloc

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from imserver.config import Admission, Limits, Timeouts
from tests.support import login, rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import (
    BINARY,
    CLOSE,
    CONT,
    PING,
    PONG,
    TEXT,
    frame,
    raw_websocket,
    request,
)

PROTOCOL_ERROR, UNSUPPORTED, INVALID, TOO_BIG = 1002, 1003, 1007, 1009
HEARTBEAT = b'{"type":"heartbeat"}'


def note(content: str) -> bytes:
    """A send to oneself, not yet in a frame."""
    data = {"receiver_id": "alice", "content": content}
    return json.dumps({"type": "send_message", "data": data}, ensure_ascii=False).encode()


# -- what is well --------------------------------------------------------------------------------


async def test_a_fragmented_message_with_control_frames_in_between() -> None:
    async with running_server() as server, raw_websocket(server, "alice") as raw:
        text = note("几个片段")
        await raw.send(
            frame(text[:10], TEXT, fin=False)
            + frame(b"1", PING)
            + frame(text[10:70], CONT, fin=False)
            + frame(b"unasked", PONG)
            + frame(b"", CONT, fin=False)
            + frame(b"2", PING)
            + frame(text[70:], CONT)
        )
        assert await raw.frame() == (PONG, b"1")
        assert await raw.frame() == (PONG, b"2")
        answer = (await raw.frame()).json
        assert answer["data"]["message"]["content"] == "几个片段"


async def test_a_message_in_fragments_of_one_byte() -> None:
    # Chinese characters are cut in the middle: only the whole must be UTF-8.
    async with running_server() as server, raw_websocket(server, "alice") as raw:
        text = note("中文")
        first, *middle, last = (text[i : i + 1] for i in range(len(text)))
        await raw.send(
            frame(first, TEXT, fin=False)
            + b"".join(frame(byte, CONT, fin=False) for byte in middle)
            + frame(last, CONT)
        )
        assert (await raw.frame()).json["data"]["message"]["content"] == "中文"


async def test_every_byte_in_a_segment_of_its_own() -> None:
    async with running_server() as server, raw_websocket(server, "alice") as raw:
        text = note("x" * 100)  # a length of two bytes
        await raw.send_bytewise(
            frame(text) + frame(text[:5], fin=False) + frame(b"p", PING) + frame(text[5:], CONT)
        )
        answers = [await raw.frame() for _ in range(5)]
        assert sorted(answer.opcode for answer in answers) == [TEXT] * 4 + [PONG]


@pytest.mark.parametrize("length", [125, 126, 127, 65_535, 65_536, 66_000])
async def test_lengths_around_the_steps_of_the_header(length: int) -> None:
    async with running_server() as server, raw_websocket(server, "alice") as raw:
        padded = HEARTBEAT + b" " * (length - len(HEARTBEAT))
        await raw.send(frame(padded))
        assert (await raw.frame()).json["type"] == "heartbeat"
        # The answer too may have any length: its echoed correlation id makes it so.
    async with running_server() as server, raw_websocket(server, "alice") as raw:
        content = "y" * min(length, 65_000)
        await raw.send(frame(note(content)))
        assert (await raw.frame()).json["data"]["message"]["content"] == content


async def test_a_frame_of_exactly_the_limit_is_taken() -> None:
    limits = Limits(frame_bytes=70_000)
    async with running_server(limits=limits) as server, raw_websocket(server, "alice") as raw:
        await raw.send(frame(HEARTBEAT + b" " * (70_000 - len(HEARTBEAT))))
        assert (await raw.frame()).json["type"] == "heartbeat"


async def test_a_ping_is_answered_with_its_payload() -> None:
    async with running_server() as server, raw_websocket(server) as raw:
        for payload in (b"", b"\x00\xff", b"p" * 125):
            await raw.send(frame(payload, PING))
            assert await raw.frame() == (PONG, payload)


async def test_a_close_is_echoed_and_the_connection_ended() -> None:
    async with running_server() as server:
        for payload in (b"", b"\x03\xe8", b"\x03\xe8bye", b"\x0f\xa0our own code"):
            async with raw_websocket(server, "alice") as raw:
                await raw.send(frame(payload, CLOSE))
                assert await raw.frame() == (CLOSE, payload)
                await raw.end()


async def test_what_was_asked_before_the_close_is_done() -> None:
    async with running_server() as server, login(server, "bob") as bob:
        async with raw_websocket(server, "alice") as raw:
            send = request("send_message", {"receiver_id": "bob", "content": "last words"})
            await raw.send(send + frame(b"\x03\xe8", CLOSE))
        assert (await bob.push())["data"]["content"] == "last words"


async def test_what_comes_behind_the_close_is_not_looked_at() -> None:
    async with running_server() as server, login(server, "bob") as bob:
        async with raw_websocket(server, "alice") as raw:
            send = request("send_message", {"receiver_id": "bob", "content": "too late"})
            await raw.send(frame(b"\x03\xe8", CLOSE) + send + frame(b"", PING))
            assert (await raw.frame()).opcode == CLOSE
            await raw.end()
        await bob.no_push()


# -- what breaks the rules -----------------------------------------------------------------------

HELLO = note("hello")


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(frame(HELLO, masked=False), PROTOCOL_ERROR, id="unmasked"),
        pytest.param(frame(b"", PING, masked=False), PROTOCOL_ERROR, id="unmasked ping"),
        pytest.param(frame(HELLO, rsv=4), PROTOCOL_ERROR, id="RSV1, no extension agreed"),
        pytest.param(frame(HELLO, rsv=2), PROTOCOL_ERROR, id="RSV2"),
        pytest.param(frame(HELLO, rsv=1), PROTOCOL_ERROR, id="RSV3"),
        pytest.param(frame(HELLO, 3), PROTOCOL_ERROR, id="reserved opcode"),
        pytest.param(frame(HELLO, 11), PROTOCOL_ERROR, id="reserved control opcode"),
        pytest.param(frame(HELLO, CONT), PROTOCOL_ERROR, id="continuation of nothing"),
        pytest.param(frame(b"", PING, fin=False), PROTOCOL_ERROR, id="fragmented ping"),
        pytest.param(frame(b"p" * 126, PING), PROTOCOL_ERROR, id="long ping"),
        pytest.param(frame(b"\x03", CLOSE), PROTOCOL_ERROR, id="close with half a code"),
        pytest.param(frame(b"\x03\xed", CLOSE), PROTOCOL_ERROR, id="close with 1005"),
        pytest.param(frame(b"\x00\x01", CLOSE), PROTOCOL_ERROR, id="close with 1"),
        pytest.param(frame(b"\x03\xe8\xff", CLOSE), INVALID, id="close, reason not UTF-8"),
        pytest.param(
            frame(b"{", fin=False) + frame(HELLO), PROTOCOL_ERROR, id="message within a message"
        ),
        pytest.param(
            frame(b"{", fin=False) + frame(b"}", fin=False),
            PROTOCOL_ERROR,
            id="fragment of another message within a message",
        ),
        pytest.param(frame(HELLO, BINARY), UNSUPPORTED, id="binary"),
        pytest.param(frame(b"", BINARY), UNSUPPORTED, id="empty binary"),
        pytest.param(frame(b"x", BINARY, fin=False), UNSUPPORTED, id="binary in fragments"),
        pytest.param(frame(b'"\xff"'), INVALID, id="not UTF-8"),
        pytest.param(frame(b'"\xed\xa0\x80"'), INVALID, id="a surrogate"),
        pytest.param(frame(b'"\xc0\x80"'), INVALID, id="an overlong NUL"),
        pytest.param(frame(b'"\xf4\x90\x80\x80"'), INVALID, id="beyond Unicode"),
        pytest.param(frame("中".encode()[:2]), INVALID, id="half a character"),
        pytest.param(
            frame(b'"\xe4\xb8', fin=False) + frame(b'x"', CONT), INVALID, id="not UTF-8 over two"
        ),
        pytest.param(frame(declared=70_001), TOO_BIG, id="too long, by its header"),
        pytest.param(frame(declared=1 << 62), TOO_BIG, id="absurdly long"),
        pytest.param(
            frame(b"x" * 40_000, fin=False) + frame(b"x" * 40_000, CONT),
            TOO_BIG,
            id="too long, fragments together",
        ),
    ],
)
async def test_a_violation_is_answered_with_its_close_code(sent: bytes, code: int) -> None:
    limits = Limits(frame_bytes=70_000)
    async with running_server(limits=limits) as server:
        async with raw_websocket(server, "alice") as raw:
            await raw.send(sent)
            assert await raw.goodbye() == code
        async with raw_websocket(server, "alice") as raw:  # cut elsewhere, the same comes of it
            for byte in range(0, len(sent), max(1, len(sent) // 50)):
                await raw.send(sent[byte : byte + max(1, len(sent) // 50)])
            assert await raw.goodbye() == code
        async with rest(server, "alice") as alice:
            # Nothing of it was taken for a message.
            page = await alice.get("/api/v1/messages/offline")
            assert page["messages"] == []


@pytest.mark.parametrize(
    "violation",
    [frame(b"x", BINARY), frame(b'"\xff"'), frame(HELLO, rsv=4), frame(HELLO, masked=False)],
    ids=["binary", "not UTF-8", "RSV1", "unmasked"],
)
async def test_what_comes_behind_a_violation_is_not_looked_at(violation: bytes) -> None:
    async with running_server() as server, login(server, "bob") as bob:
        async with raw_websocket(server, "alice") as raw:
            send = request("send_message", {"receiver_id": "bob", "content": "injected"})
            await raw.send(violation + send)
            await raw.goodbye()
        await bob.no_push()


async def test_what_came_before_a_violation_is_done() -> None:
    async with running_server() as server, login(server, "bob") as bob:
        async with raw_websocket(server, "alice") as raw:
            send = request("send_message", {"receiver_id": "bob", "content": "fine"})
            await raw.send(send + frame(b"x", BINARY))
        assert (await bob.push())["data"]["content"] == "fine"


async def test_requests_that_come_behind_our_goodbye_are_not_carried_out() -> None:
    # Their sender would never learn of it.
    timeouts = Timeouts(login=0.1)
    async with running_server(timeouts=timeouts) as server, login(server, "bob") as bob:
        async with raw_websocket(server) as raw:
            closing = await raw.frame()
            assert closing.payload[:2] == (4001).to_bytes(2, "big")
            send = request("send_message", {"receiver_id": "bob", "content": "too late"})
            await raw.send(request("login", {"user_id": "alice"}) + send)
            await raw.send_eof()
            await raw.end()
        await bob.no_push()


# -- who vanishes --------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 2, 5, 6, 7, len(HELLO)])
async def test_half_a_frame_and_gone(cut: int) -> None:
    async with running_server() as server, login(server, "alice") as other:
        async with raw_websocket(server, "alice") as raw:
            await raw.send(frame(HELLO)[:cut])
        async with raw_websocket(server, "alice") as raw:
            await raw.send(frame(HELLO)[:cut])
            await wait_all_tasks_blocked()
            raw.reset()
        with trio.fail_after(5):
            async with rest(server, None) as nobody:
                while (await nobody.get("/api/v1/stats"))["connections"] != 1:
                    await wait_all_tasks_blocked()
        await other.no_push()


async def test_endless_fragments_of_nothing_cost_nothing() -> None:
    # Each takes six bytes to send, and would take eight to remember.
    async with running_server() as server, raw_websocket(server, "alice") as raw:
        await raw.send(frame(b"", TEXT, fin=False))
        await raw.send(frame(b"", PING))
        assert (await raw.frame()).opcode == PONG
        tracemalloc.start()
        try:
            for _ in range(10):
                await raw.send(frame(b"", CONT, fin=False) * 3_000)
            await raw.send(frame(b"", PING))
            assert (await raw.frame()).opcode == PONG
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert kept < 220_000
        await raw.send(frame(HEARTBEAT, CONT))
        assert (await raw.frame()).json["type"] == "heartbeat"


async def test_what_was_taken_is_answered_to_a_client_that_has_said_all() -> None:
    async with running_server() as server, raw_websocket(server, "alice") as raw:
        sends = [
            request("send_message", {"receiver_id": "bob", "content": str(number)})
            for number in range(50)
        ]
        await raw.send(b"".join(sends))
        await raw.send_eof()
        answers = await raw.frames(50)
        assert [each["data"]["message"]["content"] for each in answers] == [
            str(number) for number in range(50)
        ]


async def test_a_message_in_too_many_fragments_is_refused_and_some_are_not() -> None:
    text = json.dumps({"type": "heartbeat", "data": {"user_id": "x" * 900}}).encode()
    pieces = [frame(bytes([byte]), CONT, fin=False) for byte in text]
    pieces[0] = frame(text[:1], TEXT, fin=False)
    pieces[-1] = frame(text[-1:], CONT)
    async with running_server() as server, raw_websocket(server, "alice") as raw:
        await raw.send(b"".join(pieces))
        assert (await raw.text())["type"] == "heartbeat"
        await raw.send(pieces[0] + pieces[1] * 2000)
        assert await raw.goodbye() == 1008


async def test_frames_that_are_no_requests_draw_on_a_budget_too() -> None:
    admission = Admission(mode="on", requests_per_second=0.01, requests_burst=20)
    async with running_server(admission=admission) as server, raw_websocket(server) as raw:
        await raw.send(frame(b"", PING) * 400)
        with trio.fail_after(PATIENCE):
            while (received := await raw.frame()).opcode == PONG:
                pass
        assert received.opcode == CLOSE
        assert int.from_bytes(received.payload[:2], "big") == 4029

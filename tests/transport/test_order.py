"""Every request gets one answer, in the order in which the requests came, however they come."""

from __future__ import annotations

import random

import pytest
import trio

from imserver.config import Limits, Store
from tests.support import login, running_server
from tests.transport.raw import BINARY, CLOSE, PING, PONG, TEXT, frame, raw_websocket, request


def send_to(user_id: str, content: str, number: int) -> bytes:
    data = {"receiver_id": user_id, "content": content}
    return request("send_message", data, message_id=f"r{number}")


def numbers(answers: list[dict]) -> list[int]:
    return [int(answer["message_id"].removeprefix("r")) for answer in answers]


async def test_a_thousand_sends_at_once_are_answered_in_order() -> None:
    async with (
        running_server() as server,
        raw_websocket(server, "alice") as alice,
        login(server, "bob") as bob,
    ):
        await alice.send(b"".join(send_to("bob", f"number {i}", i) for i in range(1000)))
        answers = await alice.frames(1000)
        assert numbers(answers) == list(range(1000))
        assert all(answer["data"]["success"] for answer in answers)
        ids = [answer["data"]["message_id"] for answer in answers]
        assert ids == sorted(ids, key=lambda text: int(text.removeprefix("msg_")))
        pushed = [await bob.push() for _ in range(1000)]
        assert [push["data"]["content"] for push in pushed] == [f"number {i}" for i in range(1000)]
        assert [push["message_id"] for push in pushed] == ids


# What may be asked for, and what its answer looks like.
MIXED = {
    "send": lambda n: send_to("bob", f"number {n}", n),
    "refused send": lambda n: send_to("bob", "", n),
    "send to oneself refused": lambda n: send_to("a b", "x", n),
    "heartbeat": lambda n: request("heartbeat", message_id=f"r{n}"),
    "sync": lambda n: request("sync_offline", {"limit": 1}, message_id=f"r{n}"),
    "bad sync": lambda n: request("sync_offline", {"limit": 0}, message_id=f"r{n}"),
    "ack of nothing": lambda n: request(
        "ack", {"message_id": "msg_9999", "status": "read"}, message_id=f"r{n}"
    ),
    "second login": lambda n: request("login", {"user_id": "alice"}, message_id=f"r{n}"),
    "unknown type": lambda n: request("dance", message_id=f"r{n}"),
    "wrong field": lambda n: request("ack", {"message_id": 7}, message_id=f"r{n}"),
    "no data": lambda n: frame(b'{"type":"heartbeat","data":null,"message_id":"r%d"}' % n),
}


@pytest.mark.parametrize("seed", range(6))
async def test_writes_reads_and_refusals_mixed_are_answered_in_order(seed: int) -> None:
    randomly = random.Random(seed)
    kinds = [randomly.choice(list(MIXED)) for _ in range(600)]
    sent = b"".join(MIXED[kind](number) for number, kind in enumerate(kinds))
    async with (
        running_server(store=Store(pending_writes=5, batch=3)) as server,
        raw_websocket(server, "alice") as alice,
        trio.open_nursery() as nursery,
    ):

        async def feed() -> None:
            rest = sent
            while rest:
                size = randomly.choice([1, 7, 100, 5_000])
                await alice.send(rest[:size])
                rest = rest[size:]

        nursery.start_soon(feed)
        assert numbers(await alice.frames(600)) == list(range(600))


async def test_a_client_sees_its_own_writes() -> None:
    async with running_server() as server, raw_websocket(server, "alice") as alice:
        for count in range(1, 20):
            sync = request("sync_offline", {"limit": 200, "include_own": True})
            await alice.send(send_to("bob", "x", count) + sync)
            sent, page = await alice.frames(2)
            assert page["data"]["messages"][-1]["id"] == sent["data"]["message_id"]
            assert len(page["data"]["messages"]) == count


async def test_frames_without_a_readable_envelope_are_answered_in_their_place_too() -> None:
    async with running_server() as server, raw_websocket(server, "alice") as alice:
        bad = [
            b"",
            b"{",
            b"[]",
            b'"text"',
            b"null",
            b'{"data":{}}',
            b'{"type":7}',
            b"\x00",
            b"[" * 9_000,
        ]
        await alice.send(
            b"".join(send_to("bob", "x", i) + frame(text) for i, text in enumerate(bad))
        )
        answers = await alice.frames(2 * len(bad))
        assert numbers(answers[::2]) == list(range(len(bad)))
        for refused in answers[1::2]:
            assert refused["type"] == "error"
            assert refused["data"]["code"] == "invalid_request"
            assert "message_id" not in refused


async def test_large_answers_to_ones_own_requests_never_overflow_ones_own_outbox() -> None:
    # 200 messages of 60 KB are committed together; their answers weigh twelve megabytes.
    async with (
        running_server(limits=Limits(outbox_bytes=256 * 1024)) as server,
        raw_websocket(server, "alice") as alice,
        trio.open_nursery() as nursery,
    ):
        sends = b"".join(send_to("bob", "x" * 60_000, number) for number in range(200))
        nursery.start_soon(alice.stream.send_all, sends)
        assert numbers(await alice.frames(200)) == list(range(200))


async def test_nor_do_many_pages_of_sync() -> None:
    async with (
        running_server(limits=Limits(outbox_bytes=64 * 1024)) as server,
        raw_websocket(server, "alice") as alice,
        trio.open_nursery() as nursery,
    ):
        for number in range(10):
            await alice.send(send_to("bob", "x" * 60_000, number))
            await alice.frame()
        sync = request("sync_offline", {"include_own": True, "limit": 10})
        nursery.start_soon(alice.stream.send_all, sync * 20)
        for _ in range(20):
            page = (await alice.frame()).json["data"]
            assert len(page["messages"]) > 5


async def test_nor_do_notes_to_oneself() -> None:
    # Each comes back twice: as the answer, and as a push.
    async with (
        running_server(limits=Limits(outbox_bytes=256 * 1024)) as server,
        raw_websocket(server, "alice") as alice,
        trio.open_nursery() as nursery,
    ):
        sends = b"".join(send_to("alice", "x" * 60_000, number) for number in range(100))
        nursery.start_soon(alice.stream.send_all, sends)
        received = await alice.frames(200)
        answers = [frame for frame in received if frame["type"] == "send_message"]
        assert numbers(answers) == list(range(100))
        assert len([frame for frame in received if frame["type"] == "new_message"]) == 100


async def test_pongs_do_not_wait_for_commits() -> None:
    async with running_server() as server, raw_websocket(server, "alice") as alice:
        await alice.send(frame(b"1", PING) + send_to("bob", "x", 1) + frame(b"2", PING))
        received = [await alice.frame() for _ in range(3)]
        pongs = [frame.payload for frame in received if frame.opcode == PONG]
        assert pongs == [b"1", b"2"]
        assert [frame.opcode for frame in received].count(TEXT) == 1


@pytest.mark.parametrize(
    ("opcode", "payload", "code"),
    [(CLOSE, b"\x03\xe8", 1000), (BINARY, b"x", 1003)],
    ids=["close", "binary"],
)
async def test_what_was_asked_before_the_end_is_answered_before_the_goodbye(
    opcode: int, payload: bytes, code: int
) -> None:
    # As `echo ... | websocat` does: all is said at once, the goodbye included.
    async with running_server() as server, raw_websocket(server) as raw:
        sends = [send_to("bob", "x", number) for number in range(1, 300)]
        await raw.send(
            request("login", {"user_id": "alice"}, message_id="r0")
            + b"".join(sends)
            + frame(payload, opcode)
        )
        assert numbers(await raw.frames(300)) == list(range(300))
        assert await raw.goodbye() == code

"""How much, how long, and how a connection ends: the design's section, Limits."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import apsw
import trio
import trio.testing
from trio_websocket import ConnectionClosed

from imserver.config import Limits, Store, Timeouts
from tests.support import connect, http_client, login, rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import CLOSE, CONT, PING, TEXT, frame, raw_websocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    import imserver
    from tests.support import Socket

MIB = 1024 * 1024
SEND = {"receiver_id": "bob", "content": "hello"}


async def close_code(socket: Socket) -> int:
    """The code with which the server closes; answers that come before are skipped."""
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await socket.connection.get_message()
            except ConnectionClosed as closed:
                return closed.reason.code


def padded(size: int) -> str:
    """A heartbeat of `size` bytes."""
    frame = '{"type":"heartbeat","x":""}'
    return frame.replace('""', '"' + "x" * (size - len(frame)) + '"')


def test_the_defaults_are_the_designs() -> None:
    limits, timeouts = Limits(), Timeouts()
    assert (limits.body_bytes, limits.frame_bytes, limits.outbox_bytes) == (MIB, MIB, MIB)
    assert (limits.content_bytes, limits.page_bytes) == (MIB // 16, MIB // 2)
    assert (timeouts.login, timeouts.ping, timeouts.silence) == (10, 30, 90)


async def test_a_frame_has_1_mib_at_most() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        await alice.connection.send_message(padded(MIB))
        assert (await alice.receive())["type"] == "heartbeat"
        await alice.connection.send_message(padded(MIB + 1))
        assert await close_code(alice) == 1009


async def test_a_body_has_1_mib_at_most() -> None:
    def body(size: int) -> bytes:
        text = json.dumps(SEND | {"x": ""})
        return text.replace('""', '"' + "x" * (size - len(text)) + '"').encode()

    async with running_server() as server, rest(server, "alice") as alice:
        for size, status in ((MIB, 200), (MIB + 1, 413), (5 * MIB, 413), (MIB, 200)):
            answer = await alice.request("POST", "/api/v1/messages", content=body(size))
            assert answer.status_code == status
            if status == 413:
                assert answer.json() == {"error": "The body is too large", "code": "too_large"}


async def test_a_body_in_pieces_has_1_mib_at_most_too() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(33):
            yield b" " * 32 * 1024

    async with running_server() as server, rest(server, "alice") as alice:
        answer = await alice.request("POST", "/api/v1/messages", content=pieces())
        assert answer.status_code == 413


async def test_the_limits_are_configurable() -> None:
    limits = Limits(content_bytes=1024, body_bytes=2048, frame_bytes=2048, group_members=2)
    async with (
        running_server(limits=limits) as server,
        rest(server, "alice") as alice,
        login(server, "alice") as socket,
    ):
        for content, status in (("x" * 1024, 200), ("x" * 1025, 413), ("x" * 3000, 413)):
            answer = await alice.request(
                "POST", "/api/v1/messages", json=SEND | {"content": content}
            )
            assert answer.status_code == status
        for members, status in ((["bob"], 200), (["bob", "carol"], 413)):
            answer = await alice.request(
                "POST", "/api/v1/groups", json={"name": "mine", "members": members}
            )
            assert answer.status_code == status
        await socket.connection.send_message(padded(2049))
        assert await close_code(socket) == 1009


async def test_a_binary_frame_closes_with_1003() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        await alice.connection.send_message(b'{"type":"heartbeat"}')
        assert await close_code(alice) == 1003


async def test_what_breaks_the_protocol_closes_with_the_code_of_the_rfc() -> None:
    for broken, code in (
        (frame(b"{}", masked=False), 1002),
        (frame(b"{}", rsv=4), 1002),
        (frame(b"{}", opcode=3), 1002),
        (frame(b"", opcode=CONT), 1002),
        (frame(b'{"type":"\xff"}'), 1007),
        (frame(b'{"type":"\xed\xa0\x80"}'), 1007),
        (frame(b"{}", declared=2 * MIB), 1009),
    ):
        async with running_server() as server, raw_websocket(server, "alice") as raw:
            await raw.send(broken)
            assert await raw.goodbye() == code


async def test_requests_before_a_fatal_frame_are_answered() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for _ in range(3):
            await alice.send("heartbeat")
        await alice.connection.send_message(b"\x00")
        for _ in range(3):
            assert (await alice.receive())["type"] == "heartbeat"
        assert await close_code(alice) == 1003


async def test_who_does_not_log_in_in_time_is_closed_with_4001() -> None:
    async with (
        running_server(timeouts=Timeouts(login=0.05)) as server,
        login(server, "alice") as alice,
        connect(server) as nobody,
    ):
        await nobody.ask("heartbeat")  # is no login, and no excuse
        assert await close_code(nobody) == 4001
        await alice.no_push()


async def test_who_is_silent_and_answers_no_ping_is_dropped() -> None:
    timeouts = Timeouts(ping=0.05, silence=1.5)
    async with (
        running_server(timeouts=timeouts) as server,
        login(server, "alice") as alice,  # answers pings, and says nothing
        raw_websocket(server, "bob") as deaf,
    ):
        assert (await deaf.frame()).opcode == PING
        assert await deaf.goodbye() == 4002
        await alice.no_push()


async def test_shutting_down_closes_with_1001() -> None:
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        server = await nursery.start(serve_until, stop)
        async with login(server, "alice") as alice, connect(server) as nobody:
            stop.set()
            assert await close_code(alice) == 1001
            assert await close_code(nobody) == 1001


async def serve_until(stop: trio.Event, task_status: trio.TaskStatus[imserver.Server]) -> None:
    async with running_server() as server:
        task_status.started(server)
        await stop.wait()


async def test_a_session_that_does_not_read_is_closed_and_can_sync_everything() -> None:
    limits = Limits(outbox_bytes=64 * 1024)
    message = {"receiver_id": "bob", "content": "x" * 32 * 1024}
    sent = 100  # more than the outbox and the kernel's buffers of both sides together
    async with (
        running_server(limits=limits) as server,
        rest(server, "bob") as bob,
        login(server, "alice") as alice,
        raw_websocket(server, "bob", receive_buffer=4096) as slow,
    ):
        for _ in range(sent):
            await alice.call("send_message", message)
        got = 0
        while (last := await slow.frame()).opcode == TEXT:
            got += 1
        assert 0 < got < sent
        assert last.opcode == CLOSE
        assert int.from_bytes(last.payload[:2], "big") == 4008
        cursor, missed, more = f"msg_{got}", 0, True
        while more:
            page = await bob.get("/api/v1/messages/offline", last_message_id=cursor)
            missed += len(page["messages"])
            cursor, more = page["messages"][-1]["id"], page["has_more"]
        assert got + missed == sent


async def test_one_who_does_not_read_among_twenty_costs_the_others_nothing() -> None:
    members = [f"user{number}" for number in range(18)]
    sent = [f"{number} " + "x" * 8000 for number in range(80)]
    got: dict[str, list[str]] = {}

    async def read(member: Socket, name: str) -> None:
        got[name] = [(await member.push())["data"]["content"] for _ in sent]

    async with (
        running_server(limits=Limits(outbox_bytes=64 * 1024)) as server,
        rest(server, "alice") as alice,
        rest(server, "stuck") as stuck,
        AsyncExitStack() as clients,
    ):
        body = {"name": "g", "members": [*members, "stuck"]}
        group = (await alice.post("/api/v1/groups", body))["group"]["id"]
        sockets = [await clients.enter_async_context(login(server, name)) for name in members]
        raw = await clients.enter_async_context(raw_websocket(server, "stuck", receive_buffer=4096))
        async with trio.open_nursery() as nursery:
            for name, member in zip(members, sockets, strict=True):
                nursery.start_soon(read, member, name)
            for content in sent:
                await alice.post("/api/v1/messages", {"group_id": group, "content": content})
        assert got == dict.fromkeys(members, sent)
        pushed = []
        while (last := await raw.frame()).opcode == TEXT:
            pushed.append(last.json["data"])
        assert last.opcode == CLOSE
        assert int.from_bytes(last.payload[:2], "big") == 4008
        # What it got is the beginning, and sync has the rest.
        assert [message["content"] for message in pushed] == sent[: len(pushed)]
        assert 0 < len(pushed) < len(sent)
        cursor, missed, more = pushed[-1]["id"], [], True
        while more:
            page = await stuck.get("/api/v1/messages/offline", last_message_id=cursor)
            missed += [message["content"] for message in page["messages"]]
            cursor, more = page["messages"][-1]["id"], page["has_more"]
        assert missed == sent[len(pushed) :]


async def test_no_more_writes_wait_than_allowed(tmp_path: Path) -> None:
    store = Store(pending_writes=1, pending_seconds=0.05)
    async with (
        running_server(data=str(tmp_path), store=store) as server,
        rest(server, "alice") as alice,
        rest(server, "bob") as bob,
    ):
        await alice.post("/api/v1/messages", SEND)
        other = apsw.Connection(server.database)
        other.execute("BEGIN IMMEDIATE")  # the writer waits for it
        try:
            async with trio.open_nursery() as nursery:
                for number in range(2):  # one is being written, one waits
                    nursery.start_soon(alice.post, "/api/v1/messages", SEND)
                    await wait_until(server, queued=number)
                answer = await alice.request("POST", "/api/v1/messages", json=SEND)
                assert answer.status_code == 503
                assert answer.json()["code"] == "unavailable"
                assert answer.headers["retry-after"] == "1"
                page = await bob.get("/api/v1/messages/offline")
                assert len(page["messages"]) == 1
                other.close()
        finally:
            other.close()
        page = await bob.get("/api/v1/messages/offline")
        assert len(page["messages"]) == 3


async def wait_until(server: imserver.Server, *, queued: int) -> None:
    """Wait until all that was begun is done or stands still, with so many writes waiting."""
    async with rest(server, None) as nobody:
        while True:
            await trio.testing.wait_all_tasks_blocked(0.01)
            text = (await nobody.request("GET", "/metrics")).text
            if f"\nimserver_writes_queued {float(queued)}\n" in text:
                return


async def test_no_more_connections_than_allowed() -> None:
    limits = Limits(connections=3)
    async with running_server(limits=limits) as server, login(server, "alice") as alice:
        async with connect(server), connect(server):
            async with http_client(server) as http:
                answer = await http.get("/health")
            assert answer.status_code == 503
            assert answer.json()["code"] == "unavailable"
            assert "retry-after" in answer.headers
            await alice.no_push()
        with trio.fail_after(PATIENCE):
            while True:
                async with rest(server, None) as nobody:
                    if (await nobody.request("GET", "/health")).status_code == 200:
                        break

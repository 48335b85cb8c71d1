"""More clients than there is room for, and clients who take more than their share."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import trio

from tests.e2e.process import Process, started
from tests.support import Rest, connect, login, rest
from tests.support.clients import PATIENCE
from tests.transport.raw import HANDSHAKE, Raw, frame, open_raw, raw_websocket, request

if TYPE_CHECKING:
    from pathlib import Path


MEGABYTE = 1 << 20


async def turned_away(server: Process) -> bool:
    """Whether a new client is refused; the refusal must say why."""
    async with open_raw(server) as raw:
        await raw.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, headers, body = await raw.answer()
        if status == 200:
            return False
        assert status == 503
        assert json.loads(body)["code"] == "unavailable"
        assert int(headers[b"retry-after"]) > 0
        return True


async def until(server: Process, files: int, anyone: Rest) -> None:
    """Wait until the server has at most so many files open."""
    with trio.fail_after(PATIENCE):
        while server.files() > files:
            await anyone.get("/health")


async def test_a_full_server_says_so_and_recovers(tmp_path: Path) -> None:
    async with started(tmp_path, IMSERVER_LIMITS_CONNECTIONS="5") as server:
        async with AsyncExitStack() as clients:
            for number in range(4):
                await clients.enter_async_context(raw_websocket(server, f"user{number}"))
            last = await clients.enter_async_context(login(server, "last"))
            for _ in range(20):
                assert await turned_away(server)
            await last.call("heartbeat")  # who is in stays in
        with trio.fail_after(PATIENCE):
            while await turned_away(server):
                pass
        async with connect(server) as socket:
            await socket.call("login", {"user_id": "next"})
        assert await server.terminated() == 0
    assert '"error"' not in server.log


async def test_the_systems_limit_of_files_is_a_limit_of_connections(tmp_path: Path) -> None:
    async with started(tmp_path, open_files=256) as server:
        async with AsyncExitStack() as clients:
            count = 0
            while True:
                raw = await clients.enter_async_context(open_raw(server))
                await raw.send(HANDSHAKE)
                if not (await raw.head()).startswith(b"HTTP/1.1 101 "):
                    break
                count += 1
                assert count < 256
            assert await turned_away(server)
            assert count > 50
        with trio.fail_after(PATIENCE):
            while await turned_away(server):
                pass
        async with rest(server, "alice") as alice:
            await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": "still there"})
        assert await server.terminated() == 0
    assert "could not be accepted" not in server.log
    assert '"error"' not in server.log


async def test_hundreds_who_say_nothing_stop_nobody(tmp_path: Path) -> None:
    async with (
        started(tmp_path, IMSERVER_TIMEOUTS_REQUEST_HEAD="2") as server,
        rest(server, "bob") as bob,
    ):
        await bob.get("/health")
        before = server.files()
        async with AsyncExitStack() as clients:
            for number in range(600):
                raw = await clients.enter_async_context(open_raw(server))
                await raw.send((b"", b"G", b"GET /ws HTTP/1.1\r\nHost: ", b"\x16\x03")[number % 4])
            async with login(server, "alice") as alice:
                with trio.fail_after(PATIENCE):
                    for _ in range(100):
                        await alice.call("send_message", {"receiver_id": "bob", "content": "x"})
                    assert len((await bob.get("/api/v1/messages/offline"))["messages"]) == 50
            await until(server, before, bob)  # though every one of them still has its end open
        assert await server.terminated() == 0
    assert '"error"' not in server.log


async def one_of_each(server: Process, number: int) -> None:
    """Clients come and go, politely and not."""
    user_id = f"user{number % 50}"
    async with raw_websocket(server, user_id) as raw:
        await raw.send(request("send_message", {"receiver_id": "bob", "content": "x"}))
        match number % 5:
            case 0:
                await raw.text()
                raw.reset()
            case 1:
                await raw.send(frame(b"\x03\xe8", 8))
                await raw.frame()
            case 2:
                await raw.send(frame(b"half", fin=False))
            case 3:
                await raw.send(b"\xff\xff\xff\xff")
            case 4:
                await raw.text()
    async with open_raw(server) as raw:
        match number % 5:
            case 0:
                await raw.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                await raw.answer()
            case 1:
                await raw.send(b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Len")
            case 2:
                await raw.send(HANDSHAKE[:50])
                raw.reset()
            case 3:
                await raw.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + HANDSHAKE)
                await raw.answer()
            case 4:
                await raw.send(
                    b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nX-User-ID: a\r\n"
                    b"Content-Length: 90\r\n\r\n{"
                )
                raw.reset()


async def test_thousands_who_come_and_go_leave_nothing_behind(tmp_path: Path) -> None:
    async with started(tmp_path) as server, rest(server, "alice") as alice:

        async def come_and_go(first: int, count: int) -> None:
            for number in range(first, first + count):
                await one_of_each(server, number)

        async def many(count: int) -> None:
            async with trio.open_nursery() as nursery:
                for number in range(5):
                    nursery.start_soon(come_and_go, number * count, count)

        await alice.get("/health")
        before = server.files()
        await many(60)  # caches fill, memory finds its size
        await until(server, before, alice)
        memory = server.memory()
        await many(140)
        await until(server, before, alice)
        stats = await alice.get("/api/v1/stats")
        assert (stats["connections"], stats["online_users"]) == (0, 0)
        # 1,400 connections of which each left behind what a connection takes would be 8 MB more.
        assert server.memory() - memory < 5 * MEGABYTE
        assert await server.terminated() == 0
    assert '"error"' not in server.log


async def flood(raw: Raw, data: bytes, limit: int) -> int:
    """Send for ever, never read; returns how many bytes were taken before it got stuck."""
    sent = 0
    with trio.move_on_after(2), suppress(trio.BrokenResourceError):
        while sent < limit:
            await raw.stream.send_all(data)
            sent += len(data)
    return sent


async def test_who_asks_without_reading_is_held_back_and_costs_little(tmp_path: Path) -> None:
    sends = request("send_message", {"receiver_id": "bob", "content": "x" * 1000}) * 50
    reads = request("sync_offline", {"include_own": True, "limit": 200}) * 500
    beats = request("heartbeat") * 1000
    calls = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 500
    async with started(tmp_path) as server, AsyncExitStack() as clients:
        async with login(server, "warm") as warm:
            for _ in range(200):
                data = {"receiver_id": "greedy1", "content": "x" * 5000}
                await warm.call("send_message", data)
        before = server.memory()
        taken: list[int] = []

        async def keep_on(raw: Raw, data: bytes) -> None:
            taken.append(await flood(raw, data, 200 * MEGABYTE))

        async with trio.open_nursery() as nursery:
            for number, data in enumerate((sends, reads, beats, sends, reads, beats)):
                raw = await clients.enter_async_context(
                    raw_websocket(server, f"greedy{number}", receive_buffer=4096)
                )
                nursery.start_soon(keep_on, raw, data)
            raw = await clients.enter_async_context(open_raw(server, receive_buffer=4096))
            nursery.start_soon(keep_on, raw, calls)
            # The others are served all the while.
            async with login(server, "alice") as alice, rest(server, "bob") as bob:
                for _ in range(30):
                    with trio.fail_after(PATIENCE):
                        data = {"receiver_id": "bob", "content": "in time"}
                        await alice.call("send_message", data)
                        await bob.get("/health")
        assert all(sent < 20 * MEGABYTE for sent in taken), taken
        assert server.memory() - before < 40 * MEGABYTE
        async with login(server, "alice") as alice:
            await alice.call("heartbeat")
        await clients.aclose()
        assert await server.terminated() == 0
    assert '"error"' not in server.log


async def test_a_crowd_that_does_not_read_costs_what_its_outboxes_hold(tmp_path: Path) -> None:
    bound = 256 * 1024
    async with (
        started(tmp_path, IMSERVER_LIMITS_OUTBOX_BYTES=str(bound)) as server,
        rest(server, "sender") as sender,
        AsyncExitStack() as clients,
    ):
        members = [f"slow{number}" for number in range(60)]
        group = await sender.post("/api/v1/groups", {"name": "g", "members": members})
        for member in members:
            await clients.enter_async_context(raw_websocket(server, member, receive_buffer=4096))
        before = server.memory()
        body = {"group_id": group["group"]["id"], "content": "x" * 60_000}
        highest = 0
        for _ in range(60):
            await sender.post("/api/v1/messages", body)
            highest = max(highest, server.memory())
        assert highest - before < len(members) * bound + 30 * MEGABYTE
        with trio.fail_after(PATIENCE):
            while (await sender.get("/api/v1/stats"))["connections"]:
                pass  # all of them are let go within seconds
        await clients.aclose()
        assert await server.terminated() == 0
    assert '"error"' not in server.log

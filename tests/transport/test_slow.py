"""Nobody waits for somebody else's network: clients who do not take what is theirs."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import pytest
import trio

from imserver.config import Limits, Timeouts
from imserver.transport import link
from tests.support import Rest, login, rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import CLOSE, PING, frame, raw_websocket, request

if TYPE_CHECKING:
    from imserver import Server

TOO_SLOW = 4008
SMALL = Limits(outbox_bytes=64 * 1024)


async def until_connections(server: Server, count: int) -> None:
    """Wait until so many WebSockets are open."""
    async with rest(server, None) as nobody:
        with trio.fail_after(PATIENCE):
            while (await nobody.get("/api/v1/stats"))["connections"] != count:
                pass


async def flood(server: Server, group_id: str, count: int) -> list[str]:
    """Send so many messages of 30 KB to a group, one after the other; returns their ids."""
    ids = []
    async with login(server, "sender") as sender:
        for number in range(count):
            data = {"group_id": group_id, "content": f"{number:5}" + "x" * 30_000}
            ids.append((await sender.call("send_message", data))["message_id"])
    return ids


async def group_of(sender: Rest, *members: str) -> str:
    group = await sender.post("/api/v1/groups", {"name": "g", "members": list(members)})
    return group["group"]["id"]


@pytest.fixture
def short_linger(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time that a client has for taking our goodbye, without the waiting."""
    monkeypatch.setattr(link, "LINGER", 0.2)


@pytest.mark.usefixtures("short_linger")
async def test_who_never_reads_is_let_go_and_delays_nobody() -> None:
    async with running_server(limits=SMALL) as server, rest(server, "sender") as sender:
        group_id = await group_of(sender, "slow", "fast")
        async with (
            raw_websocket(server, "slow", receive_buffer=4096) as slow,
            login(server, "fast") as fast,
        ):
            got: list[str] = []

            async def read() -> None:
                while len(got) < 60:
                    got.append((await fast.push())["data"]["id"])

            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(read)
                    ids = await flood(server, group_id, 60)
            assert got == ids
            await until_connections(server, 1)  # the fast one's
            await slow.cut_off()

        # Reconnected, the slow one can sync everything that it missed.
        async with login(server, "slow") as slow_again:
            missed = []
            cursor = None
            has_more = True
            while has_more:
                page = await slow_again.call("sync_offline", {"last_message_id": cursor})
                missed += [m["id"] for m in page["messages"] if m["type"] != "system"]
                has_more = page["has_more"]
                cursor = page["messages"][-1]["id"]
            assert missed == ids


async def test_who_reads_again_in_time_is_told_why_and_never_gets_half_a_frame() -> None:
    async with running_server(limits=SMALL) as server, rest(server, "sender") as sender:
        group_id = await group_of(sender, "slow")
        async with raw_websocket(server, "slow", receive_buffer=4096) as slow:
            ids = await flood(server, group_id, 60)
            got = []
            while (received := await slow.frame()).opcode != CLOSE:
                got.append(received.json["data"]["id"])
            assert int.from_bytes(received.payload[:2], "big") == TOO_SLOW
            await slow.end()
            assert got == ids[: len(got)]  # a beginning of what was sent, without a hole
            assert 0 < len(got) < 60


async def test_a_slow_reader_within_its_bound_gets_everything() -> None:
    limits = Limits(outbox_bytes=4 * 1024 * 1024)
    async with running_server(limits=limits) as server, rest(server, "sender") as sender:
        group_id = await group_of(sender, "slow")
        async with raw_websocket(server, "slow", receive_buffer=4096) as slow:
            ids = await flood(server, group_id, 60)
            assert [push["data"]["id"] for push in await slow.frames(60)] == ids


@pytest.mark.usefixtures("short_linger")
async def test_who_floods_pings_without_reading_is_let_go() -> None:
    async with (
        running_server(limits=SMALL) as server,
        raw_websocket(server, "slow", receive_buffer=4096) as slow,
    ):
        with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
            while True:
                await slow.stream.send_all(frame(b"p" * 125, PING) * 100)
        await until_connections(server, 0)


async def test_who_asks_without_reading_is_held_back() -> None:
    async with (
        running_server(limits=SMALL) as server,
        raw_websocket(server, "greedy", receive_buffer=4096) as greedy,
        login(server, "other") as other,
    ):
        ask = request("heartbeat") * 100
        sent = 0
        with trio.move_on_after(1) as scope:
            while True:
                await greedy.stream.send_all(ask)
                sent += 100
        assert scope.cancelled_caught  # at some point nothing more was taken
        await other.call("heartbeat")
        # It is not punished either: what it asked is answered as soon as it reads.
        answers = await greedy.frames(sent)
        assert all(answer["type"] == "heartbeat" for answer in answers)


@pytest.mark.usefixtures("short_linger")
async def test_a_send_cut_off_in_the_middle_ends_in_a_reset() -> None:
    # An orderly end would pass half a frame off as all there was.
    with trio.fail_after(PATIENCE):
        async with AsyncExitStack() as clients:
            async with running_server(timeouts=Timeouts(shutdown=3600)) as server:
                async with rest(server, "sender") as sender:
                    group_id = await group_of(sender, "slow")
                slow = await clients.enter_async_context(
                    raw_websocket(server, "slow", receive_buffer=4096)
                )
                await flood(server, group_id, 20)
            await slow.cut_off()

"""Deadlines: logging in, giving signs of life. On trio's clock, which jumps when all wait."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from imserver.domain.errors import CloseCode
from imserver.domain.model import Grant
from imserver.live.hub import Hub
from imserver.live.sweeper import Sweeper
from tests.live.links import FakeLink

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from trio.testing import MockClock

LATE = 2.1  # seconds by which a deadline may be noticed late
EPOCH_MS = 1_700_000_000_000  # when trio's clock is 0


def wall() -> int:
    """Milliseconds since the epoch."""
    return EPOCH_MS + round(trio.current_time() * 1000)


@asynccontextmanager
async def swept_hub() -> AsyncIterator[Hub]:
    """A hub under a sweeper with the documented deadlines."""
    hub = Hub(lambda payload: payload, outbox_bytes=1000)
    sweeper = Sweeper(hub, wall, login_timeout=10, ping_after=30, drop_after=90)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweeper.run)
        await trio.sleep(0.5)
        yield hub
        nursery.cancel_scope.cancel()


async def test_who_does_not_log_in_is_closed_when_the_time_is_up(
    autojump_clock: MockClock,
) -> None:
    async with swept_hub() as hub:
        link = FakeLink()
        hub.open(link)
        await trio.sleep(9.9)
        assert link.closed == []
        await trio.sleep(0.1 + LATE)
        assert link.closed == [CloseCode.LOGIN_TIMEOUT]
        await trio.sleep(100)
        assert link.closed == [CloseCode.LOGIN_TIMEOUT]  # once


async def test_no_login_is_cut_short_by_the_sweepers_coarse_clock(
    autojump_clock: MockClock,
) -> None:
    hub = Hub(lambda payload: payload, outbox_bytes=1000)
    sweeper = Sweeper(hub, wall, login_timeout=1.5, ping_after=30, drop_after=90)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweeper.run)
        await trio.sleep(0.9)  # since the clock was looked at
        link = FakeLink()
        hub.open(link)
        await trio.sleep(1.4)
        assert link.closed == []
        await trio.sleep(0.1 + 2 * LATE)
        assert link.closed == [CloseCode.LOGIN_TIMEOUT]
        nursery.cancel_scope.cancel()


async def test_who_logged_in_stays_as_long_as_they_are_heard(autojump_clock: MockClock) -> None:
    async with swept_hub() as hub:
        link = FakeLink()
        session = hub.open(link)
        hub.login(session, Grant("alice"))
        for _ in range(20):
            await trio.sleep(25)
            session.heard = hub.tick
        assert link.closed == []
        assert link.pings == 0


async def test_silence_is_answered_with_one_ping_and_ended_in_the_end(
    autojump_clock: MockClock,
) -> None:
    async with swept_hub() as hub:
        link = FakeLink()
        hub.login(hub.open(link), Grant("alice"))
        await trio.sleep(29)
        assert link.pings == 0
        await trio.sleep(1 + LATE)
        assert link.pings == 1
        await trio.sleep(58)
        assert link.pings == 1
        assert link.closed == []
        await trio.sleep(2 + LATE)
        assert link.closed == [CloseCode.HEARTBEAT_TIMEOUT]


async def test_an_answer_to_the_ping_keeps_the_connection_and_earns_another_ping(
    autojump_clock: MockClock,
) -> None:
    async with swept_hub() as hub:
        link = FakeLink()
        session = hub.open(link)
        hub.login(session, Grant("alice"))
        for rounds in range(1, 6):
            await trio.sleep(30 + LATE + 1)
            assert link.pings == rounds
            session.heard = hub.tick
        assert link.closed == []


async def test_a_session_ends_when_what_it_rests_on_expires(autojump_clock: MockClock) -> None:
    async with swept_hub() as hub:
        link, renewed, other = FakeLink(), FakeLink(), FakeLink()
        session = hub.open(renewed)
        soon = wall() + 20_000
        hub.login(hub.open(link), Grant("alice", expires=soon))
        hub.login(session, Grant("alice", expires=soon))
        hub.login(hub.open(other), Grant("alice"))
        await trio.sleep(19.9)
        assert link.closed == []
        hub.login(session, Grant("alice", expires=soon + 20_000))
        await trio.sleep(0.1 + LATE)
        assert link.closed == [CloseCode.SIGNED_OUT]
        assert renewed.closed == []
        await trio.sleep(20)
        assert link.closed == renewed.closed == [CloseCode.SIGNED_OUT]
        assert other.closed == []


async def test_who_is_closing_already_is_left_alone(autojump_clock: MockClock) -> None:
    async with swept_hub() as hub:
        link = FakeLink()
        session = hub.open(link)
        session.outbox.finish(CloseCode.TOO_SLOW)
        await trio.sleep(200)
        assert link.closed == [CloseCode.TOO_SLOW]
        assert link.pings == 0


async def test_thousands_of_sessions_do_not_keep_others_from_their_turn(
    mock_clock: MockClock,
) -> None:
    hub = Hub(lambda payload: payload, outbox_bytes=1000)
    sweeper = Sweeper(hub, wall, login_timeout=10, ping_after=30, drop_after=90)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweeper.run)
        await wait_all_tasks_blocked()
        links = [FakeLink() for _ in range(2_001)]
        for link in links:
            hub.open(link)
        mock_clock.jump(12)
        seen = {0}
        for _ in range(1_000):
            await trio.lowlevel.checkpoint()
            seen.add(sum(1 for link in links if link.closed))
            if 2_001 in seen:
                break
        assert 2_001 in seen
        assert len(seen & {500, 1_000, 1_500, 2_000}) >= 2  # seen half done, and more than once
        nursery.cancel_scope.cancel()


async def test_time_in_which_the_process_stood_still_counts_for_nobody(
    mock_clock: MockClock,
) -> None:
    hub = Hub(lambda payload: payload, outbox_bytes=1000)
    sweeper = Sweeper(hub, wall, login_timeout=10, ping_after=30, drop_after=90)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(sweeper.run)
        await wait_all_tasks_blocked()
        for _ in range(2):
            mock_clock.jump(1)
            await wait_all_tasks_blocked()
        heard, silent = FakeLink(), FakeLink()
        for link in (heard, silent):
            hub.login(hub.open(link), Grant("alice"))
        stranger = FakeLink()
        hub.open(stranger)
        mock_clock.jump(100)  # what came meanwhile waits to be read
        await wait_all_tasks_blocked()
        for _ in range(5):
            mock_clock.jump(1)
            await wait_all_tasks_blocked()
        assert heard.closed == silent.closed == stranger.closed == []
        for _ in range(90):
            mock_clock.jump(1)
            await wait_all_tasks_blocked()
        assert silent.closed == [CloseCode.HEARTBEAT_TIMEOUT]
        assert stranger.closed == [CloseCode.LOGIN_TIMEOUT]
        nursery.cancel_scope.cancel()

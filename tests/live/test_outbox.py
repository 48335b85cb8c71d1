"""The way out of one session: bounded, in order, never in halves."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from imserver.domain.errors import CloseCode
from imserver.live.outbox import Outbox
from tests.live.links import FakeLink


async def test_what_was_put_leaves_in_one_piece_at_flush() -> None:
    link = FakeLink()
    outbox = Outbox(link, 100)
    outbox.put(b"one ")
    outbox.put(b"two ")
    outbox.put(b"three")
    assert link.sends == []
    assert outbox.size == 13
    outbox.flush()
    assert link.sends == [b"one two three"]
    assert outbox.size == 0


async def test_a_long_queue_leaves_in_pieces_of_whole_frames() -> None:
    link = FakeLink()
    outbox = Outbox(link, 1 << 20)
    frames = [bytes([number]) * 30_000 for number in range(5)]
    for frame in frames:
        outbox.put(frame)
    outbox.flush()
    assert link.sent == b"".join(frames)
    assert [len(piece) for piece in link.sends] == [60_000, 60_000, 30_000]


async def test_a_frame_larger_than_a_piece_leaves_alone() -> None:
    link = FakeLink()
    outbox = Outbox(link, 1 << 20)
    outbox.put(b"small")
    outbox.put(b"L" * 100_000)
    outbox.put(b"small")
    outbox.flush()
    assert [len(piece) for piece in link.sends] == [5, 100_000, 5]


async def test_the_rest_of_a_partial_send_follows_when_the_network_takes_it() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=4)
        outbox = Outbox(link, 100)
        outbox.put(b"0123456789")
        outbox.flush()
        assert link.sent == b"0123"
        assert outbox.size == 6
        outbox.put(b"abc")
        outbox.flush()  # must neither overtake nor start a second task
        await wait_all_tasks_blocked()
        assert link.sent == b"0123"
        assert link.spawned == 1
        link.open(3)
        await wait_all_tasks_blocked()
        assert link.sent == b"0123456"
        link.open()
        await wait_all_tasks_blocked()
        assert link.sent == b"0123456789abc"
        assert outbox.size == 0
    # The nursery ended: no task is left behind once everything has gone.


async def test_after_a_jam_frames_leave_at_once_again() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=0)
        outbox = Outbox(link, 100)
        outbox.put(b"jammed ")
        outbox.flush()
        link.open()
        await wait_all_tasks_blocked()
        outbox.put(b"free")
        outbox.flush()
        assert link.sent == b"jammed free"
        assert link.spawned == 1


async def test_put_makes_room_by_sending_before_it_overflows() -> None:
    link = FakeLink()
    outbox = Outbox(link, 10)
    for _ in range(5):
        outbox.put(b"12345678")  # never flushed in between: a busy batch
    outbox.flush()
    assert link.sent == b"12345678" * 5
    assert not outbox.closed


async def test_a_frame_larger_than_the_bound_goes_through_an_empty_outbox() -> None:
    link = FakeLink()
    outbox = Outbox(link, 10)
    outbox.put(b"a page of a sync")
    outbox.flush()
    assert link.sent == b"a page of a sync"
    assert not outbox.closed


async def test_overflow_drops_the_rest_finishes_the_piece_under_way_and_closes() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=3)
        outbox = Outbox(link, 20)
        outbox.put(b"under way.")
        outbox.flush()
        outbox.put(b"dropped...")
        assert not outbox.closed
        outbox.put(b"one too many")
        assert outbox.closed
        assert link.expirations == 1
        assert link.closed == []  # not before the piece under way is through
        outbox.put(b"ignored")
        outbox.flush()
        link.open()
        await wait_all_tasks_blocked()
        assert link.sent == b"under way."
        assert link.closed == [CloseCode.TOO_SLOW]
        assert outbox.size == 0


async def test_the_bound_counts_the_piece_under_way() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=0)
        outbox = Outbox(link, 20)
        outbox.put(b"x" * 15)
        outbox.flush()
        outbox.put(b"y" * 5)
        assert not outbox.closed
        outbox.put(b"z")
        assert outbox.closed
        nursery.cancel_scope.cancel()


async def test_who_overflows_wakes_who_waits_for_room() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=0)
        outbox = Outbox(link, 10)
        outbox.put(b"x" * 10)
        outbox.flush()
        done = trio.Event()

        async def wait() -> None:
            await outbox.wait_below(5)
            done.set()

        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        assert not done.is_set()
        outbox.put(b"y")
        await wait_all_tasks_blocked()
        assert done.is_set()
        nursery.cancel_scope.cancel()


async def test_wait_below_waits_until_so_much_has_left() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=0)
        outbox = Outbox(link, 1000)
        for _ in range(3):
            outbox.put(b"x" * 100)
            outbox.flush()
        reached: list[int] = []

        async def wait(size: int) -> None:
            await outbox.wait_below(size)
            reached.append(size)

        for size in (0, 200, 300):
            nursery.start_soon(wait, size)
        await wait_all_tasks_blocked()
        assert reached == [300]
        link.open(100)  # the first piece is through
        await wait_all_tasks_blocked()
        assert reached == [300, 200]
        link.open()
        await wait_all_tasks_blocked()
        assert reached == [300, 200, 0]


async def test_finish_with_nothing_waiting_closes_at_once() -> None:
    link = FakeLink()
    outbox = Outbox(link, 100)
    outbox.finish(CloseCode.GOING_AWAY)
    assert link.closed == [CloseCode.GOING_AWAY]
    assert link.expirations == 1
    outbox.put(b"too late")
    outbox.flush()
    assert link.sent == b""


async def test_finish_sends_what_waits_before_it_closes() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=2)
        outbox = Outbox(link, 100)
        outbox.put(b"first ")
        outbox.flush()
        outbox.put(b"second")
        outbox.finish(CloseCode.GOING_AWAY)
        assert link.expirations == 1  # the time to take it is limited from now on
        assert link.closed == []
        outbox.put(b"too late")
        link.open()
        await wait_all_tasks_blocked()
        assert link.sent == b"first second"
        assert link.closed == [CloseCode.GOING_AWAY]


async def test_only_the_first_reason_to_finish_counts() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=0)
        outbox = Outbox(link, 10)
        outbox.put(b"0123456789")
        outbox.flush()
        outbox.put(b"one too many")
        outbox.finish(CloseCode.GOING_AWAY)
        outbox.finish(CloseCode.HEARTBEAT_TIMEOUT)
        link.open()
        await wait_all_tasks_blocked()
        assert link.closed == [CloseCode.TOO_SLOW]
        assert link.expirations == 1


async def test_finish_wakes_who_waits_for_room_when_the_last_piece_is_through() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=0)
        outbox = Outbox(link, 100)
        outbox.put(b"x" * 50)
        outbox.flush()
        nursery.start_soon(outbox.wait_below, 0)
        await wait_all_tasks_blocked()
        outbox.finish(CloseCode.GOING_AWAY)
        link.open()
    # The nursery ended: nobody waits for ever.
    assert link.closed == [CloseCode.GOING_AWAY]


async def test_a_network_that_is_gone_at_flush_abandons_everything() -> None:
    link = FakeLink()
    outbox = Outbox(link, 100)
    outbox.put(b"lost")
    link.sever()
    outbox.flush()
    assert outbox.closed
    assert outbox.size == 0
    outbox.put(b"ignored")
    outbox.flush()
    assert outbox.size == 0


async def test_a_network_that_breaks_in_the_middle_abandons_everything() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=1)
        outbox = Outbox(link, 100)
        outbox.put(b"half sent")
        outbox.flush()
        outbox.put(b"behind it")
        nursery.start_soon(outbox.wait_below, 0)
        await wait_all_tasks_blocked()
        link.sever()
    # Nobody waits any more, and nothing was said to a peer that is not there.
    assert outbox.closed
    assert link.closed == []
    assert link.sent == b"h"


async def test_abandon_drops_what_waits_and_wakes_who_waits() -> None:
    async with trio.open_nursery() as nursery:
        link = FakeLink(nursery, window=4)
        outbox = Outbox(link, 100)
        outbox.put(b"under way")
        outbox.flush()
        outbox.put(b"behind it")
        nursery.start_soon(outbox.wait_below, 0)
        await wait_all_tasks_blocked()
        outbox.abandon()
        assert outbox.size == len(b"r way")
        outbox.put(b"ignored")
        link.open()
    assert link.sent == b"under way"
    assert link.closed == []

"""Turns at something scarce."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from imserver.domain.errors import ApiError
from imserver.turns import Turns


class Asking:
    """Tasks that take turns, in the order in which they got them."""

    def __init__(self, turns: Turns, nursery: trio.Nursery) -> None:
        self.turns = turns
        self.nursery = nursery
        self.order: list[str] = []
        self.refused: list[str] = []  # with a time to wait

    async def ask(self, key: str, hold: trio.Event | None = None, *, heavy: bool = False) -> None:
        try:
            async with self.turns.turn(key, heavy=heavy):
                self.order.append(key)
                if hold is not None:
                    await hold.wait()
        except ApiError as error:
            self.refused.append(key if error.retry_after_ms else error.code)

    async def start(self, key: str, hold: trio.Event | None = None, *, heavy: bool = False) -> None:
        async def task() -> None:
            await self.ask(key, hold, heavy=heavy)

        self.nursery.start_soon(task)
        await wait_all_tasks_blocked()


async def test_keys_take_turns_however_much_one_of_them_asks() -> None:
    gate = trio.Event()
    async with trio.open_nursery() as nursery:
        asking = Asking(Turns(1, most_waiting=100, most_of_one=50), nursery)
        await asking.start("first", gate)
        for _ in range(20):
            await asking.start("greedy")
        for key in ("ann", "bob"):
            await asking.start(key)
        gate.set()
    assert asking.order[:4] == ["first", "greedy", "ann", "bob"]
    assert len(asking.order) == 23


async def test_heavy_work_leaves_a_place_to_light_work() -> None:
    gate = trio.Event()
    async with trio.open_nursery() as nursery:
        asking = Asking(Turns(3, for_light=1, most_waiting=100, most_of_one=50), nursery)
        for number in range(10):
            await asking.start(f"heavy{number}", gate, heavy=True)
        assert len(asking.order) == 2
        await asking.start("light")
        assert asking.order[2:] == ["light"]
        assert asking.turns.waiting == 8
        gate.set()
    assert len(asking.order) == 11


async def test_light_work_does_not_starve_heavy_work() -> None:
    gate = trio.Event()
    async with trio.open_nursery() as nursery:
        asking = Asking(Turns(1, most_waiting=100, most_of_one=50), nursery)
        await asking.start("first", gate)
        for number in range(5):
            await asking.start(f"light{number}")
        await asking.start("heavy", heavy=True)
        gate.set()
    assert "heavy" in asking.order[:3]


async def test_one_key_has_so_many_waiting_and_no_more() -> None:
    gate = trio.Event()
    async with trio.open_nursery() as nursery:
        asking = Asking(Turns(1, most_waiting=100, most_of_one=3), nursery)
        for _ in range(10):
            await asking.start("greedy", gate)
        assert asking.refused == ["greedy"] * 6
        gate.set()


async def test_without_room_the_key_that_waits_most_gives_way() -> None:
    gate = trio.Event()
    async with trio.open_nursery() as nursery:
        asking = Asking(Turns(1, most_waiting=10, most_of_one=50), nursery)
        for _ in range(11):
            await asking.start("greedy", gate)
        for number in range(5):
            await asking.start(f"user{number}", gate)
        assert asking.refused == ["greedy"] * 5
        gate.set()


async def test_whoever_is_cancelled_leaves_their_place() -> None:
    turns = Turns(1, most_waiting=10, most_of_one=5)
    async with turns.turn("ann"):
        with trio.move_on_after(0.01):
            async with turns.turn("bob"):
                raise AssertionError
        assert turns.waiting == 0
    with trio.fail_after(1):
        async with turns.turn("bob"):
            pass

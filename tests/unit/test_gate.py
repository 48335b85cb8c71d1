"""How many connections one address may have."""

from __future__ import annotations

import trio
from trio.testing import wait_all_tasks_blocked

from imserver.live.rates import Rate
from imserver.transport.gate import Gate


def gate(*, most: int = 100, room: int = 1000, burst: int = 10_000) -> Gate:
    return Gate(Rate(1, burst), lambda: 1000.0, most_connections=most, room=room)


def test_a_network_of_ipv6_is_one_address() -> None:
    own = gate(most=5)
    answers = [own.enter(f"2001:db8::{number}") for number in range(8)]
    assert [answer is None for answer in answers] == [True] * 5 + [False] * 3
    assert own.enter("2001:db8:0:1::1") is None
    own.leave("2001:db8::77")
    assert own.enter("2001:db8::99") is None


def test_its_rate_is_that_of_one_address_too() -> None:
    own = gate(burst=3)
    answers = [own.enter(f"2001:db8::{number}") for number in range(4)]
    assert [answer is None for answer in answers] == [True] * 3 + [False]


def test_a_single_address_never_gets_all_of_the_room() -> None:
    own = gate(most=1000, room=20)
    answers = [own.enter("192.0.2.1") for _ in range(20)]
    assert [answer is None for answer in answers] == [True] * 10 + [False] * 10
    assert own.enter("192.0.2.2") is None


def test_nor_does_a_site_with_many_networks() -> None:
    own = gate(most=1000, room=20)
    answers = [own.enter(f"2001:db8:0:{number}::1") for number in range(20)]
    assert [answer is None for answer in answers] == [True] * 10 + [False] * 10
    for number in range(10):
        own.leave(f"2001:db8:0:{number}::1")
    assert own._open == {}


async def test_however_many_requests_one_address_has_others_find_a_place() -> None:
    own = gate()
    answered = trio.Event()
    running: list[str] = []

    async def request(address: str) -> None:
        async with own.under_way(address):
            running.append(address)
            await answered.wait()

    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(request, f"2001:db8::{number}")
        await wait_all_tasks_blocked()
        before = len(running)
        assert 0 < before < 20
        nursery.start_soon(request, "192.0.2.1")
        await wait_all_tasks_blocked()
        assert running[before:] == ["192.0.2.1"]
        answered.set()
    assert len(running) == 101
    assert own._under_way == {}

"""Rates with bursts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imserver.live.rates import Rate, RateLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_is_admitted_and_then_one_for_each_interval() -> None:
    clock = Clock()
    limiter = RateLimiter(Rate(10, 5), clock)
    assert [limiter.take("a") for _ in range(5)] == [0] * 5
    wait = limiter.take("a")
    assert 99 <= wait <= 101
    clock.now += wait / 1000
    assert limiter.take("a") == 0
    assert limiter.take("a") > 0


def test_what_is_refused_takes_nothing() -> None:
    clock = Clock()
    limiter = RateLimiter(Rate(1, 1), clock)
    assert limiter.take("a") == 0
    for _ in range(100):
        assert limiter.take("a") > 0
    clock.now += 1
    assert limiter.take("a") == 0


def test_keys_have_budgets_of_their_own() -> None:
    limiter = RateLimiter(Rate(1, 1), Clock())
    assert limiter.take("a") == limiter.take("b") == 0
    assert limiter.take("a") > 0


def test_whoever_has_a_whole_budget_is_forgotten() -> None:
    clock = Clock()
    limiter = RateLimiter(Rate(1, 1), clock)
    for number in range(50_000):
        clock.now += 0.01
        limiter.take(str(number))
    assert len(limiter._whole_at) < 3000


@given(
    steps=st.lists(st.floats(0, 3), max_size=60),
    per_second=st.floats(0.1, 50),
    burst=st.integers(1, 20),
)
def test_no_stretch_of_time_admits_more_than_burst_and_rate(
    steps: list[float], per_second: float, burst: int
) -> None:
    clock = Clock()
    limiter = RateLimiter(Rate(per_second, burst), clock)
    admitted: list[float] = []
    for step in steps:
        clock.now += step
        if limiter.take("a") == 0:
            admitted.append(clock.now)
    for first, start in enumerate(admitted):
        for last in range(first, len(admitted)):
            stretch = admitted[last] - start
            assert last - first + 1 <= burst + stretch * per_second + 1e-3


def test_a_cost_beyond_what_is_left_is_let_in_once_and_then_paid_off() -> None:
    clock = Clock()
    limiter = RateLimiter(Rate(10, 20), clock)
    assert limiter.take("a", 120) == 0
    wait = limiter.take("a")
    assert 10_000 <= wait <= 10_101  # until one of the burst is back
    clock.now += wait / 1000
    assert limiter.take("a") == 0

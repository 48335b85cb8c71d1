"""Histograms put every value into its bucket; refusals are told apart."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from imserver.domain.errors import ApiError, Code
from imserver.tally import Histogram, Refusals

BOUNDS = (1, 2.5, 10)
values = st.one_of(st.sampled_from([0, *BOUNDS]), st.floats(0, 20))


@given(st.lists(st.tuples(values, st.integers(1, 5))))
def test_a_bucket_counts_what_is_not_above_its_bound(observed: list[tuple[float, int]]) -> None:
    histogram = Histogram(BOUNDS)
    every = []
    for value, times in observed:
        histogram.observe(value, times)
        every += [value] * times
    assert histogram.count == len(every)
    assert abs(histogram.total - sum(every)) < 1e-6
    assert dict(histogram.buckets()) == {
        bound: sum(value <= bound for value in every) for bound in (*BOUNDS, float("inf"))
    }


def test_refusals_are_counted_by_transport_and_code() -> None:
    refusals = Refusals()
    for transport in ("rest", "rest", "websocket"):
        refusals.count(transport, ApiError(Code.NOT_FOUND))
    refusals.count("rest", ApiError(Code.FORBIDDEN))
    assert refusals.counts == {
        ("rest", "not_found"): 2,
        ("websocket", "not_found"): 1,
        ("rest", "forbidden"): 1,
    }

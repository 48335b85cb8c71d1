"""What the parts of a server count of themselves, for `/metrics` to read when somebody asks.

Laws:

- Nothing here knows of any format, or of any other part: who counts owns its numbers.
- What happens per message is a plain integer; a histogram is told once a batch or a call.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imserver.domain.errors import ApiError

# Upper bounds of buckets. Seconds, from a fast disk's sync to what nobody waits for any more.
SECONDS: Final = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
    5.0, 10.0,
)  # fmt: skip
WRITES: Final = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)


class Histogram:
    """How often values of which size came."""

    __slots__ = ("_bounds", "_counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)  # each bucket's own; the last is beyond all bounds
        self.total = 0.0  # of all values

    def observe(self, value: float, times: int = 1) -> None:
        """A value came, so often."""
        self._counts[bisect_left(self._bounds, value)] += times
        self.total += value * times

    @property
    def count(self) -> int:
        """How many values came."""
        return sum(self._counts)

    def buckets(self) -> Iterator[tuple[float, int]]:
        """Each upper bound, infinity the last, and how many values were not above it."""
        so_far = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            so_far += count
            yield bound, so_far


class Removals:
    """What retention has done since the start."""

    def __init__(self) -> None:
        self.messages = 0  # removed
        self.failed = 0  # of these, what nobody had got
        self.ended_ms = 0  # when it last was through, in ms since the epoch; 0: never
        self.audit_entries = 0  # that were left in the audit log then


class Refusals:
    """How often what was refused, by transport (`rest`, `websocket`, `connection`) and code."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def count(self, transport: str, error: ApiError) -> None:
        """One more."""
        self.counts[transport, error.code.value] += 1

"""Rate limits with bursts, in memory only.

The generic cell rate algorithm (ITU-T I.371): for each key one number, the time at which its
budget is full again. Owner of the numbers: `RateLimiter`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_PRUNED: Final = 1024  # keys remembered before those with a whole budget are dropped


class Rate(NamedTuple):
    """The average number a second, and the most at once."""

    per_second: float
    burst: int


class RateLimiter:
    """Limits the rate of each key."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._interval = 1 / rate.per_second  # seconds of budget that one unit costs
        self._tolerance = rate.burst / rate.per_second  # seconds of budget usable in advance
        self._clock = clock  # seconds, never backwards
        self._whole_at: dict[str, float] = {}
        self._prune_at = _LEAST_PRUNED

    def take(self, key: str, cost: int = 1) -> int:
        """Take `cost` from the budget of `key`.

        Returns 0 if it was taken, otherwise the milliseconds to wait. One unit must be left. A
        larger `cost` is then taken whole, and the key waits until the debt is paid.
        """
        now = self._clock()
        before = max(self._whole_at.get(key, now), now)
        ahead = before - now + self._interval - self._tolerance
        if ahead > 1e-9:
            return int(ahead * 1000) + 1
        self._whole_at[key] = before + self._interval * cost
        if len(self._whole_at) >= self._prune_at:
            self._prune(now)
        return 0

    def debit(self, key: str, cost: int) -> None:
        """Take `cost` from the budget of `key`, even if that goes into debt: the work is done."""
        now = self._clock()
        self._whole_at[key] = max(self._whole_at.get(key, now), now) + self._interval * cost

    def _prune(self, now: float) -> None:
        """Forget keys whose budget is full."""
        self._whole_at = {key: at for key, at in self._whole_at.items() if at > now}
        self._prune_at = max(_LEAST_PRUNED, 2 * len(self._whole_at))

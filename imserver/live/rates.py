"""Rates with bursts: who may do how much, in memory only.

The generic cell rate algorithm (ITU-T I.371): for each key one number, the time at which its
budget would be whole again. Owner of the numbers: `RateLimiter`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

_LEAST_PRUNED: Final = 1024  # keys remembered before those with a whole budget are dropped


class Rate(NamedTuple):
    """So many a second in the long run, and so many at once."""

    per_second: float
    burst: int


class RateLimiter:
    """Admits what comes at no more than a rate, separately for each key."""

    def __init__(self, rate: Rate, clock: Callable[[], float]) -> None:
        self._interval = 1 / rate.per_second  # seconds of budget that one costs
        self._tolerance = rate.burst / rate.per_second  # seconds of budget that may be used ahead
        self._clock = clock  # seconds, never backwards
        self._whole_at: dict[str, float] = {}
        self._prune_at = _LEAST_PRUNED

    def take(self, key: str, cost: int = 1) -> int:
        """Take `cost` from the budget of `key`.

        Returns 0 if it was there, else the milliseconds until it will be; nothing is taken then.
        What costs more than is left is let in if one is left, and nothing more until that is paid.
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
        """Take `cost` from the budget of `key`, there or not: what is done must be paid."""
        now = self._clock()
        self._whole_at[key] = max(self._whole_at.get(key, now), now) + self._interval * cost

    def _prune(self, now: float) -> None:
        """Forget whoever has a whole budget, as if they had never come."""
        self._whole_at = {key: at for key, at in self._whole_at.items() if at > now}
        self._prune_at = max(_LEAST_PRUNED, 2 * len(self._whole_at))

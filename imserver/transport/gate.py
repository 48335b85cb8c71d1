"""What one address may have and do: open connections, and connections a second.

Owner of the counts: `Gate`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from imserver.domain.errors import ApiError, Code
from imserver.live.rates import Rate, RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable


class Gate:
    """Counts each address's connections, open ones and new ones a second."""

    def __init__(
        self,
        rate: Rate,
        clock: Callable[[], float],
        *,
        most_connections: int,
    ) -> None:
        self._limiter = RateLimiter(rate, clock)
        self._most_connections = most_connections
        self._open: dict[str, int] = {}

    def enter(self, address: str) -> ApiError | None:
        """Count a connection that was accepted; returns the refusal if it may not stay."""
        count = self._open.get(address, 0)
        if count >= self._most_connections:
            return ApiError(
                Code.RATE_LIMITED, "Too many connections from this address", retry_after_ms=5_000
            )
        wait_ms = self._limiter.take(address)
        if wait_ms:
            return ApiError(Code.RATE_LIMITED, retry_after_ms=wait_ms)
        self._open[address] = count + 1
        return None

    def leave(self, address: str) -> None:
        """Forget a connection that `enter` let in."""
        count = self._open.get(address, 0) - 1
        if count > 0:
            self._open[address] = count
        else:
            self._open.pop(address, None)

"""Limits for one address: open connections, and new connections a second.

An IPv6 address counts as its /64, the smallest network of one customer. Law: no address and no IPv6
/48 ever has more than half of the connections that the server has room for.

Owner of the counts: `Gate`.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from imserver.domain.errors import ApiError, Code
from imserver.live.backoff import SITE, network_of
from imserver.live.rates import Rate, RateLimiter

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

_AT_ONCE: Final = 8  # REST requests of one address under way at once


class Gate:
    """Counts the connections of each address: open ones, and new ones a second."""

    def __init__(
        self,
        rate: Rate,
        clock: Callable[[], float],
        *,
        most_connections: int,
        room: int,
    ) -> None:
        self._limiter = RateLimiter(rate, clock)
        self._share = max(1, room // 2)  # of all connections that the server has room for
        self._most_connections = min(most_connections, self._share)
        self._open: dict[str, int] = {}  # by network
        self._under_way: dict[str, trio.CapacityLimiter] = {}  # REST requests, by network

    def enter(self, address: str) -> ApiError | None:
        """Count a connection that was accepted; returns the refusal if it may not stay."""
        network, site = network_of(address), network_of(address, SITE)
        if (
            self._open.get(network, 0) >= self._most_connections
            or self._open.get(site, 0) >= self._share
        ):
            return ApiError(
                Code.RATE_LIMITED, "Too many connections from this address", retry_after_ms=5_000
            )
        wait_ms = self._limiter.take(network)
        if wait_ms:
            return ApiError(Code.RATE_LIMITED, retry_after_ms=wait_ms)
        for key in {network, site}:
            self._open[key] = self._open.get(key, 0) + 1
        return None

    @asynccontextmanager
    async def under_way(self, address: str) -> AsyncIterator[None]:
        """Wait for a place for a REST request of an address, and hold it during the context.

        An address has a fixed number of places, however many connections it uses.
        """
        network = network_of(address)
        places = self._under_way.get(network)
        if places is None:
            places = self._under_way[network] = trio.CapacityLimiter(_AT_ONCE)
        try:
            async with places:
                yield
        finally:
            if not places.borrowed_tokens and not places.statistics().tasks_waiting:
                self._under_way.pop(network, None)

    def leave(self, address: str) -> None:
        """Forget a connection that `enter` let in."""
        for key in {network_of(address), network_of(address, SITE)}:
            count = self._open.get(key, 0) - 1
            if count > 0:
                self._open[key] = count
            else:
                self._open.pop(key, None)

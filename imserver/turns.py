"""Turns at something scarce, shared fairly between those who ask for it.

Laws:

- Keys take turns, not requests: whoever asks a hundred times at once delays others by one turn.
- Heavy work never has all places: some are kept for light work.
- What waits is bounded. If there is no room, the key that waits most gives up its newest request.

Owner of the places and of the queues: `Turns`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

import trio

from imserver.domain.errors import ApiError, Code

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_RETRY_AFTER_MS: Final = 1_000


class _Request:
    """One request that waits for its turn."""

    __slots__ = ("admitted", "granted")

    def __init__(self) -> None:
        self.granted = trio.Event()
        self.admitted = False  # whether it has a place; else it was turned away


class _Rotation:
    """Queues by key; the key that was served last goes to the end."""

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[_Request]] = OrderedDict()
        self.length = 0

    def __bool__(self) -> bool:
        return self.length > 0

    def of(self, key: str) -> int:
        return len(self._queues.get(key, ()))

    def add(self, key: str, request: _Request) -> None:
        self._queues.setdefault(key, deque()).append(request)
        self.length += 1

    def next(self) -> _Request:
        key, queue = next(iter(self._queues.items()))
        request = queue.popleft()
        self.length -= 1
        if queue:
            self._queues.move_to_end(key)
        else:
            del self._queues[key]
        return request

    def remove(self, key: str, request: _Request) -> None:
        queue = self._queues.get(key)
        if queue is None or request not in queue:
            return
        queue.remove(request)
        self.length -= 1
        if not queue:
            del self._queues[key]

    def longest(self) -> tuple[str, int]:
        key = max(self._queues, key=lambda each: len(self._queues[each]))
        return key, len(self._queues[key])

    def drop_newest(self, key: str) -> _Request:
        request = self._queues[key][-1]
        self.remove(key, request)
        return request


class Turns:
    """A number of places, given to keys in turn."""

    def __init__(
        self, places: int, *, for_light: int = 0, most_waiting: int, most_of_one: int
    ) -> None:
        self._free = places
        self._heavy_free = max(1, places - for_light)
        self._light = _Rotation()
        self._heavy = _Rotation()
        self._most_waiting = most_waiting
        self._most_of_one = most_of_one
        self._heavy_next = False  # of both that could go, whose turn it is

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return self._light.length + self._heavy.length

    @asynccontextmanager
    async def turn(self, key: str, *, heavy: bool = False) -> AsyncIterator[None]:
        """Wait for a place, and have it for as long as the context lasts.

        Raises:
            ApiError: `rate_limited`, if too many wait; most of all of this key.
        """
        await self._wait(key, heavy=heavy)
        try:
            yield
        finally:
            self._free += 1
            self._heavy_free += heavy
            self._grant()

    async def _wait(self, key: str, *, heavy: bool) -> None:
        rotation = self._heavy if heavy else self._light
        if self._light.of(key) + self._heavy.of(key) >= self._most_of_one:
            raise _too_many()
        request = _Request()
        rotation.add(key, request)
        self._grant()
        if not request.granted.is_set() and self.waiting > self._most_waiting:
            self._make_room()
        try:
            await request.granted.wait()
        except BaseException:
            if request.admitted:  # granted and cancelled at the same moment
                self._free += 1
                self._heavy_free += heavy
                self._grant()
            else:
                rotation.remove(key, request)
            raise
        if not request.admitted:
            raise _too_many()

    def _make_room(self) -> None:
        """Turn away the newest request of the key that has most."""
        rotations = [each for each in (self._light, self._heavy) if each]
        rotation = max(rotations, key=lambda each: each.longest()[1])
        rotation.drop_newest(rotation.longest()[0]).granted.set()

    def _grant(self) -> None:
        while self._free:
            heavy_may = bool(self._heavy) and self._heavy_free > 0
            if not self._light and not heavy_may:
                return
            heavy = heavy_may and (self._heavy_next or not self._light)
            request = (self._heavy if heavy else self._light).next()
            self._heavy_next = not heavy
            self._free -= 1
            self._heavy_free -= heavy
            request.admitted = True
            request.granted.set()


def _too_many() -> ApiError:
    return ApiError(
        Code.RATE_LIMITED, "Too many requests wait at once", retry_after_ms=_RETRY_AFTER_MS
    )

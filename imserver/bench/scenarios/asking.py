"""One request at a time on a connection, the next when its answer is there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imserver.bench.loop import LoadConnection, clock

if TYPE_CHECKING:
    from collections.abc import Callable


class Asking:
    """Keeps one connection busy; its wire's `acked` counts the answers."""

    def __init__(self, connection: LoadConnection, request: Callable[[], bytes]) -> None:
        self.to_answer: list[float] = []  # seconds
        self.asked = 0
        self.going = True  # False: what is under way is the last
        self._connection = connection
        self._request = request  # the bytes of the next one
        self._asked_at = 0.0
        connection.changed = self.advance

    def advance(self) -> None:
        """Ask, unless an answer is still to come."""
        now = clock()
        if self.asked:
            if not self.settled:
                return
            self.to_answer.append(now - self._asked_at)
        if self.going:
            self.asked += 1
            self._asked_at = now
            self._connection.send(self._request())

    @property
    def settled(self) -> bool:
        """Whether everything asked was answered."""
        return self._connection.wire.acked == self.asked

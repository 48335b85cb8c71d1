"""How much each user may ask for. Off, it costs one comparison a request.

Each operation draws on one budget: sending is counted apart from everything else, and sync has a
budget of its own, so that a client that comes back after a while is not held up by its backlog.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from imserver.domain.errors import ApiError, Code
from imserver.live.backoff import network_of
from imserver.live.rates import Rate, RateLimiter

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Budget(Enum):
    """What an operation draws on."""

    NONE = "none"
    MESSAGES = "messages"  # a user's sends
    SYNCS = "syncs"  # a user's pages of sync
    REQUESTS = "requests"  # everything else a user asks for
    LOGINS = "logins"  # of all users together, and before that of an address


class Admission:
    """Owner of every user's budgets."""

    def __init__(
        self,
        rates: Mapping[Budget, Rate],
        clock: Callable[[], float],
        *,
        address_logins: Rate,
        user_sessions: int,
    ) -> None:
        self._limiters = {budget: RateLimiter(rate, clock) for budget, rate in rates.items()}
        # One address must not use up what is everybody's.
        self._of_address = RateLimiter(address_logins, clock)
        self.user_sessions = user_sessions  # WebSockets that one user may have open

    def admit(self, budget: Budget, user_id: str, address: str, cost: int = 1) -> None:
        """Draw from a budget; `address` is the client's, "" where it has none.

        Whoever is nobody yet (`user_id` is "") draws on a budget of their address.

        Raises:
            ApiError: `rate_limited`, with the time until there is enough again.
        """
        limiter = self._limiters.get(budget)
        if limiter is None:
            return
        if budget is Budget.LOGINS:
            wait_ms = self._of_address.take(network_of(address), cost) if address else 0
            wait_ms = wait_ms or limiter.take("", cost)
        else:
            # No user id holds a control character.
            wait_ms = limiter.take(user_id or f"\0{network_of(address)}", cost)
        if wait_ms:
            raise ApiError(Code.RATE_LIMITED, retry_after_ms=wait_ms)

"""How much each user and each address may ask for. Off, it costs one comparison a request.

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

    MESSAGES = "messages"  # a user's sends
    SYNCS = "syncs"  # a user's pages of sync
    REQUESTS = "requests"  # everything else a user asks for, or somebody who is not logged in
    LOGINS = "logins"  # of all users together, and before that of an address


class Admission:
    """Owner of the budgets of every user and every address."""

    def __init__(
        self,
        rates: Mapping[Budget, Rate],
        clock: Callable[[], float],
        *,
        address_logins: Rate,
        user_sessions: int,
        address_users: int = 10,
    ) -> None:
        self._limiters = {budget: RateLimiter(rate, clock) for budget, rate in rates.items()}
        # One address must not use up what is everybody's.
        self._address_logins = RateLimiter(address_logins, clock)
        # Of an address whose callers have proved nothing: as much as so many users have.
        self._of_address = {
            budget: RateLimiter(
                Rate(rate.per_second * address_users, rate.burst * address_users), clock
            )
            for budget, rate in rates.items()
        }
        self.user_sessions = user_sessions  # WebSockets that one user may have open

    def admit(
        self, budget: Budget, user_id: str, address: str, cost: int = 1, *, proved: bool = True
    ) -> None:
        """Draw from a budget; `address` is the client's, "" where it has none.

        A caller who is nobody yet (`user_id` is "") draws on the budget of their address, and so
        does one who has not `proved` to be that user.

        Raises:
            ApiError: `rate_limited`, with the time until there is enough again.
        """
        limiter = self._limiters.get(budget)
        if limiter is None:
            return
        if budget is Budget.LOGINS:
            wait_ms = self._address_logins.take(network_of(address), cost) if address else 0
            wait_ms = wait_ms or limiter.take("", cost)
        else:
            wait_ms = limiter.take(user_id, cost) if user_id else 0
            if not wait_ms and not (user_id and (proved or not address)):
                wait_ms = self._of_address[budget].take(network_of(address), cost)
        if wait_ms:
            raise ApiError(Code.RATE_LIMITED, retry_after_ms=wait_ms)

    def debit(
        self, budget: Budget, user_id: str, address: str, cost: int, *, proved: bool = True
    ) -> None:
        """Charge for what a request turned out to cost, when it is done."""
        if user_id and budget in self._limiters and budget is not Budget.LOGINS:
            self._limiters[budget].debit(user_id, cost)
            if address and not proved:
                self._of_address[budget].debit(network_of(address), cost)

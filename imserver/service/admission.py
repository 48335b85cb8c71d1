"""Rate limits for users and addresses. If they are off, a request costs one comparison.

Each operation draws on one budget. Sends have a budget of their own. So have pages of sync, so that
a client that returns can fetch its backlog and still make other requests.
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
    REQUESTS = "requests"  # all other requests, also those without a login
    LOGINS = "logins"  # of one address, then of all users together


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
        # One address must not use up the budget of all.
        self._address_logins = RateLimiter(address_logins, clock)
        # An address whose callers are not authenticated gets as much as this many users.
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

        A caller without a login (`user_id` is "") draws on the budget of their address. So does a
        caller who has not `proved` to be that user.

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
        """Charge for the cost that is known only after a request is done."""
        if user_id and budget in self._limiters and budget is not Budget.LOGINS:
            self._limiters[budget].debit(user_id, cost)
            if address and not proved:
                self._of_address[budget].debit(network_of(address), cost)

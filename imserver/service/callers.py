"""Who calls an operation, whether they may, and what it costs; for both transports.

A transport calls `admit` with a request's headers or session, `charge` when the request is decoded,
and `settle` when it has an answer. Transports check neither `Who`, nor budgets, nor passwords that
must be changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from imserver.domain.errors import ApiError, Code
from imserver.service.admission import Budget
from imserver.service.engine import Caller, Who
from imserver.service.identity.modes import must_change_first

if TYPE_CHECKING:
    from imserver.service.engine import Engine, Operation
    from imserver.service.identity.modes import Head

# Bound here: to read a member from its enum class takes 0.1 us, for every frame.
_ANYONE: Final = Who.ANYONE
_ADMINISTRATOR: Final = Who.ADMINISTRATOR
_ANSWER_BYTES: Final = 64 * 1024  # each so many bytes of an answer cost one request


class Admissible(Protocol):
    """What admission must know of an operation, or of a route that is not one."""

    @property
    def who(self) -> Who:
        """Who may call it."""

    @property
    def budget(self) -> Budget:
        """The budget that it draws on."""

    @property
    def before_change(self) -> bool:
        """Whether users who must change their password may call it."""


def admit(
    engine: Engine, operation: Admissible | None, caller: Caller, head: Head | None = None
) -> Caller:
    """Identify the caller of an operation, check that they may call it, and charge one request.

    Without `head`, the request came on a session, and `caller` is the user who is logged in there.
    With `head`, the request names its caller; `caller` then says only where it came from.
    `operation` is None for a request that is unknown or cannot be decoded.

    Raises:
        ApiError: `not_logged_in`, `unauthorized`, `forbidden` or `invalid_request` if the caller
            may not; `rate_limited` if they have asked for too much.
    """
    if engine.admission is None:
        return _found(engine, operation, caller, head)
    try:
        caller = _found(engine, operation, caller, head)
    except ApiError:
        _take(engine, caller, Budget.REQUESTS, 1)
        raise
    _take(engine, caller, Budget.REQUESTS if operation is None else operation.budget, 1)
    return caller


def _found(
    engine: Engine, operation: Admissible | None, caller: Caller, head: Head | None
) -> Caller:
    who = _ANYONE if operation is None else operation.who
    if who is not _ANYONE and not (who is _ADMINISTRATOR and caller.peer.operator):
        if head is not None:
            grant = engine.identity.of_request(caller.peer, head)
            caller = Caller(grant.user_id, caller.session, grant, caller.peer)
        elif not caller.user_id:
            raise ApiError(Code.NOT_LOGGED_IN)
        assert operation is not None
        if caller.grant.must_change and not operation.before_change:
            raise must_change_first()
        if who is _ADMINISTRATOR and not caller.administrator:
            raise ApiError(Code.FORBIDDEN, "Only an administrator of the server may do this")
    return caller


def charge(engine: Engine, operation: Operation, caller: Caller, request: object) -> None:
    """Charge what a decoded request costs beyond the one request of `admit`.

    Raises:
        ApiError: `rate_limited`.
    """
    if operation.cost is not None:
        _take(engine, caller, operation.budget, operation.cost(request) - 1)


def settle(engine: Engine, operation: Operation, caller: Caller, answer: bytes) -> None:
    """Charge a caller for a long answer. Pages of sync are bounded: they are charged by number."""
    admission, peer = engine.admission, caller.peer
    if admission is None or peer.operator or operation.budget is not Budget.REQUESTS:
        return
    if cost := len(answer) // _ANSWER_BYTES:
        proved = engine.identity.proves
        admission.debit(operation.budget, caller.user_id, peer.address, cost, proved=proved)


def _take(engine: Engine, caller: Caller, budget: Budget, cost: int) -> None:
    admission, peer = engine.admission, caller.peer
    if admission is not None and cost > 0 and not peer.operator:
        proved = engine.identity.proves
        admission.admit(budget, caller.user_id, peer.address, cost, proved=proved)

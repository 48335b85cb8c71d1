"""Logging in on a WebSocket, and signs of life."""

from __future__ import annotations

from typing import Final

from imserver.domain import answered, requested
from imserver.domain.errors import Code
from imserver.service import sessions
from imserver.service.admission import Budget
from imserver.service.engine import Immediate, Operation, Who

OPERATIONS: Final[tuple[Operation, ...]] = (
    Immediate(
        name="login",
        summary="Say who this connection is",
        request=requested.Login,
        answer=answered.LoggedIn,
        who=Who.ANYONE,
        ws="login",
        errors=(Code.UNAUTHORIZED, Code.FORBIDDEN),
        budget=Budget.LOGINS,
        handle=sessions.login,
    ),
    Immediate(
        name="heartbeat",
        summary="Give a sign of life and learn the server's time",
        request=requested.Heartbeat,
        answer=answered.HeartbeatAnswer,
        ws="heartbeat",
        errors=(Code.FORBIDDEN,),
        handle=sessions.heartbeat,
    ),
)

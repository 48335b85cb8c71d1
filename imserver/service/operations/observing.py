"""What the server says of itself."""

from __future__ import annotations

from typing import Final

from imserver.domain import answered, requested
from imserver.service import sessions
from imserver.service.engine import Immediate, Operation, Procedure, Rest, Who

OPERATIONS: Final[tuple[Operation, ...]] = (
    Immediate(
        name="health",
        summary="Ask whether the server serves",
        request=requested.Nothing,
        answer=answered.Health,
        who=Who.ANYONE,
        rest=Rest("GET", "/health"),
        handle=sessions.health,
    ),
    Procedure(
        name="ready",
        summary="Ask whether requests should be sent here",
        request=requested.Nothing,
        answer=answered.Health,
        who=Who.ANYONE,
        rest=Rest("GET", "/ready"),
        handle=sessions.ready,
    ),
    Immediate(
        name="stats",
        summary="Ask who is connected",
        request=requested.Nothing,
        answer=answered.Stats,
        who=Who.ANYONE,
        rest=Rest("GET", "/api/v1/stats"),
        handle=sessions.stats,
    ),
)

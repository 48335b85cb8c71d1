"""What the server says of itself besides its operations: its description, metrics, and at `/ws`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from imserver.domain.errors import ApiError, Code
from imserver.service.engine import Who
from imserver.transport.openapi import describe
from imserver.transport.routes import Answer, RawCall, RawRoute
from imserver.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from imserver.transport.metrics import Metrics


def self_description(user_scheme: dict[str, str], metrics: Metrics | None) -> list[RawRoute]:
    """The routes; `user_scheme` is how calls say who calls, without `metrics` there are none."""
    described: list[bytes] = []

    async def openapi(call: RawCall) -> Answer:
        if not described:
            described.append(msgspec.json.encode(describe(__version__, user_scheme)) + b"\n")
        return Answer(200, described[0])

    async def websocket(call: RawCall) -> Answer:
        raise ApiError(Code.UPGRADE_REQUIRED)

    routes = [_open("/openapi.json", openapi), _open("/ws", websocket)]
    if metrics is not None:

        async def scrape(call: RawCall) -> Answer:
            text, content_type = metrics.render(call.head.text("Accept") or "")
            return Answer(200, text, (("Content-Type", content_type),))

        routes.append(_open("/metrics", scrape))
    return routes


def _open(path: str, handle: Callable[[RawCall], Awaitable[Answer]]) -> RawRoute:
    return RawRoute("GET", path, handle, who=Who.ANYONE)

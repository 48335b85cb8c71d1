"""What REST answers look like: their headers, refusals, and what browsers are told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.domain import frames
from imserver.domain.errors import ApiError, Code
from imserver.service.identity.modes import USER_HEADER
from imserver.transport.requests import REQUEST_ID_HEADER
from imserver.transport.routes import JSON, Answer, RawRoute
from imserver.transport.sockets import retry_after

if TYPE_CHECKING:
    from imserver.transport.routes import Match

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
# Unless a route says otherwise its answer is no page: no browser may take it for one, frame it or
# keep it. A page opened at such an answer may still reach the server that gave it.
DEFAULTS: Final = (
    ("Content-Type", JSON),
    ("Cache-Control", "no-store"),
    (
        "Content-Security-Policy",
        "default-src 'none'; connect-src 'self'; frame-ancestors 'none'",
    ),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
_SENT_BY_PAGES: Final = (
    "Authorization", "Content-Type", USER_HEADER, IDEMPOTENCY_HEADER, REQUEST_ID_HEADER,
)  # fmt: skip
_SEEN_BY_PAGES: Final = ("Retry-After", REQUEST_ID_HEADER)
_PREFLIGHT_SECONDS: Final = "600"


def json_answer(body: bytes) -> Answer:
    """The answer of an operation; a terminal's next prompt stands on a line of its own."""
    return Answer(200, body + b"\n")


def refusal(error: ApiError, challenge: str | None = None, *, closing: bool = False) -> Answer:
    """A refusal in JSON; `challenge` is what `WWW-Authenticate` says of a 401."""
    headers: list[tuple[str, str]] = []
    if error.code is Code.UNAUTHORIZED and challenge is not None:
        headers.append(("WWW-Authenticate", challenge))
    if error.retry_after_ms is not None:
        headers.append(("Retry-After", retry_after(error.retry_after_ms)))
    if error.code is Code.UPGRADE_REQUIRED:
        headers.append(("Upgrade", "websocket"))
    body = frames.error_body(error) + b"\n"
    return Answer(error.status, body, tuple(headers), closing=closing)


def fields(answer: Answer) -> list[tuple[str, str]]:
    """The headers of an answer: its own, and the defaults that it does not replace."""
    if not answer.headers:
        return list(DEFAULTS)
    given = {name.lower() for name, _ in answer.headers}
    return [
        *((name, value) for name, value in DEFAULTS if name.lower() not in given),
        *answer.headers,
    ]


def preflight(match: Match) -> Answer:
    """What a browser is told that asks whether a page of another origin may call a path."""
    sent = list(_SENT_BY_PAGES)
    for route in match.routes.values():
        if isinstance(route, RawRoute):
            sent += (name for name in route.request_headers if name not in sent)
    return Answer(
        204,
        headers=(
            ("Access-Control-Allow-Methods", match.allowed),
            ("Access-Control-Allow-Headers", ", ".join(sent)),
            ("Access-Control-Max-Age", _PREFLIGHT_SECONDS),
        ),
    )


def shared(answer: Answer, origin: str, match: Match | None) -> Answer:
    """An answer that the pages of `origin` may read."""
    seen = list(_SEEN_BY_PAGES)
    for route in () if match is None else match.routes.values():
        if isinstance(route, RawRoute):
            seen += (name for name in route.response_headers if name not in seen)
    return answer._replace(
        headers=(
            *answer.headers,
            ("Access-Control-Allow-Origin", origin),
            ("Access-Control-Expose-Headers", ", ".join(seen)),
            ("Vary", "Origin"),
        )
    )

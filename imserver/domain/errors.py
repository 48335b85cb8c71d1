"""The closed catalogue of refusals.

Every refusal that a client can see is one of `Code`. `CATALOGUE` gives each code its HTTP status, a
default sentence, and its meaning. No other text reaches a client: no exception and no SQL.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import NamedTuple


class Code(StrEnum):
    """The short string in `code`, beside every `error`."""

    INVALID_REQUEST = "invalid_request"
    UNAUTHORIZED = "unauthorized"
    NOT_LOGGED_IN = "not_logged_in"
    WRONG_CREDENTIALS = "wrong_credentials"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_SLOW = "too_slow"
    CONFLICT = "conflict"
    CURSOR_AHEAD = "cursor_ahead"
    TOO_LARGE = "too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    UPGRADE_REQUIRED = "upgrade_required"
    UNKNOWN_TYPE = "unknown_type"
    RATE_LIMITED = "rate_limited"
    INTERNAL = "internal"
    UNAVAILABLE = "unavailable"


class Fault(NamedTuple):
    """One row of the catalogue."""

    status: int  # HTTP status of a REST answer
    sentence: str  # the default text of `error`
    meaning: str  # for the documentation


CATALOGUE: dict[Code, Fault] = {
    Code.INVALID_REQUEST: Fault(
        400,
        "The request is malformed",
        "A field is missing, of the wrong type or out of its range; the text names it.",
    ),
    Code.UNAUTHORIZED: Fault(401, "X-User-ID is required", "The call does not say who is calling."),
    Code.NOT_LOGGED_IN: Fault(
        401, "Log in first", "A WebSocket frame other than `login` came before a login."
    ),
    Code.WRONG_CREDENTIALS: Fault(
        401,
        "The user or the password is wrong",
        "The account does not exist, or the password is wrong. The answer does not say which.",
    ),
    Code.FORBIDDEN: Fault(
        403, "Not allowed", "The caller is known and may not do this. A retry will not help."
    ),
    Code.NOT_FOUND: Fault(404, "Not found", "It does not exist, or the caller may not see it."),
    Code.METHOD_NOT_ALLOWED: Fault(
        405, "Method not allowed", "The path exists, but does not take this method."
    ),
    Code.TOO_SLOW: Fault(
        408,
        "The request took too long to arrive",
        "A head or a body did not arrive in time. Try again.",
    ),
    Code.CONFLICT: Fault(
        409,
        "The same client_msg_id was used for another message",
        "A `client_msg_id` (or `Idempotency-Key`) was used before with other content, the user has "
        "an account already, or the user is the last administrator.",
    ),
    Code.CURSOR_AHEAD: Fault(
        409,
        "last_message_id is newer than anything on this server",
        "The server was restored from an older copy. Drop the cursor and sync from the start.",
    ),
    Code.TOO_LARGE: Fault(413, "Too large", "A body or a content exceeds its documented limit."),
    Code.UNSUPPORTED_MEDIA_TYPE: Fault(
        415, "The body must be application/json", "The `Content-Type` is not JSON."
    ),
    Code.UPGRADE_REQUIRED: Fault(
        426, "/ws speaks WebSocket", "A plain HTTP request was made to the WebSocket endpoint."
    ),
    Code.UNKNOWN_TYPE: Fault(
        400, "Unknown frame type", "A WebSocket frame has a `type` that does not exist."
    ),
    Code.RATE_LIMITED: Fault(
        429, "Too many requests", "Wait for `retry_after_ms` milliseconds and try again."
    ),
    Code.INTERNAL: Fault(500, "Internal error", "A defect of the server. Its log has the details."),
    Code.UNAVAILABLE: Fault(
        503,
        "The server cannot store anything at the moment",
        "The disk is full or fails, or the server is stopping. Nothing was stored. Try later.",
    ),
}


class ApiError(Exception):
    """A refusal. `detail` is a sentence for the client and must hold nothing secret."""

    def __init__(
        self, code: Code, detail: str | None = None, *, retry_after_ms: int | None = None
    ) -> None:
        self.code = code
        self.detail = detail or CATALOGUE[code].sentence
        self.retry_after_ms = retry_after_ms
        super().__init__(self.detail)

    @property
    def status(self) -> int:
        """The HTTP status of this refusal."""
        return CATALOGUE[self.code].status


class CloseCode(IntEnum):
    """WebSocket close codes that the server sends (RFC 6455 section 7.4, and ours from 4000)."""

    GOING_AWAY = 1001  # the server is shutting down: reconnect later
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003  # a binary frame
    INVALID_DATA = 1007  # text that is not UTF-8
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    LOGIN_TIMEOUT = 4001  # no login in time
    HEARTBEAT_TIMEOUT = 4002  # nothing heard for too long
    SIGNED_OUT = 4003  # the login has expired or was revoked: log in again
    TOO_SLOW = 4008  # the outbox overflowed: reconnect and sync
    RATE_LIMITED = 4029  # answers with `rate_limited` were ignored


CLOSE_REASONS: dict[CloseCode, str] = {
    CloseCode.GOING_AWAY: "server is shutting down",
    CloseCode.PROTOCOL_ERROR: "protocol error",
    CloseCode.UNSUPPORTED_DATA: "text frames only",
    CloseCode.INVALID_DATA: "text is not UTF-8",
    CloseCode.POLICY_VIOLATION: "policy violation",
    CloseCode.MESSAGE_TOO_BIG: "frame too large",
    CloseCode.INTERNAL_ERROR: "internal error",
    CloseCode.LOGIN_TIMEOUT: "no login in time",
    CloseCode.HEARTBEAT_TIMEOUT: "no sign of life",
    CloseCode.SIGNED_OUT: "signed out: token expired or revoked",
    CloseCode.TOO_SLOW: "too slow, reconnect and sync",
    CloseCode.RATE_LIMITED: "too many requests",
}

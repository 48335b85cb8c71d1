"""The WebSocket envelope, and the request and answer payloads of every operation.

Requests are checked here, once, for shape; what they may do is for `service` to say. Unknown
fields are ignored. Answers carry the fields of the API document in its order.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import (
    MAX_CLIENT_MSG_ID,
    MAX_GROUP_DESCRIPTION,
    MAX_GROUP_NAME,
    MAX_RETENTION_DAYS,
    MAX_USER_ID,
    MESSAGE_TYPES,
    MIN_RETENTION_DAYS,
    Group,
    Invitation,
    Member,
    Message,
)

MAX_MESSAGE_ID: Final = 128  # characters of the envelope's correlation id
MAX_LIMIT: Final = 200  # things on a page
DEFAULT_LIMIT: Final = 50


Correlation = Annotated[str, Meta(max_length=MAX_MESSAGE_ID)] | None


class Envelope(Struct, frozen=True, gc=False):
    """What every frame is wrapped in; the client's `timestamp` is its own affair."""

    type: str
    data: Raw = Raw(b"{}")
    message_id: Correlation = None


def request_frame(kind: str, payload: type[Struct]) -> type[Any]:
    """The struct of whole request frames of one type: `data` is the payload, decoded."""
    return msgspec.defstruct(
        f"{payload.__name__}Frame",
        [("data", payload), ("message_id", Correlation, None)],
        tag_field="type",
        tag=kind,
        frozen=True,
        gc=False,
    )


# -- requests ---------------------------------------------------------------------------------


def _said(**schema: Any) -> Meta:
    """What the OpenAPI document says of a value. `service` sees to it, in its own words."""
    return Meta(extra_json_schema=schema)


_UserId = Annotated[str, _said(minLength=1, maxLength=MAX_USER_ID)]
_ClientMsgId = Annotated[str, _said(maxLength=MAX_CLIENT_MSG_ID)]
_Type = Annotated[str, _said(enum=[*MESSAGE_TYPES, ""])]
_Status = Annotated[str, _said(enum=["delivered", "read"])]
_Role = Annotated[str, _said(enum=["admin", "member"])]
_Name = Annotated[str, _said(minLength=1, maxLength=MAX_GROUP_NAME)]
_Description = Annotated[str, _said(maxLength=MAX_GROUP_DESCRIPTION)]
_Days = Annotated[
    float,
    _said(anyOf=[{"const": 0}, {"minimum": MIN_RETENTION_DAYS, "maximum": MAX_RETENTION_DAYS}]),
]
_Limit = Annotated[int, _said(minimum=1, maximum=MAX_LIMIT)]


class Nothing(Struct, frozen=True):
    """A request without parameters."""


class Login(Struct, frozen=True):
    """Say who this connection is."""

    user_id: str | None = None
    token: str | None = None
    platform: str | None = None


class Heartbeat(Struct, frozen=True):
    """A sign of life."""

    user_id: str | None = None


class SendMessage(Struct, frozen=True, gc=False):
    """A message to one user or to a group; `group_id` wins where both are given."""

    content: str | None = None
    receiver_id: str | None = None
    group_id: str | None = None
    type: _Type | None = None
    client_msg_id: _ClientMsgId | None = None


class GetMessage(Struct, frozen=True):
    """One message by its id."""

    message_id: str


class Ack(Struct, frozen=True):
    """Say how far a message has come; `cumulative` means all before it in its conversation too."""

    message_id: str
    status: _Status
    cumulative: bool | None = None


class SyncOffline(Struct, frozen=True):
    """The messages after a cursor, or all that are not acknowledged."""

    last_message_id: str | None = None
    limit: _Limit | None = None
    include_own: bool | None = None
    include_newest: bool | None = None


class CreateGroup(Struct, frozen=True):
    """A new group of the caller and `members`."""

    name: _Name | None = None
    description: _Description | None = None
    members: list[_UserId] | None = None
    private: bool | None = None
    retention_days: _Days | None = None


class UpdateGroup(Struct, frozen=True):
    """New properties of a group; what is absent stays."""

    group_id: str
    name: _Name | None = None
    description: _Description | None = None
    private: bool | None = None
    retention_days: _Days | None = None


class AddMembers(Struct, frozen=True):
    """Users to be let into a group."""

    group_id: str
    members: list[_UserId]


class MemberRef(Struct, frozen=True):
    """A user in, or about to be in, a group."""

    group_id: str
    user_id: _UserId


class SetRole(Struct, frozen=True):
    """A member's new role, `admin` or `member`."""

    group_id: str
    user_id: _UserId
    role: _Role


class GroupRef(Struct, frozen=True):
    """A group by its id."""

    group_id: str


class PasswordLogin(Struct, frozen=True):
    """A user's password, and on what device it is given."""

    user_id: str
    password: str
    device: str | None = None
    platform: str | None = None


class ChangePassword(Struct, frozen=True):
    """The caller's password, and the one that it is to be."""

    old_password: str
    new_password: str


class SessionRef(Struct, frozen=True):
    """A token by its id."""

    token_id: str


# -- answers ----------------------------------------------------------------------------------


class Success(Struct, frozen=True):
    """It is done."""

    success: bool = True


class LoggedIn(Struct, frozen=True):
    """The connection now is `user_id`'s."""

    success: bool
    message: str
    user_id: str


class HeartbeatAnswer(Struct, frozen=True):
    """The server's time, in milliseconds."""

    timestamp: int


class Sent(Struct, frozen=True):
    """The message as stored: it is on disk."""

    success: bool
    message_id: str
    message: Message


class OneMessage(Struct, frozen=True):
    """One message."""

    message: Message


class Page(Struct, frozen=True, omit_defaults=True):
    """Messages, oldest first; `has_more` is exact.

    `newest_message_id`, where asked for, is the newest message of all at that moment, whoever
    may see it: what a client that starts without a cursor resumes from once it has every page.

    `gap` says that messages which would have come after the cursor were removed;
    `oldest_message_id` is then the oldest that the caller can still see. `failed` are messages of
    the caller that were removed since before anybody had them.
    """

    messages: list[Message]
    has_more: bool
    newest_message_id: str | None = None
    gap: bool = False
    oldest_message_id: str | None = None
    failed: list[str] = []


class OneGroup(Struct, frozen=True):
    """One group."""

    group: Group


class Groups(Struct, frozen=True):
    """The caller's groups."""

    groups: list[Group]


class Invitations(Struct, frozen=True):
    """The caller's open invitations."""

    invitations: list[Invitation]


class Members(Struct, frozen=True):
    """All members of a group, the owner included."""

    members: list[Member]


class TokenIssued(Struct, frozen=True):
    """A token, told this once; the password may have to be changed before it is good for more."""

    token: str
    token_id: str
    user_id: str
    expires_at: str
    must_change_password: bool


class AuthSession(Struct, frozen=True):
    """One of the caller's tokens: where it was asked for, and how it is used."""

    token_id: str
    device: str
    platform: str
    address: str
    created_at: str
    used_at: str
    expires_at: str
    current: bool
    connected: bool


class AuthSessions(Struct, frozen=True):
    """The caller's tokens, oldest first."""

    sessions: list[AuthSession]


class Health(Struct, frozen=True, omit_defaults=True):
    """`status` is `ok`, or `degraded` while the store refuses writes."""

    status: str
    timestamp: int
    reason: str | None = None


class Stats(Struct, frozen=True):
    """Open WebSockets, logged in or not, and users with at least one session."""

    connections: int
    online_users: int
    timestamp: int


class ErrorBody(Struct, frozen=True, omit_defaults=True):
    """A refusal over REST, and the payload of an `error` frame."""

    error: str
    code: str
    retry_after_ms: int | None = None


class Refusal(Struct, frozen=True, omit_defaults=True):
    """A refusal as the answer to a known WebSocket frame; `success` is false."""

    success: bool
    error: str
    code: str
    retry_after_ms: int | None = None


class StatusChange(Struct, frozen=True, omit_defaults=True):
    """The payload of `message_status`: how far `user_id` has come with a message."""

    message_id: str
    status: str
    user_id: str
    timestamp: int
    cumulative: bool = False


def page_limit(limit: int | None) -> int:
    """How many things a page has at the most, as asked for or by default.

    Raises:
        ApiError: `invalid_request`.
    """
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise ApiError(Code.INVALID_REQUEST, f"limit must be 1 to {MAX_LIMIT}")
    return limit


# -- codec ------------------------------------------------------------------------------------

_encoder = msgspec.json.Encoder()
encode_json = _encoder.encode
DONE: Final = encode_json(Success(True))  # the answer of what only succeeds
_envelope_decoder = msgspec.json.Decoder(Envelope)

ERROR_TYPE: Final = "error"
NEW_MESSAGE: Final = "new_message"
NEW_GROUP_MESSAGE: Final = "new_group_message"
MESSAGE_STATUS: Final = "message_status"
INVITATION: Final = "invitation"


def decode_envelope(text: bytes) -> Envelope:
    """Decode the envelope of a frame; its `data` stays undecoded.

    Raises:
        ApiError: `invalid_request`.
    """
    try:
        return _envelope_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error) from None


def malformed(error: Exception) -> ApiError:
    """The refusal for a request that could not be decoded; names the field, quotes no input."""
    match error:
        case RecursionError():
            return ApiError(Code.INVALID_REQUEST, "JSON is nested too deeply")
        case UnicodeDecodeError():
            return ApiError(Code.INVALID_REQUEST, "JSON is not UTF-8")
        case msgspec.ValidationError():
            return ApiError(Code.INVALID_REQUEST, str(error))
        case _:
            return ApiError(Code.INVALID_REQUEST, "The request is not valid JSON")


def error_body(error: ApiError) -> bytes:
    """The JSON of a refusal, as REST and `error` frames carry it."""
    return encode_json(ErrorBody(error.detail, error.code.value, error.retry_after_ms))


def refusal(error: ApiError) -> bytes:
    """The JSON of a refusal inside the answer to a known frame: with `"success": false`."""
    return encode_json(Refusal(False, error.detail, error.code.value, error.retry_after_ms))


def frame(kind: str, data: bytes, time_ms: int, correlation: str | None = None) -> bytes:
    """A whole frame: `data` is JSON already; `correlation` is echoed as `message_id`."""
    if correlation is None:
        return b"".join((_opening(kind), data, _time(time_ms), b"}"))
    echo = encode_json(correlation)
    return b"".join((_opening(kind), data, _time(time_ms), b',"message_id":', echo, b"}"))


@cache
def _opening(kind: str) -> bytes:
    return b'{"type":"%b","data":' % kind.encode()


@lru_cache(maxsize=8)  # all that a batch says is said at one time or two
def _time(time_ms: int) -> bytes:
    return b',"timestamp":%d' % time_ms


def push_of(message: Message, encoded: bytes) -> bytes:
    """The push that carries a new message, which is encoded already."""
    kind = NEW_MESSAGE if message.group_id is None else NEW_GROUP_MESSAGE
    return frame(kind, encoded, message.timestamp, message.id)


def sent_answer(identifier: str, encoded: bytes) -> bytes:
    """The answer to a send, as `Sent` describes it, around a message that is encoded already."""
    return b'{"success":true,"message_id":"%b","message":%b}' % (identifier.encode(), encoded)


def invitation_push(invitation: Invitation, time_ms: int) -> bytes:
    """The push that tells a user of an invitation."""
    return frame(INVITATION, encode_json(invitation), time_ms)


def status_push(change: StatusChange) -> bytes:
    """The push that tells how far a message has come."""
    return frame(MESSAGE_STATUS, encode_json(change), change.timestamp)


def decode_payload(decoder: msgspec.json.Decoder[Any], data: Raw) -> Any:
    """Decode the payload of a frame with its operation's decoder; `null` means empty.

    Raises:
        ApiError: `invalid_request`.
    """
    try:
        return decoder.decode(data if bytes(data) != b"null" else b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error) from None

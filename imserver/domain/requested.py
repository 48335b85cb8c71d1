"""What requests carry, except those of `administration`, `groups` and `searches`.

Decoding checks types; `service` checks values and permissions. Unknown fields are ignored.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

from msgspec import Meta, Struct

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import (
    MAX_CLIENT_MSG_ID,
    MAX_GROUP_DESCRIPTION,
    MAX_GROUP_NAME,
    MAX_RETENTION_DAYS,
    MAX_USER_ID,
    MESSAGE_TYPES,
    MIN_RETENTION_DAYS,
)

MAX_LIMIT: Final = 200  # things on a page
DEFAULT_LIMIT: Final = 50
MOST_ATTACHMENTS: Final = 20  # of one message
MOST_MENTIONS: Final = 50


def _schema(**schema: Any) -> Meta:
    """What the OpenAPI document says of a value. `service` checks it, with its own sentence."""
    return Meta(extra_json_schema=schema)


_UserId = Annotated[str, _schema(minLength=1, maxLength=MAX_USER_ID)]
_ClientMsgId = Annotated[str, _schema(maxLength=MAX_CLIENT_MSG_ID)]
_Type = Annotated[str, _schema(enum=[*MESSAGE_TYPES, ""])]
_Status = Annotated[str, _schema(enum=["delivered", "read"])]
_Role = Annotated[str, _schema(enum=["admin", "member"])]
_Name = Annotated[str, _schema(minLength=1, maxLength=MAX_GROUP_NAME)]
_Description = Annotated[str, _schema(maxLength=MAX_GROUP_DESCRIPTION)]
_Days = Annotated[
    float,
    _schema(anyOf=[{"const": 0}, {"minimum": MIN_RETENTION_DAYS, "maximum": MAX_RETENTION_DAYS}]),
]
_FileIds = Annotated[list[str], _schema(maxItems=MOST_ATTACHMENTS, uniqueItems=True)]
_Mentions = Annotated[list[_UserId], _schema(maxItems=MOST_MENTIONS, uniqueItems=True)]
_Limit = Annotated[int, _schema(minimum=1, maximum=MAX_LIMIT)]


class Nothing(Struct, frozen=True):
    """A request without parameters."""


class Login(Struct, frozen=True):
    """Log a WebSocket in."""

    user_id: str | None = None
    token: str | None = None
    platform: str | None = None


class Heartbeat(Struct, frozen=True):
    """A sign of life."""

    user_id: str | None = None


class SendMessage(Struct, frozen=True, gc=False):
    """A message to one user or to a group. `group_id` wins if both are given."""

    content: str | None = None
    receiver_id: str | None = None
    group_id: str | None = None
    type: _Type | None = None
    client_msg_id: _ClientMsgId | None = None
    attachments: _FileIds | None = None
    reply_to: str | None = None
    mentions: _Mentions | None = None
    mention_all: bool | None = None
    forward_of: str | None = None


class GetMessage(Struct, frozen=True):
    """One message by its id."""

    message_id: str


class Ack(Struct, frozen=True):
    """Acknowledge a message. `cumulative` includes all before it in its conversation."""

    message_id: str
    status: _Status
    cumulative: bool | None = None


class SyncOffline(Struct, frozen=True):
    """The messages after a cursor, or all that are not yet acknowledged."""

    last_message_id: str | None = None
    limit: _Limit | None = None
    include_own: bool | None = None
    include_newest: bool | None = None


class CreateGroup(Struct, frozen=True):
    """A new group with the caller and `members`."""

    name: _Name | None = None
    description: _Description | None = None
    members: list[_UserId] | None = None
    private: bool | None = None
    retention_days: _Days | None = None


class UpdateGroup(Struct, frozen=True):
    """New properties of a group. An absent field changes nothing."""

    group_id: str
    name: _Name | None = None
    description: _Description | None = None
    private: bool | None = None
    retention_days: _Days | None = None


class AddMembers(Struct, frozen=True):
    """Users to add to a group."""

    group_id: str
    members: list[_UserId]


class MemberRef(Struct, frozen=True):
    """A group and a user."""

    group_id: str
    user_id: _UserId


class SetRole(Struct, frozen=True):
    """A member's new role, `admin` or `member`."""

    group_id: str
    user_id: _UserId
    role: _Role


class Paged(Struct, frozen=True):
    """A page of a list: the first page, or the one after a cursor."""

    cursor: str | None = None
    limit: _Limit | None = None


class GroupRef(Struct, frozen=True):
    """A group by its id."""

    group_id: str


class PasswordLogin(Struct, frozen=True):
    """A login with a password, and the device that it comes from."""

    user_id: str
    password: str
    device: str | None = None
    platform: str | None = None


class ChangePassword(Struct, frozen=True):
    """The caller's old and new password."""

    old_password: str
    new_password: str


class SessionRef(Struct, frozen=True):
    """A token by its id."""

    token_id: str


def page_limit(limit: int | None) -> int:
    """The most entries that a page may have: as asked for, or the default.

    Raises:
        ApiError: `invalid_request`.
    """
    if limit is None:
        return DEFAULT_LIMIT
    if not 1 <= limit <= MAX_LIMIT:
        raise ApiError(Code.INVALID_REQUEST, f"limit must be 1 to {MAX_LIMIT}")
    return limit

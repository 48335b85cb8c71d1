"""What answers and pushes carry: the fields of the API document, in its order."""

from __future__ import annotations

from msgspec import Struct

from imserver.domain.model import Group, Invitation, Member, Message


class Success(Struct, frozen=True):
    """The request succeeded."""

    success: bool = True


class LoggedIn(Struct, frozen=True):
    """The connection now belongs to `user_id`."""

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

    `newest_message_id` is present if it was asked for. It is the newest message on the server,
    whoever may see it. A client that started without a cursor uses it as its cursor once it has
    every page.

    `gap` says that messages after the cursor were removed; `oldest_message_id` is then the oldest
    that the caller can still see. `failed` lists the caller's own messages that were removed
    before any recipient had them.
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


class Groups(Struct, frozen=True, omit_defaults=True):
    """A page of the caller's groups; `next` is the cursor of the next page, if there is one."""

    groups: list[Group]
    next: str | None = None


class Invitations(Struct, frozen=True, omit_defaults=True):
    """A page of the caller's open invitations; `next` as in `Groups`."""

    invitations: list[Invitation]
    next: str | None = None


class Members(Struct, frozen=True, omit_defaults=True):
    """Members of a group, the owner included; `next` as in `Groups`."""

    members: list[Member]
    next: str | None = None


class TokenIssued(Struct, frozen=True):
    """A new token, shown only here. The password may have to be changed before other requests."""

    token: str
    token_id: str
    user_id: str
    expires_at: str
    must_change_password: bool


class AuthSession(Struct, frozen=True):
    """One of the caller's tokens: where it was issued, and how it is used."""

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
    """The payload of `message_status`: whether `user_id` has received or read a message."""

    message_id: str
    status: str
    user_id: str
    timestamp: int
    cumulative: bool = False

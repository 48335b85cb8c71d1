"""What answers and pushes carry: the fields of the API document, in its order."""

from __future__ import annotations

from msgspec import Struct

from imserver.domain.model import Group, Invitation, Member, Message


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

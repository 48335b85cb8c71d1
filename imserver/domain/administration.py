"""Request and answer payloads of the operations for administrators; see `frames`.

Times of day are RFC 3339, as in groups; those of the audit log are milliseconds, as in messages.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

# -- requests ---------------------------------------------------------------------------------


class ListUsers(Struct, frozen=True):
    """A page of users by id: those that begin with `prefix` and come after `after`."""

    prefix: str | None = None
    after: str | None = None
    limit: int | None = None


class UserRef(Struct, frozen=True):
    """A user by their id."""

    user_id: str


class AddUser(Struct, frozen=True):
    """A new account. Without a password, the server makes one for one login."""

    user_id: str
    password: str | None = None
    administrator: bool = False


class UpdateUser(Struct, frozen=True):
    """What an account may do from now on. An absent field changes nothing."""

    user_id: str
    administrator: bool | None = None
    disabled: bool | None = None


class SetPassword(Struct, frozen=True):
    """A new password for an account. If it is absent, the server makes one for one login."""

    user_id: str
    password: str | None = None


class UserSessionRef(Struct, frozen=True):
    """A token of a user, by its id."""

    user_id: str
    token_id: str


class ReadAudit(Struct, frozen=True):
    """Audit entries: before `before`, newest first, or after `after`, oldest first."""

    before: int | None = None
    after: int | None = None
    limit: int | None = None
    actor: str | None = None
    operator: str | None = None
    action: str | None = None
    subject: str | None = None
    since: int | None = None
    until: int | None = None


# -- answers ----------------------------------------------------------------------------------


class AccountState(Struct, frozen=True):
    """What an account may do, and how it is used."""

    administrator: bool
    disabled: bool
    must_change_password: bool
    created_at: str
    password_set_at: str
    sessions: int
    used_at: str | None


class User(Struct, frozen=True):
    """A user. `account` is null if they have none, `created_at` if nobody has named them yet."""

    user_id: str
    created_at: str | None
    connections: int
    account: AccountState | None


class Users(Struct, frozen=True):
    """A page of users; `has_more` is exact."""

    users: list[User]
    has_more: bool


class OneUser(Struct, frozen=True):
    """One user."""

    user: User


class UserWithPassword(Struct, frozen=True, omit_defaults=True):
    """One user and, if the server made one, their password for one login. Shown only here."""

    user: User
    password: str | None = None


class UserSession(Struct, frozen=True):
    """One token of a user: where it was issued, and how it is used."""

    token_id: str
    device: str
    platform: str
    address: str
    created_at: str
    used_at: str
    expires_at: str
    connected: bool


class Connection(Struct, frozen=True, omit_defaults=True):
    """One open WebSocket of a user, and the token that it logged in with, if any."""

    address: str
    connected_at: str
    token_id: str | None = None


class UserSessions(Struct, frozen=True):
    """A user's tokens and WebSockets, oldest first."""

    sessions: list[UserSession]
    connections: list[Connection]


class Disconnected(Struct, frozen=True):
    """How many WebSockets were closed."""

    success: bool
    connections: int


class AuditEntry(Struct, frozen=True, omit_defaults=True):
    """Who did what to whom, when and from where."""

    entry: int
    timestamp: int
    action: str
    actor: str | None = None
    operator: str | None = None
    subject: str | None = None
    address: str | None = None
    detail: dict[str, Any] | None = None


class Audit(Struct, frozen=True):
    """A page of the audit log; `has_more` is exact."""

    entries: list[AuditEntry]
    has_more: bool

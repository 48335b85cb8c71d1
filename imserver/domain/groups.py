"""Request and answer payloads for those who look after a group; see `frames`."""

from __future__ import annotations

from msgspec import Struct

# -- requests ---------------------------------------------------------------------------------


class OfGroup(Struct, frozen=True):
    """A page of what a group has of its users, after one of them."""

    group_id: str
    after: str | None = None
    limit: int | None = None


# -- answers ----------------------------------------------------------------------------------


class Ban(Struct, frozen=True):
    """A user who may not join a group, and who said so."""

    user_id: str
    banned_by: str
    banned_at: str


class Bans(Struct, frozen=True, omit_defaults=True):
    """A page of bans; `next` goes into `after` for the next page, and is absent on the last."""

    bans: list[Ban]
    next: str | None = None


class SentInvitation(Struct, frozen=True):
    """An invitation to a group that its user has neither taken nor declined."""

    user_id: str
    invited_by: str
    invited_at: str


class SentInvitations(Struct, frozen=True, omit_defaults=True):
    """A page of a group's open invitations; `next` as in `Bans`."""

    invitations: list[SentInvitation]
    next: str | None = None

"""Request and answer payloads for the owner and admins of a group; see `frames`."""

from __future__ import annotations

from msgspec import Struct

# -- requests ---------------------------------------------------------------------------------


class OfGroup(Struct, frozen=True):
    """A page of one of a group's lists: the first page, or the one after a cursor."""

    group_id: str
    cursor: str | None = None
    limit: int | None = None


# -- answers ----------------------------------------------------------------------------------


class Ban(Struct, frozen=True):
    """A user who may not join a group, and who banned them."""

    user_id: str
    banned_by: str
    banned_at: str


class Bans(Struct, frozen=True, omit_defaults=True):
    """A page of bans; `next` is the cursor of the next page, if there is one."""

    bans: list[Ban]
    next: str | None = None


class SentInvitation(Struct, frozen=True):
    """An invitation to a group that its user has neither accepted nor declined."""

    user_id: str
    invited_by: str
    invited_at: str


class SentInvitations(Struct, frozen=True, omit_defaults=True):
    """A page of a group's open invitations; `next` as in `Bans`."""

    invitations: list[SentInvitation]
    next: str | None = None

"""Who may come into a group: invitations and bans.

A member who is removed is banned too; otherwise they would be back in an open group at once. An
admin lifts a ban by `unban_member`, or by inviting or adding the user again.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import DONE, encode_json, invitation_push
from imserver.domain.groups import Bans, OfGroup, SentInvitations
from imserver.domain.model import Invitation, Role, check_user_id, rfc3339
from imserver.domain.requested import MemberRef, page_limit
from imserver.service.engine import Caller, Delivery, Engine, Outcome
from imserver.service.groups.governance import Announced, Governed, put_out
from imserver.service.groups.membership import no_such_group
from imserver.store import bans, rosters
from imserver.store.group_care import find_care, sent_invitations

if TYPE_CHECKING:
    from imserver.service.groups.notices import Notice
    from imserver.store.transaction import Transaction


def invite(engine: Engine, caller: Caller, request: MemberRef) -> Invite:
    """Check the id of the user to invite.

    Raises:
        ApiError: `invalid_request`; `forbidden` for the server's own user id.
    """
    return Invite(caller, request.group_id, check_user_id(request.user_id))


class Invite(Governed[tuple[Invitation, int] | None]):
    """Allow a user to join. They are told; the group learns of it when they join."""

    __slots__ = ("_user_id",)

    def __init__(self, caller: Caller, group_id: str, user_id: str) -> None:
        super().__init__(caller, group_id)
        self._user_id = user_id

    def apply(self, tx: Transaction) -> tuple[Invitation, int] | None:
        """Store the invitation. For a member, or if there is one already, nothing changes.

        Raises:
            ApiError: `not_found`, also if the user has no account and needs one.
        """
        roster = self.authorise(tx)
        if self._user_id in roster.members:
            return None
        uid = tx.addressee(self._user_id)
        bans.lift(tx, roster.cid, uid)
        if not rosters.invite(tx, roster.cid, uid, roster.members[self.by]):
            return None
        view = rosters.view(tx, self.group_id)
        assert view is not None
        invitation = Invitation(self.group_id, view.group.name, self.by, rfc3339(tx.now_ms))
        return invitation, tx.now_ms

    def conclude(self, stored: tuple[Invitation, int] | None) -> Outcome[bytes]:
        """Done; the invited one is told."""
        if stored is None:
            return Outcome(DONE)
        return Outcome(DONE, (Delivery(invitation_push(*stored), {self._user_id}),))


def ban_member(engine: Engine, caller: Caller, request: MemberRef) -> BanMember:
    """Check the id of a user who may not join any more.

    Raises:
        ApiError: `invalid_request`; `forbidden` for the server's own user id.
    """
    return BanMember(caller, request.group_id, check_user_id(request.user_id))


class BanMember(Announced):
    """Keep a user out of a group. If they are in it, they are removed."""

    __slots__ = ("_user_id",)

    def __init__(self, caller: Caller, group_id: str, user_id: str) -> None:
        super().__init__(caller, group_id)
        self._user_id = user_id

    def apply(self, tx: Transaction) -> tuple[Notice, ...]:
        """Ban them; their invitation goes.

        Raises:
            ApiError: `forbidden` for a member of the same role or a higher one; `not_found` if
                the user has no account and needs one.
        """
        roster = self.authorise(tx)
        if self._user_id in roster.members:
            return (put_out(tx, roster, self.by, self._user_id),)
        uid = tx.addressee(self._user_id)
        rosters.take_invitation(tx, roster.cid, uid)
        bans.ban(tx, roster.cid, uid, roster.members[self.by])
        return ()


def unban_member(engine: Engine, caller: Caller, request: MemberRef) -> UnbanMember:
    """Lift the ban of a user."""
    return UnbanMember(caller, request.group_id, request.user_id)


class _Withdrawn(Governed[None]):
    """Something that a group holds about a user goes. If there is none, nothing changes."""

    __slots__ = ("_user_id",)

    def __init__(self, caller: Caller, group_id: str, user_id: str) -> None:
        super().__init__(caller, group_id)
        self._user_id = user_id

    def apply(self, tx: Transaction) -> None:
        """Withdraw it."""
        roster = self.authorise(tx)
        uid = tx.find_user(self._user_id)
        if uid is not None:
            self.withdraw(tx, roster.cid, uid)

    @abstractmethod
    def withdraw(self, tx: Transaction, cid: int, uid: int) -> None:
        """Delete it, if it is there."""

    def conclude(self, stored: None) -> Outcome[bytes]:
        """Done; nobody is told."""
        return Outcome(DONE)


class UnbanMember(_Withdrawn):
    """Let a user join a group again."""

    __slots__ = ()

    def withdraw(self, tx: Transaction, cid: int, uid: int) -> None:
        """Lift the ban."""
        bans.lift(tx, cid, uid)


async def list_bans(engine: Engine, caller: Caller, request: OfGroup) -> bytes:
    """A page of the banned users of a group, for its owner and admins.

    Raises:
        ApiError: `invalid_request`, `not_found`, `forbidden`.
    """
    limit = page_limit(request.limit)
    cid = await _cared_for(engine, caller, request.group_id)
    found = await engine.reader.ask(
        lambda db: bans.of_group(db, cid, request.cursor, limit + 1), by=caller.user_id
    )
    page = found[:limit]
    return encode_json(Bans(page, page[-1].user_id if len(found) > limit else None))


async def list_group_invitations(engine: Engine, caller: Caller, request: OfGroup) -> bytes:
    """A page of the open invitations of a group, for its owner and admins.

    Raises:
        ApiError: `invalid_request`, `not_found`, `forbidden`.
    """
    limit = page_limit(request.limit)
    cid = await _cared_for(engine, caller, request.group_id)
    found = await engine.reader.ask(
        lambda db: sent_invitations(db, cid, request.cursor, limit + 1), by=caller.user_id
    )
    page = found[:limit]
    return encode_json(SentInvitations(page, page[-1].user_id if len(found) > limit else None))


def revoke_invitation(engine: Engine, caller: Caller, request: MemberRef) -> RevokeInvitation:
    """Take an invitation back."""
    return RevokeInvitation(caller, request.group_id, request.user_id)


class RevokeInvitation(_Withdrawn):
    """Take an invitation back."""

    __slots__ = ()

    def withdraw(self, tx: Transaction, cid: int, uid: int) -> None:
        """Drop the invitation."""
        rosters.take_invitation(tx, cid, uid)


async def _cared_for(engine: Engine, caller: Caller, group_id: str) -> int:
    """The conversation of a group that the caller is owner or admin of.

    Raises:
        ApiError: `not_found` if they are not in it, `forbidden` for a lesser role.
    """
    care = await engine.reader.ask(
        lambda db: find_care(db, group_id, caller.user_id), by=caller.user_id
    )
    if care is None:
        raise no_such_group()
    if care.role < Role.ADMIN:
        raise ApiError(Code.FORBIDDEN, f"This needs the role {Role.ADMIN.label} in the group")
    return care.cid

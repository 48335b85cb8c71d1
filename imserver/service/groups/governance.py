"""What a group's owner and admins may do with it.

Every change here is authorised by lookup: `Governed.authorise` finds the caller's membership and
role inside the transaction. To those who are not members the group does not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final, NamedTuple, TypeVar

from imserver.domain.answered import OneGroup
from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import DONE, encode_json
from imserver.domain.model import Event, Group, Role
from imserver.service.engine import Caller, Change, Engine, Outcome
from imserver.service.groups.membership import (
    LARGE,
    check_description,
    check_name,
    check_named,
    check_retention,
    no_such_group,
)
from imserver.service.groups.notices import Notice, announce
from imserver.store import bans, rosters

if TYPE_CHECKING:
    from imserver.domain.requested import AddMembers, GroupRef, MemberRef, SetRole, UpdateGroup
    from imserver.store.remembered import Roster
    from imserver.store.transaction import Transaction

S = TypeVar("S")

_ROLES: Final = {"admin": Role.ADMIN, "member": Role.MEMBER}


class Governed(Change[S, bytes]):
    """A change of a group that needs a role in it."""

    __slots__ = ("by", "group_id")

    needs: ClassVar[Role] = Role.ADMIN

    def __init__(self, caller: Caller, group_id: str) -> None:
        self.by = caller.user_id
        self.group_id = group_id

    def authorise(self, tx: Transaction) -> Roster:
        """The group, if the caller's role in it allows this.

        Raises:
            ApiError: `not_found` for those who are not in it, `forbidden` for a lesser role.
        """
        roster = rosters.find(tx, self.group_id)
        if roster is None or self.by not in roster.members:
            raise no_such_group()
        if rosters.role(tx, roster.cid, roster.members[self.by]) < self.needs:
            raise ApiError(Code.FORBIDDEN, f"This needs the role {self.needs.label} in the group")
        return roster

    def member(self, tx: Transaction, roster: Roster, user_id: str) -> tuple[int, Role]:
        """A member's number and role.

        Raises:
            ApiError: `not_found` if the user is not in the group.
        """
        uid = roster.members.get(user_id)
        if uid is None:
            raise ApiError(Code.NOT_FOUND, "There is no such member")
        return uid, rosters.role(tx, roster.cid, uid)


class Announced(Governed[tuple[Notice, ...]]):
    """One that the group is told of, if anything has changed."""

    __slots__ = ()

    def conclude(self, notices: tuple[Notice, ...]) -> Outcome[bytes]:
        """Done; everyone in the group is told what happened, if anything did."""
        return Outcome(DONE, tuple(notice.delivery() for notice in notices))


class _Properties(NamedTuple):
    name: str
    description: str
    private: bool
    keep_ms: int | None


class _Updated(NamedTuple):
    group: Group
    notice: Notice | None


def update_group(engine: Engine, caller: Caller, request: UpdateGroup) -> Update:
    """Check new properties for form.

    Raises:
        ApiError: `invalid_request`.
    """
    name = None if request.name is None else check_name(request.name)
    description = None if request.description is None else check_description(request.description)
    days = request.retention_days
    if days is not None:
        check_retention(days)
    return Update(caller, request.group_id, name, description, request.private, days)


class Update(Governed[_Updated]):
    """Rename, describe, or change who may join; what stays as it was is no news."""

    __slots__ = ("_description", "_name", "_private", "_retention_days")

    def __init__(
        self,
        caller: Caller,
        group_id: str,
        name: str | None,
        description: str | None,
        private: bool | None,
        retention_days: float | None,
    ) -> None:
        super().__init__(caller, group_id)
        self._name = name
        self._description = description
        self._private = private
        self._retention_days = retention_days

    def apply(self, tx: Transaction) -> _Updated:
        """Store what is new."""
        roster = self.authorise(tx)
        view = rosters.view(tx, self.group_id)
        assert view is not None
        group = view.group
        before = _Properties(group.name, group.description, bool(group.private), group.keep_ms)
        days = self._retention_days
        after = _Properties(
            before.name if self._name is None else self._name,
            before.description if self._description is None else self._description,
            before.private if self._private is None else self._private,
            before.keep_ms if days is None else check_retention(days),
        )
        if after == before:
            return _Updated(view.describe(), None)
        roster = rosters.change(tx, roster, *after)
        notice = announce(
            tx,
            roster,
            Event(
                "updated",
                self.by,
                self.by,
                name=after.name if after.name != before.name else None,
                private=after.private if after.private != before.private else None,
                changed=_changed(before, after),
            ),
        )
        view = rosters.view(tx, self.group_id)
        assert view is not None
        return _Updated(view.describe(), notice)

    def conclude(self, stored: _Updated) -> Outcome[bytes]:
        """The group as it is now."""
        answer = encode_json(OneGroup(stored.group))
        return Outcome(answer, () if stored.notice is None else (stored.notice.delivery(),))


def _changed(before: _Properties, after: _Properties) -> list[str]:
    """The properties that differ, as the API calls them."""
    names = ("name", "description", "private", "retention_days")
    return [name for name, old, new in zip(names, before, after, strict=True) if old != new]


def add_members(engine: Engine, caller: Caller, request: AddMembers) -> Add:
    """Check the ids of newcomers.

    Raises:
        ApiError: `invalid_request`, `too_large`; `forbidden` for the server's own user id.
    """
    users = list(dict.fromkeys(request.members))
    if not users:
        raise ApiError(Code.INVALID_REQUEST, "members must name at least one user")
    check_named(engine, users)
    return Add(caller, request.group_id, users, engine.limits.group_members)


class Add(Announced):
    """Let users in who did not ask; those who are in already stay as they are."""

    __slots__ = ("_most", "_users")

    def __init__(self, caller: Caller, group_id: str, users: list[str], most: int) -> None:
        super().__init__(caller, group_id)
        self._users = users
        self._most = most

    @property
    def is_large(self) -> bool:
        """See `Change`."""
        return len(self._users) > LARGE

    def apply(self, tx: Transaction) -> tuple[Notice, ...]:
        """Admit them, with one message for all.

        Raises:
            ApiError: `too_large` for more than a group may have; `not_found`, where somebody has
                no account and needs one.
        """
        roster = self.authorise(tx)
        new = [user for user in self._users if user not in roster.members]
        if len(roster.members) + len(new) > self._most:
            raise ApiError(Code.TOO_LARGE, f"A group has at most {self._most} members")
        if not new:
            return ()
        newcomers = [(user, tx.addressee(user), Role.MEMBER) for user in new]
        for _, uid, _ in newcomers:
            rosters.take_invitation(tx, roster.cid, uid)
            bans.lift(tx, roster.cid, uid)
        roster = rosters.admit(tx, roster, newcomers, tx.next_seq)
        event = Event("added", new[0], self.by, user_ids=new if len(new) > 1 else None)
        return (announce(tx, roster, event),)


def remove_member(engine: Engine, caller: Caller, request: MemberRef) -> Remove:
    """Make the change that removes a member."""
    return Remove(caller, request.group_id, request.user_id)


class Remove(Announced):
    """Remove a member and ban them. The message that says so is the last that they see. Nobody
    removes the owner, and only the owner removes an admin.
    """

    __slots__ = ("_user_id",)

    def __init__(self, caller: Caller, group_id: str, user_id: str) -> None:
        super().__init__(caller, group_id)
        self._user_id = user_id

    def apply(self, tx: Transaction) -> tuple[Notice, ...]:
        """Dismiss them.

        Raises:
            ApiError: `forbidden` for somebody of the same role or a higher one.
        """
        roster = self.authorise(tx)
        self.member(tx, roster, self._user_id)
        return (put_out(tx, roster, self.by, self._user_id),)


def put_out(tx: Transaction, roster: Roster, by: str, user_id: str) -> Notice:
    """Remove a member and ban them, so that they do not join again at once.

    Raises:
        ApiError: `forbidden` for a member of the same role or a higher one.
    """
    uid = roster.members[user_id]
    if rosters.role(tx, roster.cid, uid) >= rosters.role(tx, roster.cid, roster.members[by]):
        raise ApiError(Code.FORBIDDEN, "Only a higher role may remove this member")
    bans.ban(tx, roster.cid, uid, roster.members[by])
    notice = announce(tx, roster, Event("removed", user_id, by))
    rosters.dismiss(tx, roster, user_id, tx.next_seq - 1)
    return notice


def set_role(engine: Engine, caller: Caller, request: SetRole) -> Appoint:
    """Check a role for form.

    Raises:
        ApiError: `invalid_request`.
    """
    role = _ROLES.get(request.role)
    if role is None:
        raise ApiError(Code.INVALID_REQUEST, "role must be admin or member")
    return Appoint(caller, request.group_id, request.user_id, role)


class Appoint(Announced):
    """Make a member an admin, or an admin a member again."""

    __slots__ = ("_role", "_user_id")

    needs = Role.OWNER

    def __init__(self, caller: Caller, group_id: str, user_id: str, role: Role) -> None:
        super().__init__(caller, group_id)
        self._user_id = user_id
        self._role = role

    def apply(self, tx: Transaction) -> tuple[Notice, ...]:
        """Store the role; the same again is no news.

        Raises:
            ApiError: `forbidden` for the owner, who hands the group over instead.
        """
        roster = self.authorise(tx)
        uid, role = self.member(tx, roster, self._user_id)
        if role is Role.OWNER:
            raise ApiError(Code.FORBIDDEN, "Only a transfer changes the owner's role")
        if role is self._role:
            return ()
        rosters.set_role(tx, roster.cid, uid, self._role)
        event = Event("role", self._user_id, self.by, self._role.label)
        return (announce(tx, roster, event),)


def transfer_group(engine: Engine, caller: Caller, request: MemberRef) -> Transfer:
    """Make the change that hands a group over."""
    return Transfer(caller, request.group_id, request.user_id)


class Transfer(Announced):
    """Make another member the owner; the old one stays as an admin."""

    __slots__ = ("_user_id",)

    needs = Role.OWNER

    def __init__(self, caller: Caller, group_id: str, user_id: str) -> None:
        super().__init__(caller, group_id)
        self._user_id = user_id

    def apply(self, tx: Transaction) -> tuple[Notice, ...]:
        """Change both roles; to oneself is no news."""
        roster = self.authorise(tx)
        uid, role = self.member(tx, roster, self._user_id)
        if role is Role.OWNER:
            return ()
        rosters.set_role(tx, roster.cid, roster.members[self.by], Role.ADMIN)
        rosters.set_role(tx, roster.cid, uid, Role.OWNER)
        event = Event("transfer", self._user_id, self.by, Role.OWNER.label)
        return (announce(tx, roster, event),)


def dissolve_group(engine: Engine, caller: Caller, request: GroupRef) -> Dissolve:
    """Make the change that closes a group."""
    return Dissolve(caller, request.group_id)


class Dissolve(Announced):
    """Close a group; its messages stay with those who could see them."""

    __slots__ = ()

    needs = Role.OWNER

    def apply(self, tx: Transaction) -> tuple[Notice, ...]:
        """End every membership with the message that says so."""
        roster = self.authorise(tx)
        event = Event("dissolved", self.by, self.by)
        notice = announce(tx, roster, event)
        rosters.dissolve(tx, roster, tx.next_seq - 1)
        return (notice,)

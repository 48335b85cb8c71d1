"""Groups: creating, looking, joining, leaving. What happens in a group stands in it."""

from __future__ import annotations

import secrets
import string
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from imserver.domain.answered import Members, OneGroup
from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import DONE, encode_json
from imserver.domain.model import (
    DAY_MS,
    GROUP_PREFIX,
    MAX_GROUP_DESCRIPTION,
    MAX_GROUP_NAME,
    MAX_RETENTION_DAYS,
    MIN_RETENTION_DAYS,
    Event,
    Group,
    Role,
    check_user_id,
    is_one_line,
)
from imserver.domain.requested import page_limit
from imserver.service.engine import Caller, Change, Engine, Outcome
from imserver.service.groups.notices import Notice, announce
from imserver.store import bans, group_lists, group_views, rosters
from imserver.store.group_care import find_care

if TYPE_CHECKING:
    from collections.abc import Collection

    from imserver.domain.groups import OfGroup
    from imserver.domain.requested import CreateGroup, GroupRef, Paged
    from imserver.store.remembered import Roster
    from imserver.store.transaction import Transaction

_ALPHABET: Final = string.ascii_lowercase + string.digits
LARGE: Final = 50  # users named in one change; beyond, other changes go first
_ID_LENGTH: Final = 12  # random characters: 62 bits


def create_group(engine: Engine, caller: Caller, request: CreateGroup) -> Create:
    """Check a new group for form.

    Raises:
        ApiError: `invalid_request`, `too_large`; `forbidden` for the server's own user id.
    """
    name = check_name(request.name or "")
    description = check_description(request.description or "")
    others = dict.fromkeys(request.members or ())
    others.pop(caller.user_id, None)
    check_named(engine, others)
    most = engine.limits.group_members
    if len(others) + 1 > most:
        raise ApiError(Code.TOO_LARGE, f"A group has at most {most} members")
    keep_ms = check_retention(request.retention_days or 0)
    return Create(caller, name, description, bool(request.private), keep_ms, list(others))


def check_named(engine: Engine, users: Collection[str]) -> None:
    """Check the users whom one request names as members.

    Raises:
        ApiError: `too_large`; `invalid_request`; `forbidden` for the server's own user id.
    """
    most = engine.limits.members_at_once
    if len(users) > most:
        raise ApiError(Code.TOO_LARGE, f"members may name at most {most} users; add others later")
    for user in users:
        check_user_id(user, "members")


def check_name(name: str) -> str:
    """Return the name of a group if it may be one.

    Raises:
        ApiError: `invalid_request`.
    """
    if not 1 <= len(name) <= MAX_GROUP_NAME:
        raise ApiError(Code.INVALID_REQUEST, f"name must have 1 to {MAX_GROUP_NAME} characters")
    if not is_one_line(name):
        raise ApiError(Code.INVALID_REQUEST, "name must not contain control characters")
    return name


def check_description(description: str) -> str:
    """Return the description of a group if it may be one.

    Raises:
        ApiError: `invalid_request`.
    """
    if len(description) > MAX_GROUP_DESCRIPTION:
        raise ApiError(
            Code.INVALID_REQUEST,
            f"description must have at most {MAX_GROUP_DESCRIPTION} characters",
        )
    if not all(is_one_line(line) for line in description.split("\n")):
        raise ApiError(
            Code.INVALID_REQUEST,
            "description must not contain control characters except line feeds",
        )
    return description


def check_retention(days: float) -> int | None:
    """How long a group is to keep its messages, in milliseconds; None: as long as the server.

    Raises:
        ApiError: `invalid_request`.
    """
    if not days:
        return None
    if not MIN_RETENTION_DAYS <= days <= MAX_RETENTION_DAYS:
        raise ApiError(
            Code.INVALID_REQUEST,
            f"retention_days must be 0, or {MIN_RETENTION_DAYS} to {MAX_RETENTION_DAYS}",
        )
    return round(days * DAY_MS)


class _Created(NamedTuple):
    group: Group
    notice: Notice


class Create(Change[_Created, bytes]):
    """Found a group: the caller owns it, the others are in it from the first message on."""

    def __init__(
        self,
        caller: Caller,
        name: str,
        description: str,
        private: bool,
        keep_ms: int | None,
        others: list[str],
    ) -> None:
        self._owner = caller.user_id
        self._name = name
        self._description = description
        self._private = private
        self._keep_ms = keep_ms
        self._others = others

    @property
    def is_large(self) -> bool:
        """See `Change`."""
        return len(self._others) > LARGE

    def apply(self, tx: Transaction) -> _Created:
        """Store it with everyone in it.

        Raises:
            ApiError: `not_found`, where somebody has no account and needs one.
        """
        newcomers = [(self._owner, tx.name_user(self._owner), Role.OWNER)]
        newcomers += [(user, tx.addressee(user), Role.MEMBER) for user in self._others]
        group_id = GROUP_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
        founded = rosters.create(
            tx, group_id, self._name, self._description, self._private, self._keep_ms
        )
        roster = rosters.admit(tx, founded, newcomers, tx.next_seq)
        notice = announce(
            tx,
            roster,
            Event("created", self._owner, self._owner, name=self._name),
        )
        view = rosters.view(tx, group_id)
        assert view is not None
        return _Created(view.describe(), notice)

    def conclude(self, created: _Created) -> Outcome[bytes]:
        """The group, and the message that opens it to everyone in it."""
        return Outcome(encode_json(OneGroup(created.group)), (created.notice.delivery(),))


async def get_group(engine: Engine, caller: Caller, request: GroupRef) -> bytes:
    """A group, for its members.

    Raises:
        ApiError: `not_found`.
    """
    view = await _view(engine, caller, request)
    return encode_json(OneGroup(view.describe()))


async def get_members(engine: Engine, caller: Caller, request: OfGroup) -> bytes:
    """The members of a group, the owner included, for its members.

    Raises:
        ApiError: `not_found`; `invalid_request`.
    """
    limit = None if request.limit is None and not request.cursor else page_limit(request.limit)

    def ask(db: Any) -> Members:
        care = find_care(db, request.group_id, caller.user_id)
        if care is None:
            raise no_such_group()
        return group_lists.members_page(db, request.group_id, care.cid, request.cursor, limit)

    return encode_json(await engine.reader.ask(ask, by=caller.user_id, heavy=True))


async def _view(engine: Engine, caller: Caller, request: GroupRef) -> group_views.GroupView:
    view = await engine.reader.ask(
        lambda db: group_views.find_group(db, request.group_id), by=caller.user_id, heavy=True
    )
    if view is None or all(user != caller.user_id for user, *_ in view.members):
        raise no_such_group()
    return view


async def list_groups(engine: Engine, caller: Caller, request: Paged) -> bytes:
    """A page of the groups that the caller is in, in the order in which they joined them.

    Raises:
        ApiError: `invalid_request`.
    """
    limit = page_limit(request.limit)
    most = engine.limits.page_bytes
    page = await engine.reader.ask(
        lambda db: group_lists.groups_page(db, caller.user_id, request.cursor, limit, most),
        by=caller.user_id,
        heavy=True,
    )
    return encode_json(page)


async def list_invitations(engine: Engine, caller: Caller, request: Paged) -> bytes:
    """A page of the caller's invitations, oldest first.

    Raises:
        ApiError: `invalid_request`.
    """
    limit = page_limit(request.limit)
    page = await engine.reader.ask(
        lambda db: group_lists.invitations_page(db, caller.user_id, request.cursor, limit),
        by=caller.user_id,
    )
    return encode_json(page)


def decline_invitation(engine: Engine, caller: Caller, request: GroupRef) -> Decline:
    """Let the caller give an invitation back."""
    return Decline(caller, request.group_id)


class Decline(Change[None, bytes]):
    """Give an invitation back; again changes nothing."""

    def __init__(self, caller: Caller, group_id: str) -> None:
        self._user_id = caller.user_id
        self._group_id = group_id

    def apply(self, tx: Transaction) -> None:
        """Drop the invitation, if there is one."""
        uid = tx.find_user(self._user_id)
        cid = rosters.conversation_of(tx, self._group_id)
        if uid is not None and cid is not None:
            rosters.take_invitation(tx, cid, uid)

    def conclude(self, stored: None) -> Outcome[bytes]:
        """Done; nobody is told."""
        return Outcome(DONE)


def no_such_group() -> ApiError:
    """The refusal for a group that is not, or not for the caller to see."""
    return ApiError(Code.NOT_FOUND, "There is no such group")


def join_group(engine: Engine, caller: Caller, request: GroupRef) -> Join:
    """Let the caller into an open group, or into one that they are invited to."""
    return Join(caller, request.group_id, engine.limits.group_members)


class Join(Change[Notice | None, bytes]):
    """Become a member, from the message on that says so; again changes nothing."""

    def __init__(self, caller: Caller, group_id: str, most: int) -> None:
        self._user_id = caller.user_id
        self._group_id = group_id
        self._most = most

    def apply(self, tx: Transaction) -> Notice | None:
        """Admit the caller.

        Raises:
            ApiError: `not_found`; `forbidden` for a user who was removed; `too_large` for a full
                group.
        """
        roster = rosters.find(tx, self._group_id)
        if roster is None:
            raise no_such_group()
        if self._user_id in roster.members:
            return None
        uid = tx.find_user(self._user_id)
        invited = uid is not None and rosters.is_invited(tx, roster.cid, uid)
        if roster.private and not invited:
            raise no_such_group()
        if uid is not None and bans.is_banned(tx, roster.cid, uid):
            raise ApiError(Code.FORBIDDEN, "You were removed from this group")
        if len(roster.members) >= self._most:
            raise ApiError(Code.TOO_LARGE, f"A group has at most {self._most} members")
        uid = tx.name_user(self._user_id)
        rosters.take_invitation(tx, roster.cid, uid)  # one that does not hold any more, too
        newcomer = (self._user_id, uid, Role.MEMBER)
        roster = rosters.admit(tx, roster, [newcomer], tx.next_seq)
        return announce(
            tx,
            roster,
            Event("join", self._user_id, self._user_id),
        )

    def conclude(self, notice: Notice | None) -> Outcome[bytes]:
        """Done; everyone in the group is told, the newcomer included."""
        return Outcome(DONE, () if notice is None else (notice.delivery(),))


def leave_group(engine: Engine, caller: Caller, request: GroupRef) -> Leave:
    """Let the caller out of a group."""
    return Leave(caller, request.group_id)


class Leave(Change[tuple[Notice, ...], bytes]):
    """Be a member no more; again changes nothing. The message that says so is the last one seen.

    An owner hands the group to the longest-standing admin, else member; the last one closes it.
    """

    def __init__(self, caller: Caller, group_id: str) -> None:
        self._user_id = caller.user_id
        self._group_id = group_id

    def apply(self, tx: Transaction) -> tuple[Notice, ...]:
        """Dismiss the caller.

        Raises:
            ApiError: `not_found`, for what the caller never was in.
        """
        roster = rosters.find(tx, self._group_id)
        if roster is None or self._user_id not in roster.members:
            uid = tx.find_user(self._user_id)
            if uid is None or not rosters.was_member(tx, self._group_id, uid):
                raise no_such_group()
            return ()
        owned = rosters.role(tx, roster.cid, roster.members[self._user_id]) is Role.OWNER
        left = announce(
            tx,
            roster,
            Event("leave", self._user_id, self._user_id),
        )
        remaining = rosters.dismiss(tx, roster, self._user_id, tx.next_seq - 1)
        if not owned or not remaining.members:
            return (left,)
        return (left, self._hand_over(tx, remaining))

    def conclude(self, notices: tuple[Notice, ...]) -> Outcome[bytes]:
        """Done; those in the group, and the one who left, are told."""
        return Outcome(DONE, tuple(notice.delivery() for notice in notices))

    def _hand_over(self, tx: Transaction, roster: Roster) -> Notice:
        uid, heir = rosters.heir(tx, roster.cid)
        rosters.set_role(tx, roster.cid, uid, Role.OWNER)
        return announce(tx, roster, Event("transfer", heir, self._user_id))

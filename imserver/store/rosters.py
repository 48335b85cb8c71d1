"""Groups and their members, as a write finds and changes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import structs

from imserver.domain.model import Role
from imserver.store import group_views, queries, reading
from imserver.store.remembered import Roster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imserver.store.transaction import Transaction


def create(
    tx: Transaction,
    group_id: str,
    name: str,
    description: str,
    private: bool,
    keep_ms: int | None = None,
) -> Roster:
    """A new conversation with that group; nobody is in it yet.

    `keep_ms` is how long it keeps its messages; None: as long as the server does.
    """
    cid = tx.insert(queries.ADD_CONVERSATION, None, None)
    tx.db.execute(
        queries.ADD_GROUP,
        (cid, group_id, name, description, private, keep_ms, tx.now_ms),
    )
    return Roster(cid, group_id, private, {})


def find(tx: Transaction, group_id: str) -> Roster | None:
    """Who is in a group; None if there is no such group or it is closed."""
    roster = tx.remembered.roster(group_id)
    if roster is None:
        view = group_views.find_group(tx.db, group_id)
        if view is None:
            return None
        roster = Roster(
            view.group.cid,
            view.group.group_id,
            bool(view.group.private),
            {user: uid for user, uid, *_ in view.members},
        )
        tx.remembered.keep_roster(roster)
    return roster


def view(tx: Transaction, group_id: str) -> group_views.GroupView | None:
    """A group as it stands inside this transaction."""
    return group_views.find_group(tx.db, group_id)


def was_member(tx: Transaction, group_id: str, uid: int) -> bool:
    """Whether a user ever belonged to a group, closed or not."""
    cid = conversation_of(tx, group_id)
    return cid is not None and reading.one(tx.db, queries.FIND_MEMBER, cid, uid) is not None


def admit(
    tx: Transaction, roster: Roster, newcomers: Sequence[tuple[str, int, Role]], from_seq: int
) -> Roster:
    """Let users in, from the message at `from_seq` on; returns the roster with them."""
    tx.db.executemany(
        queries.ADD_MEMBER,
        [
            (roster.cid, uid, int(role), tx.now_ms, from_seq, ordinal)
            for ordinal, (_, uid, role) in enumerate(newcomers)
        ],
    )
    tx.db.executemany(
        queries.BEGIN_MEMBERSHIP, [(uid, roster.cid, from_seq) for _, uid, _ in newcomers]
    )
    tx.db.execute(queries.TOUCH_GROUP, (roster.cid, tx.now_ms, 0))
    members = roster.members | {user_id: uid for user_id, uid, _ in newcomers}
    return tx.remembered.keep_roster(structs.replace(roster, members=members))


def dismiss(tx: Transaction, roster: Roster, user_id: str, to_seq: int) -> Roster:
    """Let a member go; the message at `to_seq` is the last that is theirs to see.

    The group closes behind the last one.
    """
    uid = roster.members[user_id]
    tx.db.execute(queries.END_MEMBER, (roster.cid, uid))
    tx.db.execute(queries.END_MEMBERSHIP, (uid, roster.cid, to_seq))
    members = {name: number for name, number in roster.members.items() if name != user_id}
    closed = 0 if members else 1
    tx.db.execute(queries.TOUCH_GROUP, (roster.cid, tx.now_ms, closed))
    remaining = structs.replace(roster, members=members)
    if closed:
        tx.remembered.drop_roster(roster.group_id)
        return remaining
    return tx.remembered.keep_roster(remaining)


def dissolve(tx: Transaction, roster: Roster, to_seq: int) -> None:
    """Close a group; the message at `to_seq` is the last that its members see."""
    tx.db.execute(queries.END_ALL_MEMBERSHIPS, (roster.cid, to_seq))
    tx.db.execute(queries.END_ALL_MEMBERS, (roster.cid,))
    tx.db.execute(queries.TOUCH_GROUP, (roster.cid, tx.now_ms, 1))
    tx.remembered.drop_roster(roster.group_id)


def change(
    tx: Transaction, roster: Roster, name: str, description: str, private: bool, keep_ms: int | None
) -> Roster:
    """Give a group new properties."""
    tx.db.execute(
        queries.CHANGE_GROUP, (roster.cid, name, description, private, keep_ms, tx.now_ms)
    )
    return tx.remembered.keep_roster(structs.replace(roster, private=private))


def invite(tx: Transaction, cid: int, uid: int, by_uid: int) -> bool:
    """Give a user leave to join a group; says whether they had none yet."""
    return reading.one(tx.db, queries.PUT_INVITATION, uid, cid, by_uid, tx.now_ms) is not None


def is_invited(tx: Transaction, cid: int, uid: int) -> bool:
    """Whether a user has leave to join a group."""
    return reading.one(tx.db, queries.FIND_INVITATION, uid, cid) is not None


def take_invitation(tx: Transaction, cid: int, uid: int) -> bool:
    """Use up an invitation; says whether there was one."""
    return reading.one(tx.db, queries.TAKE_INVITATION, uid, cid) is not None


def conversation_of(tx: Transaction, group_id: str) -> int | None:
    """The conversation of a group, closed or not."""
    row = reading.one(tx.db, queries.FIND_GROUP, group_id)
    return None if row is None else int(row[0])


def role(tx: Transaction, cid: int, uid: int) -> Role:
    """A member's role."""
    return Role(reading.one(tx.db, queries.FIND_MEMBER, cid, uid)[1])


def heir(tx: Transaction, cid: int) -> tuple[int, str]:
    """Who takes over a group: the longest-standing admin, else member, as uid and user id."""
    uid, user_id = reading.one(tx.db, queries.HEIR, cid)
    return uid, user_id


def set_role(tx: Transaction, cid: int, uid: int, role: Role) -> None:
    """Give a member a role."""
    tx.db.execute(queries.SET_ROLE, (cid, uid, role))


def begin_membership(
    tx: Transaction, cid: int, uid: int, ordinal: int, from_seq: int, role: Role
) -> None:
    tx.db.execute(queries.ADD_MEMBER, (cid, uid, int(role), tx.now_ms, from_seq, ordinal))
    tx.db.execute(queries.BEGIN_MEMBERSHIP, (uid, cid, from_seq))

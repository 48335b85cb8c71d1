"""Groups as their members see them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imserver.domain.model import DAY_MS, Group, Member, Role, rfc3339
from imserver.store import queries
from imserver.store.reading import every, one

if TYPE_CHECKING:
    import apsw


class GroupRow(NamedTuple):
    """A row of `group`."""

    cid: int
    group_id: str
    name: str
    description: str
    private: int
    keep_ms: int | None
    created_ms: int
    updated_ms: int
    closed: int


class GroupView(NamedTuple):
    """A group and all its members, in the order in which they came."""

    group: GroupRow
    members: list[tuple[str, int, int, int]]  # user_id, uid, role, joined_ms

    def describe(self) -> Group:
        """The group as clients see it."""
        owner = next(user for user, _, role, _ in self.members if role == Role.OWNER)
        return Group(
            id=self.group.group_id,
            name=self.group.name,
            description=self.group.description,
            owner_id=owner,
            members=[user for user, _, role, _ in self.members if role != Role.OWNER],
            created_at=rfc3339(self.group.created_ms),
            updated_at=rfc3339(self.group.updated_ms),
            private=bool(self.group.private),
            retention_days=_days(self.group.keep_ms),
        )


def member(group_id: str, cid: int, user_id: str, uid: int, role: int, joined_ms: int) -> Member:
    """One member as clients see it."""
    return Member(
        id=f"member_{cid}_{uid}",
        group_id=group_id,
        user_id=user_id,
        role=Role(role).label,
        joined_at=rfc3339(joined_ms),
    )


def _days(keep_ms: int | None) -> float:
    days, rest = divmod(keep_ms or 0, DAY_MS)
    return days + rest / DAY_MS if rest else days


def find_group(db: apsw.Connection, group_id: str) -> GroupView | None:
    """A group that is open, or None; whether the caller may see it is for the caller to check."""
    row = one(db, queries.FIND_GROUP, group_id)
    if row is None or row[-1]:
        return None
    group = GroupRow(*row)
    return GroupView(group, every(db, queries.GROUP_MEMBERS, (group.cid,)))

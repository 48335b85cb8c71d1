"""The lines of an export about conversations, groups and their members; see `records`."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Struct

from imserver.domain.model import SYSTEM_USER, Level, Role
from imserver.store.lines import Record, Target
from imserver.store.retention import removal_queries as queries

_REMOVED_COLUMNS: Final = (
    "conversation.removed_seq", "conversation.removed_uid", "conversation.removed_other_seq",
)  # fmt: skip
REMOVED: Final = """
    c.removed_seq, (SELECT user_id FROM user WHERE uid = c.removed_uid), c.removed_other_seq
"""


class Removed(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How far what was removed from a conversation reaches."""

    seq: int
    sender: str  # of that one
    other_seq: int = 0  # the highest that somebody else had sent

    @classmethod
    def of(cls, seq: int, sender: str | None, other_seq: int) -> Removed | None:
        """What a conversation's columns say; None: nothing was removed."""
        return cls(seq, sender or SYSTEM_USER, other_seq) if seq else None

    def put(self, into: Target, cid: int) -> None:
        """Note it in a conversation."""
        uid = 0 if self.sender == SYSTEM_USER else into.uid(self.sender)
        into.db.execute(queries.SET_REMOVED, (cid, self.seq, uid, self.other_seq))


class Direct(Record, tag="direct", frozen=True, kw_only=True):
    """A conversation of two, or of one with themselves."""

    COLUMNS = ("conversation.cid", *_REMOVED_COLUMNS)
    FROM = "conversation WHERE low_uid IS NOT NULL"
    SELECT = f"""
        SELECT c.cid, l.user_id, h.user_id, {REMOVED}
        FROM conversation c
        JOIN user l ON l.uid = c.low_uid JOIN user h ON h.uid = c.high_uid
        ORDER BY c.cid
    """

    conversation: int
    users: tuple[str, str]
    removed: Removed | None = None

    @classmethod
    def of(cls, *row: Any) -> Direct:
        """See `Record`."""
        cid, low, high, *removed = row
        return cls(conversation=cid, users=(low, high), removed=Removed.of(*removed))

    def put(self, into: Target) -> None:
        """See `Record`."""
        low, high = sorted(into.uid(user) for user in self.users)
        into.put("conversation (cid, low_uid, high_uid)", self.conversation, low, high)
        if self.removed is not None:
            self.removed.put(into, self.conversation)


class GroupLine(Record, tag="group", frozen=True, kw_only=True):
    """A group, open or closed."""

    COLUMNS = (
        "conversation.cid", "group.cid", "group.group_id", "group.name", "group.description",
        "group.created_ms", "group.updated_ms", "group.closed", "group.private", "group.keep_ms",
        *_REMOVED_COLUMNS,
    )  # fmt: skip
    FROM = '"group"'
    SELECT = f"""
        SELECT g.cid, g.group_id, g.name, g.description, g.created_ms, g.updated_ms, g.closed,
               g.private, g.keep_ms, {REMOVED}
        FROM "group" g JOIN conversation c ON c.cid = g.cid ORDER BY g.cid
    """

    conversation: int
    group_id: str
    name: str
    description: str
    created_ms: int
    updated_ms: int
    closed: bool
    private: bool = False
    keep_ms: int | None = None
    removed: Removed | None = None

    @classmethod
    def of(cls, *row: Any) -> GroupLine:
        """See `Record`."""
        cid, group_id, name, description, created_ms, updated_ms, closed, private, *rest = row
        keep_ms, *removed = rest
        return cls(
            conversation=cid,
            group_id=group_id,
            name=name,
            description=description,
            created_ms=created_ms,
            updated_ms=updated_ms,
            closed=bool(closed),
            private=bool(private),
            keep_ms=keep_ms,
            removed=Removed.of(*removed),
        )

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put("conversation (cid)", self.conversation)
        into.put(
            '"group" (cid, group_id, name, description, created_ms, updated_ms, closed, private,'
            " keep_ms)",
            self.conversation,
            self.group_id,
            self.name,
            self.description,
            self.created_ms,
            self.updated_ms,
            int(self.closed),
            int(self.private),
            self.keep_ms,
        )
        if self.removed is not None:
            self.removed.put(into, self.conversation)


class InvitationLine(Record, tag="invitation", frozen=True, kw_only=True):
    """Leave to join a group, neither taken nor declined."""

    COLUMNS = ("invitation.uid", "invitation.cid", "invitation.by_uid", "invitation.invited_ms")
    FROM = "invitation"
    SELECT = """
        SELECT v.cid, u.user_id, b.user_id, v.invited_ms
        FROM invitation v JOIN user u ON u.uid = v.uid JOIN user b ON b.uid = v.by_uid
        ORDER BY v.uid, v.cid
    """

    conversation: int
    user: str
    by: str
    invited_ms: int

    @classmethod
    def of(cls, *row: Any) -> InvitationLine:
        """See `Record`."""
        cid, user, by, invited_ms = row
        return cls(conversation=cid, user=user, by=by, invited_ms=invited_ms)

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put(
            "invitation (uid, cid, by_uid, invited_ms)",
            into.uid(self.user),
            self.conversation,
            into.uid(self.by),
            self.invited_ms,
        )


class Barred(Record, tag="ban", frozen=True, kw_only=True):
    """A user who may not join a group."""

    COLUMNS = ("ban.cid", "ban.uid", "ban.by_uid", "ban.banned_ms")
    FROM = "ban"
    SELECT = """
        SELECT n.cid, u.user_id, b.user_id, n.banned_ms
        FROM ban n JOIN user u ON u.uid = n.uid JOIN user b ON b.uid = n.by_uid
        ORDER BY n.cid, n.uid
    """

    conversation: int
    user: str
    by: str
    banned_ms: int

    @classmethod
    def of(cls, *row: Any) -> Barred:
        """See `Record`."""
        cid, user, by, banned_ms = row
        return cls(conversation=cid, user=user, by=by, banned_ms=banned_ms)

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put(
            "ban (cid, uid, by_uid, banned_ms)",
            self.conversation,
            into.uid(self.user),
            into.uid(self.by),
            self.banned_ms,
        )


class MemberLine(Record, tag="member", frozen=True, kw_only=True):
    """Whoever ever belonged to a conversation, and when: from and to places in the order."""

    COLUMNS = (
        "member.cid", "member.uid", "member.role", "member.joined_ms", "member.ordinal",
        "member.delivered_seq", "member.read_seq",
        "membership.cid", "membership.uid", "membership.from_seq", "membership.to_seq",
    )  # fmt: skip
    FROM = "member"
    SELECT = """
        SELECT m.cid, u.user_id, m.role, m.joined_ms, m.ordinal, m.delivered_seq, m.read_seq,
               (SELECT json_group_array(json_array(i.from_seq, i.to_seq))
                FROM (SELECT from_seq, to_seq FROM membership
                      WHERE uid = m.uid AND cid = m.cid ORDER BY from_seq) i)
        FROM member m JOIN user u ON u.uid = m.uid
        ORDER BY m.cid, m.uid
    """

    conversation: int
    user: str
    role: str = Role.MEMBER.label
    joined_ms: int
    ordinal: int = 0
    delivered_seq: int
    read_seq: int
    intervals: list[tuple[int, int | None]]  # the last one without an end while it lasts

    @classmethod
    def of(cls, *row: Any) -> MemberLine:
        """See `Record`."""
        cid, user, role, joined_ms, ordinal, delivered_seq, read_seq, intervals = row
        return cls(
            conversation=cid,
            user=user,
            role=Role(role).label,
            joined_ms=joined_ms,
            ordinal=ordinal,
            delivered_seq=delivered_seq,
            read_seq=read_seq,
            intervals=msgspec.json.decode(intervals),
        )

    def put(self, into: Target) -> None:
        """See `Record`."""
        uid = into.uid(self.user)
        if not self.intervals:
            raise msgspec.ValidationError("intervals must not be empty")
        last, end = self.intervals[-1]
        into.put(
            "member (cid, uid, active, role, joined_ms, joined_seq, ordinal, delivered_seq,"
            " read_seq)",
            self.conversation,
            uid,
            int(end is None),
            number_of(Role, self.role, "role"),
            self.joined_ms,
            last,
            self.ordinal,
            self.delivered_seq,
            self.read_seq,
        )
        for first, until in self.intervals:
            into.put(
                "membership (uid, cid, from_seq, to_seq)", uid, self.conversation, first, until
            )


def number_of(kind: type[Role | Level], label: str, field: str) -> int:
    """The number behind a word of a line."""
    for value in kind:
        if value.label == label:
            return value
    raise msgspec.ValidationError(f"there is no {field} {label!r}")

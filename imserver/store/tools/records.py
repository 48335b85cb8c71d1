"""The kinds of lines that an export has between its first and its last, in that order.

A migration that adds a table or a column adds it to a kind too, with a default, so that older
exports can still be read, or to `LEFT_OUT`; a test insists.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec
from msgspec import Struct

from imserver.domain.errors import ApiError
from imserver.domain.model import MESSAGE_TYPES, SYSTEM_USER, Level, Role, check_user_id
from imserver.store.retention import removal_queries as queries
from imserver.store.tools.account_records import TOKENS_LEFT_OUT, Account, Audit
from imserver.store.tools.file_records import Attachment, File
from imserver.store.tools.lines import Record, Target

_ERASED: Final = re.compile(r"erased user [0-9]+")  # what `erasing.rename` calls them

# Columns that no line holds, and why not.
LEFT_OUT: Final = {
    "conversation.low_uid": "the lower of a direct conversation's users",
    "conversation.high_uid": "the higher of them",
    "member.active": "whether the last of the intervals has an end",
    "member.joined_seq": "where the last of the intervals begins",
    **dict.fromkeys(
        ("run.cid", "run.uid", "run.from_seq", "run.to_seq"), "what the messages say themselves"
    ),
    **TOKENS_LEFT_OUT,
}


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


class User(Record, tag="user", frozen=True, kw_only=True):
    """Whoever was ever named."""

    COLUMNS = ("user.uid", "user.user_id", "user.created_ms")
    FROM = "user"
    SELECT = "SELECT uid, user_id, created_ms FROM user ORDER BY uid"

    number: int
    user_id: str
    created_ms: int

    @classmethod
    def of(cls, *row: Any) -> User:
        """See `Record`."""
        number, user_id, created_ms = row
        return cls(number=number, user_id=user_id, created_ms=created_ms)

    def put(self, into: Target) -> None:
        """See `Record`: an id is one that a user may have, or what an erased one is called."""
        if not _ERASED.fullmatch(self.user_id):
            try:
                check_user_id(self.user_id)
            except ApiError as error:
                raise msgspec.ValidationError(str(error)) from None
        into.put("user (uid, user_id, created_ms)", self.number, self.user_id, self.created_ms)


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


class Group(Record, tag="group", frozen=True, kw_only=True):
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
    def of(cls, *row: Any) -> Group:
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


class Invitation(Record, tag="invitation", frozen=True, kw_only=True):
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
    def of(cls, *row: Any) -> Invitation:
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


class Member(Record, tag="member", frozen=True, kw_only=True):
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
    def of(cls, *row: Any) -> Member:
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
            _number(Role, self.role, "role"),
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


class Message(Record, tag="message", frozen=True, kw_only=True):
    """A message; its id is `msg_` and its place in the order."""

    COLUMNS = (
        "message.seq", "message.cid", "message.sender_uid", "message.type", "message.content",
        "message.sent_ms", "message.event",
    )  # fmt: skip
    FROM = "message"
    SELECT = """
        SELECT m.seq, m.cid, u.user_id, m.type, m.content, m.sent_ms, m.event
        FROM message m LEFT JOIN user u ON u.uid = m.sender_uid
        ORDER BY m.seq
    """

    seq: int
    conversation: int
    sender: str
    type: str
    content: str
    sent_ms: int
    event: dict[str, Any] | None = None

    @classmethod
    def of(cls, *row: Any) -> Message:
        """See `Record`."""
        seq, cid, sender, kind, content, sent_ms, event = row
        return cls(
            seq=seq,
            conversation=cid,
            sender=sender or SYSTEM_USER,
            type=MESSAGE_TYPES[kind],
            content=content,
            sent_ms=sent_ms,
            event=None if event is None else msgspec.json.decode(event),
        )

    def put(self, into: Target) -> None:
        """See `Record`."""
        if self.type not in MESSAGE_TYPES:
            raise msgspec.ValidationError(f"there is no type {self.type!r}")
        into.put(
            "message (seq, cid, sender_uid, type, content, sent_ms, event)",
            self.seq,
            self.conversation,
            0 if self.sender == SYSTEM_USER else into.uid(self.sender),
            MESSAGE_TYPES.index(self.type),
            self.content,
            self.sent_ms,
            None if self.event is None else msgspec.json.encode(self.event).decode(),
        )


class ClientMessage(Record, tag="client_message", frozen=True, kw_only=True):
    """What a `client_msg_id` was used for, for ever: also when the message is gone."""

    COLUMNS = (
        "client_message.uid", "client_message.client_msg_id", "client_message.digest",
        "client_message.seq", "client_message.sent_ms",
    )  # fmt: skip
    FROM = "client_message"
    SELECT = """
        SELECT u.user_id, c.client_msg_id, c.digest, c.seq, c.sent_ms
        FROM client_message c JOIN user u ON u.uid = c.uid
        ORDER BY c.uid, c.client_msg_id
    """

    sender: str
    client_msg_id: str
    digest: str  # hexadecimal
    seq: int
    sent_ms: int

    @classmethod
    def of(cls, *row: Any) -> ClientMessage:
        """See `Record`."""
        sender, client_msg_id, digest, seq, sent_ms = row
        return cls(
            sender=sender,
            client_msg_id=client_msg_id,
            digest=digest.hex(),
            seq=seq,
            sent_ms=sent_ms,
        )

    def put(self, into: Target) -> None:
        """See `Record`."""
        try:
            digest = bytes.fromhex(self.digest)
        except ValueError:
            raise msgspec.ValidationError("digest is not hexadecimal") from None
        into.put(
            "client_message (uid, client_msg_id, digest, seq, sent_ms)",
            into.uid(self.sender),
            self.client_msg_id,
            digest,
            self.seq,
            self.sent_ms,
        )


class SelectiveAck(Record, tag="selective_ack", frozen=True, kw_only=True):
    """What a member has acknowledged beyond a hole."""

    COLUMNS = (
        "selective_ack.cid", "selective_ack.uid", "selective_ack.seq", "selective_ack.level",
    )  # fmt: skip
    FROM = "selective_ack"
    SELECT = """
        SELECT a.cid, u.user_id, a.seq, a.level
        FROM selective_ack a JOIN user u ON u.uid = a.uid
        ORDER BY a.cid, a.uid, a.seq
    """

    conversation: int
    user: str
    seq: int
    level: str

    @classmethod
    def of(cls, *row: Any) -> SelectiveAck:
        """See `Record`."""
        cid, user, seq, level = row
        return cls(conversation=cid, user=user, seq=seq, level=Level(level).label)

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put(
            "selective_ack (cid, uid, seq, level)",
            self.conversation,
            into.uid(self.user),
            self.seq,
            _number(Level, self.level, "level"),
        )


class Failed(Record, tag="failed", frozen=True, kw_only=True):
    """A message that was removed before anybody but its sender had it."""

    COLUMNS = ("failed.uid", "failed.seq", "failed.noted_seq", "failed.removed_ms")
    FROM = "failed"
    SELECT = """
        SELECT u.user_id, f.seq, f.noted_seq, f.removed_ms
        FROM failed f JOIN user u ON u.uid = f.uid
        ORDER BY f.uid, f.seq
    """

    sender: str
    seq: int
    noted_seq: int
    removed_ms: int

    @classmethod
    def of(cls, *row: Any) -> Failed:
        """See `Record`."""
        sender, seq, noted_seq, removed_ms = row
        return cls(sender=sender, seq=seq, noted_seq=noted_seq, removed_ms=removed_ms)

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put(
            "failed (uid, seq, noted_seq, removed_ms)",
            into.uid(self.sender),
            self.seq,
            self.noted_seq,
            self.removed_ms,
        )


KINDS: Final[tuple[type[Record], ...]] = (
    User,
    Account,
    Direct,
    Group,
    Invitation,
    Barred,
    Member,
    Message,
    File,
    Attachment,
    ClientMessage,
    SelectiveAck,
    Failed,
    Audit,
)


def _number(kind: type[Role | Level], label: str, field: str) -> int:
    for value in kind:
        if value.label == label:
            return value
    raise msgspec.ValidationError(f"there is no {field} {label!r}")

"""A message's shape in the database: the columns, and how they become a `Message` and a line.

This is the only module that names the columns of what a message says; a new one is added by a
migration, here, to `Message`, and to the docs. Statements elsewhere may ask for a message's place,
conversation, sender and time, and the search index for what it searches.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from imserver.domain.model import MESSAGE_TYPES, SYSTEM_USER, Event, Level, Message, message_id
from imserver.store.lines import Record, Target

if TYPE_CHECKING:
    from collections.abc import Mapping

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
SYSTEM_UID: Final = 0  # the sender of system messages
TYPE_NUMBERS: Final = {name: number for number, name in enumerate(MESSAGE_TYPES)}

_COLUMNS: Final = ("seq", "cid", "sender_uid", "type", "content", "sent_ms", "event")
WIDTH: Final = len(_COLUMNS)
ENVELOPE_BYTES: Final = 300  # what a message weighs on a page beside its content, roughly


def values(seq: int, cid: int, sender_uid: int, message: Message) -> tuple[Any, ...]:
    """The columns of a new message."""
    event = message.event
    return (
        seq,
        cid,
        sender_uid,
        TYPE_NUMBERS[message.type],
        message.content,
        message.timestamp,
        None if event is None else msgspec.json.encode(event).decode(),
    )


_INSERT: Final = f"INSERT INTO message ({', '.join(_COLUMNS)}) VALUES "
_HOLDERS: Final = f"({', '.join('?' * WIDTH)})"
# By how many they add: among many in one statement, one costs a third of what it costs alone.
INSERTS: Final = {
    count: _INSERT + ", ".join([_HOLDERS] * count) for count in (64, 32, 16, 8, 4, 2, 1)
}

# A message before a viewer's status is known, as a `Row`; to be narrowed by a WHERE.
SELECT: Final = f"""
    SELECT {", ".join(f"m.{column}" for column in _COLUMNS)},
           s.user_id, c.low_uid, c.high_uid, r.user_id, g.group_id
    FROM message m
    JOIN conversation c ON c.cid = m.cid
    LEFT JOIN user s ON s.uid = m.sender_uid
    LEFT JOIN user r ON r.uid = c.low_uid + c.high_uid - m.sender_uid
    LEFT JOIN "group" g ON g.cid = m.cid
"""
BY_SEQ: Final = f"{SELECT} WHERE m.seq = ?"


class Row(NamedTuple):
    """A message as `SELECT` gives it."""

    seq: int
    cid: int
    sender_uid: int
    type: int
    content: str
    sent_ms: int
    event: str | None
    sender: str | None  # None: the server itself
    low_uid: int | None  # None: a group
    high_uid: int | None
    receiver: str | None
    group_id: str | None

    def message(self, status: Level, more: Mapping[str, Any] = NOTHING) -> Message:
        """The message as a client sees it, with that client's status.

        `more` are the fields that only some messages have; see `carried`.
        """
        message = Message(
            id=message_id(self.seq),
            sender_id=self.sender or SYSTEM_USER,
            receiver_id=self.receiver,
            group_id=self.group_id,
            type=MESSAGE_TYPES[self.type],
            content=self.content,
            status=status.label,
            timestamp=self.sent_ms,
            event=None if self.event is None else msgspec.json.decode(self.event, type=Event),
        )
        return replace(message, **more) if more else message  # unpacking nothing costs more


# Of an erased user nothing stays in what the server says of itself; see `tools.erasing`.
NOTICES: Final = f"""
    SELECT seq, event FROM message
    WHERE cid = ?1 AND seq > ?2 AND type = {TYPE_NUMBERS["system"]} AND event IS NOT NULL
      AND (event ->> 'user_id' = ?3 OR event ->> 'by' = ?3
           OR EXISTS (SELECT 1 FROM json_each(event, '$.user_ids') WHERE value = ?3))
    ORDER BY seq LIMIT ?4
"""
REWRITE_NOTICE: Final = "UPDATE message SET content = ?2, event = ?3 WHERE seq = ?1"

# The columns of a line, of `message m LEFT JOIN user u ON u.uid = m.sender_uid`.
LINE_COLUMNS: Final = ", ".join(
    f"m.{column}" if column != "sender_uid" else "u.user_id" for column in _COLUMNS
)


class MessageLine(Record, tag="message", frozen=True, kw_only=True):
    """A message in an export; its id is `msg_` and its place in the order."""

    COLUMNS = tuple(f"message.{column}" for column in _COLUMNS)
    FROM = "message"
    SELECT = f"""
        SELECT {LINE_COLUMNS} FROM message m LEFT JOIN user u ON u.uid = m.sender_uid
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
    def of(cls, *row: Any) -> MessageLine:
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
        if self.type not in TYPE_NUMBERS:
            raise msgspec.ValidationError(f"there is no type {self.type!r}")
        into.put(
            f"message ({', '.join(_COLUMNS)})",
            self.seq,
            self.conversation,
            SYSTEM_UID if self.sender == SYSTEM_USER else into.uid(self.sender),
            TYPE_NUMBERS[self.type],
            self.content,
            self.sent_ms,
            None if self.event is None else msgspec.json.encode(self.event).decode(),
        )

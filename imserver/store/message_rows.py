"""A message as the database has it, and as clients see it."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from imserver.domain.model import MESSAGE_TYPES, SYSTEM_USER, Event, Level, Message, message_id


class Row(NamedTuple):
    """A message as `queries._ROW` gives it, without any viewer's status."""

    seq: int
    cid: int
    sender_uid: int
    sender: str | None  # None: the server itself
    low_uid: int | None  # None: a group
    high_uid: int | None
    receiver: str | None
    group_id: str | None
    type: int
    content: str
    sent_ms: int
    event: str | None

    def message(self, status: Level) -> Message:
        """The message as a client sees it, with that client's status."""
        return Message(
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

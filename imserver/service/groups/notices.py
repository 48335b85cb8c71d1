"""System messages: what happens in a group stands in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imserver.domain.frames import encode_json, push_of
from imserver.domain.model import SYSTEM_USER, Event, Level, Message, message_id
from imserver.domain.sentences import sentence
from imserver.service.engine import Delivery
from imserver.store.message_rows import SYSTEM_UID

if TYPE_CHECKING:
    from collections.abc import Collection

    from imserver.store.remembered import Roster
    from imserver.store.transaction import Transaction


class Notice(NamedTuple):
    """A system message as stored, and who gets it."""

    message: Message
    users: Collection[str]

    def delivery(self) -> Delivery:
        """The push that carries it."""
        return Delivery(push_of(self.message, encode_json(self.message)), self.users)


def announce(tx: Transaction, roster: Roster, event: Event) -> Notice:
    """Store a system message in a group; all of `roster` get it."""
    message = Message(
        id=message_id(tx.next_seq),
        sender_id=SYSTEM_USER,
        group_id=roster.group_id,
        type="system",
        content=sentence(event),
        status=Level.SENT.label,
        timestamp=tx.now_ms,
        event=event,
    )
    tx.append(roster.cid, SYSTEM_UID, message)
    return Notice(message, roster.members)

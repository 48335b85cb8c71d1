"""Messages written past the engine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imserver.domain.model import Level, Message, message_id

if TYPE_CHECKING:
    from imserver.store.transaction import Transaction


def say(tx: Transaction, cid: int, uid: int, content: str) -> int:
    """Append a text, and return its place."""
    message = Message(
        id=message_id(tx.next_seq),
        sender_id="",
        type="text",
        content=content,
        status=Level.SENT.label,
        timestamp=tx.now_ms,
    )
    return tx.append(cid, uid, message)

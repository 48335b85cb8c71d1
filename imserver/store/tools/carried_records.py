"""Lines about what only some messages have; see `carried`. Attachments: see `file_records`."""

from __future__ import annotations

from typing import Any

from imserver.store.lines import Record, Target


class Reply(Record, tag="reply", frozen=True, kw_only=True):
    """A message that answers another one."""

    COLUMNS = ("reply.seq", "reply.cid", "reply.reply_to", "reply.root")
    FROM = "reply"
    SELECT = "SELECT seq, cid, reply_to, root FROM reply ORDER BY seq"

    seq: int
    conversation: int
    reply_to: int
    root: int

    @classmethod
    def of(cls, *row: Any) -> Reply:
        """See `Record`."""
        seq, cid, reply_to, root = row
        return cls(seq=seq, conversation=cid, reply_to=reply_to, root=root)

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put(
            "reply (seq, cid, reply_to, root)",
            self.seq,
            self.conversation,
            self.reply_to,
            self.root,
        )


class Mention(Record, tag="mention", frozen=True, kw_only=True):
    """A user whom a message mentions; without one, everyone."""

    COLUMNS = ("mention.seq", "mention.ordinal", "mention.cid", "mention.uid")
    FROM = "mention"
    SELECT = """
        SELECT n.seq, n.ordinal, n.cid, u.user_id
        FROM mention n LEFT JOIN user u ON u.uid = n.uid
        ORDER BY n.seq, n.ordinal
    """

    seq: int
    ordinal: int
    conversation: int
    user: str | None = None

    @classmethod
    def of(cls, *row: Any) -> Mention:
        """See `Record`."""
        seq, ordinal, cid, user = row
        return cls(seq=seq, ordinal=ordinal, conversation=cid, user=user)

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put(
            "mention (seq, ordinal, cid, uid)",
            self.seq,
            self.ordinal,
            self.conversation,
            None if self.user is None else into.uid(self.user),
        )


class Forward(Record, tag="forward", frozen=True, kw_only=True):
    """A message that repeats another one: who wrote that, and when."""

    COLUMNS = ("forward.seq", "forward.sender_uid", "forward.sent_ms")
    FROM = "forward"
    SELECT = """
        SELECT f.seq, u.user_id, f.sent_ms FROM forward f JOIN user u ON u.uid = f.sender_uid
        ORDER BY f.seq
    """

    seq: int
    sender: str
    sent_ms: int

    @classmethod
    def of(cls, *row: Any) -> Forward:
        """See `Record`."""
        seq, sender, sent_ms = row
        return cls(seq=seq, sender=sender, sent_ms=sent_ms)

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put(
            "forward (seq, sender_uid, sent_ms)", self.seq, into.uid(self.sender), self.sent_ms
        )

"""The kinds of lines that an export has between its first and its last, in that order.

A migration that adds a table or a column adds it to a kind too, with a default, so that older
exports can still be read, or to `LEFT_OUT`; a test insists.
"""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from imserver.domain.errors import ApiError
from imserver.domain.model import Level, check_user_id
from imserver.store.lines import Record, Target
from imserver.store.message_rows import MessageLine
from imserver.store.tools.account_records import TOKENS_LEFT_OUT, AccountLine, AuditLine
from imserver.store.tools.carried_records import Forward, Mention, Reply
from imserver.store.tools.file_records import Attachment, File
from imserver.store.tools.group_records import (
    Barred,
    Direct,
    GroupLine,
    InvitationLine,
    MemberLine,
    number_of,
)

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


class UserLine(Record, tag="user", frozen=True, kw_only=True):
    """Whoever was ever named."""

    COLUMNS = ("user.uid", "user.user_id", "user.created_ms")
    FROM = "user"
    SELECT = "SELECT uid, user_id, created_ms FROM user ORDER BY uid"

    number: int
    user_id: str
    created_ms: int

    @classmethod
    def of(cls, *row: Any) -> UserLine:
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
            number_of(Level, self.level, "level"),
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
    UserLine,
    AccountLine,
    Direct,
    GroupLine,
    InvitationLine,
    Barred,
    MemberLine,
    MessageLine,
    File,
    Attachment,
    Reply,
    Mention,
    Forward,
    ClientMessage,
    SelectiveAck,
    Failed,
    AuditLine,
)

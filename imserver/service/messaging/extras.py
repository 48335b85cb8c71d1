"""What a send may carry beside its text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import Forwarded, Role, message_id, parse_message_id
from imserver.domain.requested import MOST_MENTIONS
from imserver.store import carried, queries, reading, viewing
from imserver.store.files import uploaded

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from imserver.domain.requested import SendMessage
    from imserver.store.carried import Origin
    from imserver.store.files.uploaded import StoredFile
    from imserver.store.message_rows import Row
    from imserver.store.transaction import Transaction

# In larger groups only the owner and admins mention everyone.
FREE_MENTION_ALL: Final = 50  # members


class Destination(NamedTuple):
    """Where a message is to go."""

    cid: int | None  # None: the two have never written to each other
    users: Collection[str]
    group: bool


class Checked(NamedTuple):
    """What a send carries, as it was found."""

    files: Sequence[StoredFile] = ()
    reply_to: int | None = None
    root: int = 0
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    origin: Origin | None = None
    forwarded: Row | None = None  # whose text and type it has

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of the message."""
        fields: dict[str, Any] = {
            "attachments": tuple(file.view for file in self.files),
            "mentions": self.mentions,
            "mention_all": self.mention_all,
        }
        if self.reply_to is not None:
            fields["reply_to"] = message_id(self.reply_to)
            fields["thread_id"] = message_id(self.root)
        if self.origin is not None:
            fields["forwarded"] = Forwarded(self.origin.user_id, self.origin.sent_ms)
        return fields

    def store(self, tx: Transaction, seq: int, cid: int) -> None:
        """Let the message at a place have it; all users exist by now."""
        uploaded.attach(tx.db, seq, [file.file_id for file in self.files])
        if self.reply_to is not None:
            carried.add_reply(tx.db, seq, cid, self.reply_to, self.root)
        mentioned: list[int | None] = [tx.name_user(user_id) for user_id in self.mentions]
        if self.mention_all:
            mentioned.append(None)
        carried.add_mentions(tx.db, seq, cid, mentioned)
        if self.origin is not None:
            carried.add_forward(tx.db, seq, self.origin)


class Extras(NamedTuple):
    """What a send carries, as it was asked for. Sends without it have none."""

    attachments: Sequence[str] = ()  # ids of files
    reply_to: str | None = None
    mentions: Sequence[str] = ()
    mention_all: bool = False
    forward_of: str | None = None

    @property
    def digested(self) -> dict[str, Any]:
        """What makes two sends different."""
        return {name: value for name, value in self._asdict().items() if value}

    def check(self, tx: Transaction, uid: int | None, target: Destination) -> Checked:
        """Look it up, before anything is written.

        Raises:
            ApiError: `not_found`, `invalid_request`; `forbidden` for `mention_all`.
        """
        files: Sequence[StoredFile] = uploaded.own_files(tx.db, uid, self.attachments)
        if self.reply_to or self.forward_of:
            tx.flush()
        reply_to, root = None, 0
        if self.reply_to:
            row = _visible(tx, uid, self.reply_to)
            if row.cid != target.cid:
                raise ApiError(Code.NOT_FOUND, "reply_to is not in this conversation")
            reply_to, root = row.seq, carried.root_of(tx.db, row.seq)
        self._check_mentions(tx, uid, target)
        origin = forwarded = None
        if self.forward_of:
            forwarded = _visible(tx, uid, self.forward_of)
            if forwarded.sender is None:
                raise ApiError(Code.INVALID_REQUEST, "Messages of type system are not forwarded")
            origin = carried.origin_of(tx.db, forwarded)
            files = uploaded.attachments(tx.db, forwarded.seq)
        return Checked(
            files, reply_to, root, tuple(self.mentions), self.mention_all, origin, forwarded
        )

    def _check_mentions(self, tx: Transaction, uid: int | None, target: Destination) -> None:
        if len(self.mentions) > MOST_MENTIONS or len(set(self.mentions)) < len(self.mentions):
            text = f"mentions must be at most {MOST_MENTIONS} different users"
            raise ApiError(Code.INVALID_REQUEST, text)
        if any(user_id not in target.users for user_id in self.mentions):
            raise ApiError(Code.NOT_FOUND, "mentions names a user outside the conversation")
        if self.mention_all:
            if not target.group:
                raise ApiError(Code.INVALID_REQUEST, "mention_all is for groups")
            if len(target.users) > FREE_MENTION_ALL:
                _, role, *_ = reading.one(tx.db, queries.FIND_MEMBER, target.cid, uid)
                if role == Role.MEMBER:
                    text = "Only the owner and admins mention everyone in a group of this size"
                    raise ApiError(Code.FORBIDDEN, text)


def extras_of(request: SendMessage) -> Extras | None:
    """What a request carries; None: nothing but its text.

    Raises:
        ApiError: `invalid_request`.
    """
    if not (  # nearly every send: nothing is made to find that out
        request.attachments
        or request.reply_to
        or request.mentions
        or request.mention_all
        or request.forward_of
    ):
        return None
    extras = Extras(
        request.attachments or (),
        request.reply_to or None,
        request.mentions or (),
        bool(request.mention_all),
        request.forward_of or None,
    )
    if extras.forward_of and (request.content or extras.attachments):
        text = "A forwarded message brings its own content and attachments"
        raise ApiError(Code.INVALID_REQUEST, text)
    return extras


def _visible(tx: Transaction, uid: int | None, identifier: str) -> Row:
    seq = parse_message_id(identifier)
    row = None if seq is None or uid is None else viewing.find_row(tx.db, seq)
    if row is None or uid is None or not reading.covers(tx.db, uid, row.cid, row.seq):
        raise ApiError(Code.NOT_FOUND, "There is no such message")
    return row

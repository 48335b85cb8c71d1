"""Sending, reading and acknowledging single messages."""

from __future__ import annotations

from collections.abc import Collection
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from imserver.domain.answered import OneMessage, StatusChange
from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import DONE, encode_json, push_of, sent_answer, status_push
from imserver.domain.model import (
    FAILED,
    MAX_CLIENT_MSG_ID,
    MESSAGE_TYPES,
    Level,
    Message,
    check_user_id,
    message_id,
    parse_message_id,
)
from imserver.service.engine import Caller, Change, Delivery, Engine, Outcome
from imserver.service.groups.membership import no_such_group
from imserver.service.messaging.extras import Checked, Destination, Extras, extras_of
from imserver.store import acknowledging, reading, rosters, viewing
from imserver.store.retention import removed

if TYPE_CHECKING:
    from imserver.domain.requested import Ack, GetMessage, SendMessage
    from imserver.store.transaction import Transaction

# The document's example of a send carries this as `group_id` beside a receiver: it stands for
# "a group's id may stand here" and never names a group.
_PLACEHOLDER_GROUP: Final = "optional_group_id"
_LEVELS: Final = {"delivered": Level.DELIVERED, "read": Level.READ}
_DEFAULT_TYPE: Final = "text"
_SENT: Final = Level.SENT.label


def send_message(engine: Engine, caller: Caller, request: SendMessage) -> Send:
    """Check a send for form.

    Raises:
        ApiError: `invalid_request`, `too_large`; `forbidden` for the type `system`.
    """
    group_id = request.group_id if request.group_id != _PLACEHOLDER_GROUP else None
    receiver_id = None if group_id else request.receiver_id or None
    if not group_id:
        if receiver_id is None:
            raise ApiError(Code.INVALID_REQUEST, "receiver_id or group_id is required")
        check_user_id(receiver_id, "receiver_id")
    kind = request.type or _DEFAULT_TYPE
    if kind not in MESSAGE_TYPES:
        allowed = ", ".join(name for name in MESSAGE_TYPES if name != "system")
        raise ApiError(Code.INVALID_REQUEST, f"type must be one of {allowed}")
    if kind == "system":
        raise ApiError(Code.FORBIDDEN, "Only the server sends messages of type system")
    extras = extras_of(request)
    content = request.content or ""
    if not content and not (extras is not None and (extras.attachments or extras.forward_of)):
        raise ApiError(Code.INVALID_REQUEST, "content is required")
    most = engine.limits.content_bytes
    # A character has at most four bytes: most contents need no counting.
    if len(content) * 4 > most and len(content.encode()) > most:
        raise ApiError(Code.TOO_LARGE, f"content must have at most {most} bytes in UTF-8")
    client_msg_id = request.client_msg_id or None
    if client_msg_id is not None and len(client_msg_id) > MAX_CLIENT_MSG_ID:
        raise ApiError(
            Code.INVALID_REQUEST, f"client_msg_id must have 1 to {MAX_CLIENT_MSG_ID} characters"
        )
    return Send(caller, receiver_id, group_id or None, kind, content, client_msg_id, extras)


class _Stored(Struct, frozen=True, gc=False):
    message: Message
    users: Collection[str]  # who gets it pushed; nobody, if it was stored before


class Send(Change[_Stored, bytes]):
    """Store a message at the next place of the one order, once, and push it."""

    __slots__ = ("_client_msg_id", "_content", "_extras", "_group_id", "_kind", "_receiver_id",
                 "_sender", "_session")  # fmt: skip

    appends = True

    def __init__(
        self,
        caller: Caller,
        receiver_id: str | None,
        group_id: str | None,
        kind: str,
        content: str,
        client_msg_id: str | None,
        extras: Extras | None,
    ) -> None:
        self._sender, self._session = caller.user_id, caller.session
        self._receiver_id = receiver_id
        self._group_id = group_id
        self._kind = kind
        self._content = content
        self._client_msg_id = client_msg_id
        self._extras = extras

    def apply(self, tx: Transaction) -> _Stored:
        """Store it, or find that it is stored.

        Raises:
            ApiError: `conflict`, `not_found`, `forbidden`.
        """
        client_msg_id = self._client_msg_id
        digest = b""
        if client_msg_id is not None:
            digest = self._digest()
            repeated = self._repeated(tx, client_msg_id, digest)
            if repeated is not None:
                return _Stored(repeated, ())
        extras = self._extras
        carried: Checked | None = None
        users: Collection[str]
        if self._group_id is not None:
            roster = rosters.find(tx, self._group_id)
            if roster is None:
                raise no_such_group()
            uid = roster.members.get(self._sender)
            if uid is None:
                if roster.private:
                    raise no_such_group()
                raise ApiError(Code.FORBIDDEN, "Join the group before sending to it")
            cid = roster.cid
            users = roster.members
            if extras is not None:
                carried = extras.check(tx, uid, Destination(cid, users, group=True))
        else:
            assert self._receiver_id is not None
            users = {self._sender, self._receiver_id}
            if extras is not None:
                known = tx.find_direct(self._sender, self._receiver_id)
                target = Destination(known, users, group=False)
                carried = extras.check(tx, tx.find_user(self._sender), target)
            uid = tx.name_user(self._sender)
            cid = tx.direct(uid, tx.addressee(self._receiver_id))
        message = self._message(tx.next_seq, tx.now_ms, carried=carried)
        seq = tx.append(cid, uid, message)
        if carried is not None:
            carried.store(tx, seq, cid)
        if client_msg_id is not None:
            tx.remember_send(uid, client_msg_id, digest, seq)
        return _Stored(message, users)

    def conclude(self, stored: _Stored) -> Outcome[bytes]:
        """The answer, and the push to everyone who is to have it."""
        message = stored.message
        encoded = encode_json(message)
        answer = sent_answer(message.id, encoded)
        if not stored.users:
            return Outcome(answer)
        # A message to oneself is pushed to the sending session too.
        skip = None if self._receiver_id == self._sender else self._session
        return Outcome(answer, (Delivery(push_of(message, encoded), stored.users, skip),))

    def _digest(self) -> bytes:
        target = ("g", self._group_id) if self._group_id else ("u", self._receiver_id)
        sent: tuple[Any, ...] = (*target, self._kind, self._content)
        if self._extras is not None:
            sent += (self._extras.digested,)
        return blake2b(encode_json(sent), digest_size=16).digest()

    def _repeated(self, tx: Transaction, client_msg_id: str, digest: bytes) -> Message | None:
        uid = tx.find_user(self._sender)
        known = None if uid is None else tx.known_send(uid, client_msg_id)
        if uid is None or known is None:
            return None
        if known.digest != digest:
            raise ApiError(Code.CONFLICT)
        tx.flush()
        row = viewing.find_row(tx.db, known.seq)
        if row is None:  # it was removed; what it was is in the request
            failed = removed.has_failed(tx.db, uid, known.seq)
            return self._message(known.seq, known.sent_ms, FAILED if failed else _SENT)
        return viewing.views(tx.db, uid, [row])[0]

    def _message(
        self, seq: int, sent_ms: int, status: str = _SENT, carried: Checked | None = None
    ) -> Message:
        kind, content = self._kind, self._content
        if carried is not None and carried.forwarded is not None:
            kind, content = MESSAGE_TYPES[carried.forwarded.type], carried.forwarded.content
        message = Message(
            id=message_id(seq),
            sender_id=self._sender,
            receiver_id=self._receiver_id,
            group_id=self._group_id,
            type=kind,
            content=content,
            status=status,
            timestamp=sent_ms,
        )
        return message if carried is None else replace(message, **carried.fields)


async def get_message(engine: Engine, caller: Caller, request: GetMessage) -> bytes:
    """One message, with the status that the caller is to see.

    Raises:
        ApiError: `not_found`.
    """
    seq = parse_message_id(request.message_id)
    message = (
        None
        if seq is None
        else await engine.reader.ask(
            lambda db: viewing.find_message(db, seq, caller.user_id), by=caller.user_id
        )
    )
    if message is None:
        raise ApiError(Code.NOT_FOUND, "There is no such message")
    return encode_json(OneMessage(message))


def ack(engine: Engine, caller: Caller, request: Ack) -> Acknowledge:
    """Check an acknowledgement for form.

    Raises:
        ApiError: `invalid_request`, `not_found`.
    """
    level = _LEVELS.get(request.status)
    if level is None:
        raise ApiError(Code.INVALID_REQUEST, "status must be delivered or read")
    seq = parse_message_id(request.message_id)
    if seq is None:
        raise ApiError(Code.NOT_FOUND, "There is no such message")
    return Acknowledge(caller, seq, level, bool(request.cumulative))


class News(NamedTuple):
    """What an acknowledgement has changed."""

    senders: list[tuple[str | None, int]]  # whom it concerns (None: the server), and up to where
    now_ms: int


class Acknowledge(Change[News, bytes]):
    """Record how far a message, or all up to it, has come with one of its recipients."""

    __slots__ = ("_cumulative", "_level", "_seq", "_session", "_user_id")

    def __init__(self, caller: Caller, seq: int, level: Level, cumulative: bool) -> None:
        self._user_id, self._session = caller.user_id, caller.session
        self._seq = seq
        self._level = level
        self._cumulative = cumulative

    def apply(self, tx: Transaction) -> News:
        """Move the watermark, or note the message apart.

        Raises:
            ApiError: `not_found` for what is not the caller's to see, `forbidden` for their own.
        """
        uid = tx.find_user(self._user_id)
        row = None if uid is None else viewing.find_row(tx.db, self._seq)
        if uid is None or row is None or not reading.covers(tx.db, uid, row.cid, self._seq):
            raise ApiError(Code.NOT_FOUND, "There is no such message")
        to_self = row.low_uid is not None and row.low_uid == row.high_uid
        if row.sender_uid == uid and not to_self:
            raise ApiError(Code.FORBIDDEN, "The sender of a message cannot acknowledge it")
        if self._cumulative:
            senders = acknowledging.acknowledge_all(
                tx, row.cid, uid, self._seq, self._level, to_self=to_self
            )
        elif acknowledging.acknowledge(tx, row.cid, uid, self._seq, self._level, to_self=to_self):
            senders = [(row.sender, self._seq)]
        else:
            senders = []
        return News(senders, tx.now_ms)

    def conclude(self, news: News) -> Outcome[bytes]:
        """Done; the senders' sessions and the recipient's other ones are told."""
        deliveries = [
            Delivery(self._push(seq, news.now_ms), {sender}, self._session)
            for sender, seq in news.senders
            if sender is not None and sender != self._user_id
        ]
        if news.senders:
            highest = max(seq for _, seq in news.senders)
            own = self._push(highest, news.now_ms)
            deliveries.append(Delivery(own, {self._user_id}, self._session))
        return Outcome(DONE, tuple(deliveries))

    def _push(self, seq: int, now_ms: int) -> bytes:
        return status_push(
            StatusChange(
                message_id(seq), self._level.label, self._user_id, now_ms, self._cumulative
            )
        )

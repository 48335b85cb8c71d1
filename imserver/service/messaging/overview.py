"""A user's conversations, and reading them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imserver.domain.conversations import Conversations, OneConversation
from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import encode_json
from imserver.domain.model import Level, parse_message_id
from imserver.domain.requested import page_limit
from imserver.service.messaging.messages import Acknowledge, News
from imserver.store import acknowledging, inboxes, reading, stretches

if TYPE_CHECKING:
    from imserver.domain.conversations import ConversationRef, ListConversations, MarkRead
    from imserver.service.engine import Caller, Engine
    from imserver.store.transaction import Transaction


async def list_conversations(engine: Engine, caller: Caller, request: ListConversations) -> bytes:
    """A page of the conversations that the caller is in, the newest message's first.

    Raises:
        ApiError: `invalid_request`.
    """
    limit = page_limit(request.limit)
    behind = _place(request.cursor)
    page = await engine.reader.ask(
        lambda db: inboxes.list_page(
            db,
            caller.user_id,
            behind=behind,
            limit=limit,
            unread_only=bool(request.unread_only),
        ),
        by=caller.user_id,
        heavy=True,
    )
    following = None if page.following is None else "{}.{}".format(*page.following)
    return encode_json(Conversations(page.conversations, page.unread, following))


def _place(cursor: str | None) -> inboxes.Place | None:
    if not cursor:
        return None
    newest, _, cid = cursor.partition(".")
    if not all(part.isascii() and part.isdigit() for part in (newest, cid)):
        raise ApiError(Code.INVALID_REQUEST, "cursor must be the next of an earlier page")
    return inboxes.Place(int(newest), int(cid))


async def get_conversation(engine: Engine, caller: Caller, request: ConversationRef) -> bytes:
    """One conversation that the caller is in, or was.

    Raises:
        ApiError: `invalid_request`, `not_found`.
    """
    _check_one(request)

    def question(db: Any) -> OneConversation:
        uid, cid = reading.find_conversation(
            db, reading.find_uid(db, caller.user_id), request.user_id, request.group_id
        )
        return OneConversation(inboxes.view(db, uid, cid))

    return encode_json(await engine.reader.ask(question, by=caller.user_id))


def mark_read(engine: Engine, caller: Caller, request: MarkRead) -> ReadConversation:
    """Check a request for form.

    Raises:
        ApiError: `invalid_request`, `not_found`.
    """
    _check_one(request)
    seq = None
    if request.message_id:
        seq = parse_message_id(request.message_id)
        if seq is None:
            raise ApiError(Code.NOT_FOUND, "There is no such message")
    return ReadConversation(caller, request, seq)


def _check_one(request: ConversationRef | MarkRead) -> None:
    if bool(request.user_id) == bool(request.group_id):
        raise ApiError(Code.INVALID_REQUEST, "Give user_id or group_id")


class ReadConversation(Acknowledge):
    """Record that a user has read a conversation, up to a message or all of it."""

    __slots__ = ("_request", "_upto")

    def __init__(self, caller: Caller, request: MarkRead, upto: int | None) -> None:
        super().__init__(caller, 0, Level.READ, True)
        self._request = request
        self._upto = upto

    def apply(self, tx: Transaction) -> News:
        """Move the watermark.

        Raises:
            ApiError: `not_found` for a conversation, or a message in it, that is not the caller's.
        """
        request = self._request
        uid, cid = reading.find_conversation(
            tx.db, tx.find_user(self._user_id), request.user_id, request.group_id
        )
        seq = stretches.newest_visible(tx.db, uid, cid) if self._upto is None else self._upto
        if seq is None:
            return News([], tx.now_ms)
        if self._upto is not None and not reading.is_in(tx.db, uid, cid, seq):
            raise ApiError(Code.NOT_FOUND, "There is no such message in this conversation")
        to_self = request.user_id == self._user_id
        senders = acknowledging.acknowledge_all(tx, cid, uid, seq, Level.READ, to_self=to_self)
        return News(senders, tx.now_ms)

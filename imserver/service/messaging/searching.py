"""Searching messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import encode_json
from imserver.domain.model import MAX_SEQ, MESSAGE_TYPES
from imserver.domain.searches import DEFAULT_HITS, Hit, Hits
from imserver.store import reading
from imserver.store.search.finding import Found, Wanted
from imserver.store.search.terms import parse

if TYPE_CHECKING:
    from imserver.domain.searches import SearchMessages
    from imserver.service.engine import Caller, Engine

_NOTHING = Found([], None)


async def search_messages(engine: Engine, caller: Caller, request: SearchMessages) -> bytes:
    """A page of the caller's messages that have what they look for, newest first.

    Raises:
        ApiError: `invalid_request`; `not_found` for a conversation that the caller was never in.
    """
    terms = parse(request.q or "")
    if not request.q and not (request.from_ or request.type or request.has):
        raise ApiError(Code.INVALID_REQUEST, "q, from, type or has is required")
    if request.user_id and request.group_id:
        raise ApiError(Code.INVALID_REQUEST, "Give user_id or group_id, not both")
    below = _place(request.cursor)

    def question(db: Any) -> Found:
        uid = reading.find_uid(db, caller.user_id)
        cid = None
        if request.user_id or request.group_id:
            _, cid = reading.find_conversation(db, uid, request.user_id, request.group_id)
        sender = reading.find_uid(db, request.from_) if request.from_ else None
        if uid is None or (request.from_ and sender is None) or (request.q and not terms):
            return _NOTHING
        wanted = Wanted(
            terms,
            cid,
            sender,
            MESSAGE_TYPES.index(request.type) if request.type else None,
            request.has,
            request.before,
            request.after,
        )
        limit = request.limit or DEFAULT_HITS
        return engine.finder.find(
            db, uid, wanted, below=below, limit=limit, max_bytes=engine.limits.page_bytes
        )

    found = await engine.reader.ask(question, by=caller.user_id, heavy=True)
    following = None if found.following is None else str(found.following)
    return encode_json(Hits([Hit(view, ranges) for view, ranges in found.hits], following))


def _place(cursor: str | None) -> int | None:
    if not cursor:
        return None
    if not (cursor.isascii() and cursor.isdigit() and int(cursor) <= MAX_SEQ):
        raise ApiError(Code.INVALID_REQUEST, "cursor must be the next of an earlier page")
    return int(cursor)

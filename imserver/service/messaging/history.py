"""A page of one conversation's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import encode_json
from imserver.domain.histories import History
from imserver.domain.model import MESSAGE_TYPES, parse_message_id
from imserver.domain.requested import page_limit
from imserver.store import reading, stretches

if TYPE_CHECKING:
    from imserver.domain.histories import GetHistory
    from imserver.service.engine import Caller, Engine


async def get_history(engine: Engine, caller: Caller, request: GetHistory) -> bytes:
    """Messages of one conversation that the caller may see, oldest first.

    Raises:
        ApiError: `invalid_request`; `not_found` for a conversation that the caller was never in.
    """
    if bool(request.user_id) == bool(request.group_id):
        raise ApiError(Code.INVALID_REQUEST, "Give user_id or group_id")
    wanted = stretches.HistoryWanted(
        before=_place("before", request.before),
        after=_place("after", request.after),
        around=_place("around", request.around),
        type=MESSAGE_TYPES.index(request.type) if request.type else None,
        limit=page_limit(request.limit),
    )
    if (wanted.before, wanted.after, wanted.around).count(None) < 2:
        raise ApiError(Code.INVALID_REQUEST, "Give only one of before, after and around")

    def question(db: Any) -> stretches.Stretch:
        uid, cid = reading.find_conversation(
            db, reading.find_uid(db, caller.user_id), request.user_id, request.group_id
        )
        return stretches.stretch(db, uid, cid, wanted, max_bytes=engine.limits.page_bytes)

    page = await engine.reader.ask(question, by=caller.user_id, heavy=True)
    return encode_json(History(*page))


def _place(name: str, value: str | None) -> int | None:
    if not value:
        return None
    seq = parse_message_id(value)
    if seq is None:
        raise ApiError(Code.INVALID_REQUEST, f"{name} must be a message id")
    return seq

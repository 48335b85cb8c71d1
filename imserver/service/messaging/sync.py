"""Offline sync: what a client has not got."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imserver.domain.answered import Page
from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import encode_json
from imserver.domain.model import message_id, parse_message_id
from imserver.domain.requested import SyncOffline, page_limit
from imserver.store import reading, syncing

if TYPE_CHECKING:
    from imserver.service.engine import Caller, Engine


async def sync_offline(engine: Engine, caller: Caller, request: SyncOffline) -> bytes:
    """A page of the caller's messages, oldest first: after a cursor, or all not acknowledged.

    Raises:
        ApiError: `invalid_request`; `cursor_ahead` for a cursor beyond the newest message.
    """
    limit = page_limit(request.limit)
    after = None
    if request.last_message_id:
        after = parse_message_id(request.last_message_id)
        if after is None:
            raise ApiError(Code.INVALID_REQUEST, "last_message_id is not a message id")
    # In one transaction: what is newer than `newest` will be pushed to whoever is logged in.
    newest, page = await engine.reader.ask(
        lambda db: (
            reading.newest_seq(db),
            syncing.sync_page(
                db,
                caller.user_id,
                after=after,
                limit=limit,
                own=bool(request.include_own),
                max_bytes=engine.limits.page_bytes,
            ),
        ),
        by=caller.user_id,
        heavy=True,
    )
    newest_id = message_id(newest) if request.include_newest else None
    return encode_json(
        Page(
            page.messages,
            page.has_more,
            newest_id,
            page.gap,
            None if page.oldest_seq is None else message_id(page.oldest_seq),
            [message_id(seq) for seq in page.failed],
        )
    )

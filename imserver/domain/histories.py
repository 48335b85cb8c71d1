"""The request and the answer of a conversation's history."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from imserver.domain.model import MAX_USER_ID, Message
from imserver.domain.requested import MAX_LIMIT

_MessageId = Annotated[str, Meta(max_length=32)]


class GetHistory(Struct, frozen=True):
    """A page of one conversation. Without a place: the newest messages."""

    user_id: Annotated[str, Meta(max_length=MAX_USER_ID)] | None = None
    group_id: str | None = None
    before: _MessageId | None = None
    after: _MessageId | None = None
    around: _MessageId | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] | None = None
    type: Literal["text", "image", "file", "voice", "video", "system"] | None = None


class History(Struct, frozen=True):
    """Messages of one conversation, oldest first. `has_older` and `has_newer` are exact."""

    messages: list[Message]
    has_older: bool
    has_newer: bool

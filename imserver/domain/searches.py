"""The request and the answer of a search."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, Struct, field

from imserver.domain.model import MAX_USER_ID, Message

MAX_QUERY: Final = 256  # characters
MAX_HITS: Final = 100  # on a page
DEFAULT_HITS: Final = 20

_Place = Annotated[str, Meta(max_length=32)]
_UserId = Annotated[str, Meta(max_length=MAX_USER_ID)]


class SearchMessages(Struct, frozen=True):
    """Search the messages that the caller may see, newest first."""

    q: Annotated[str, Meta(max_length=MAX_QUERY)] | None = None
    user_id: _UserId | None = None
    group_id: str | None = None
    from_: _UserId | None = field(default=None, name="from")
    type: Literal["text", "image", "file", "voice", "video"] | None = None
    has: Literal["link", "file", "image"] | None = None
    before: int | None = None
    after: int | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_HITS)] | None = None
    cursor: _Place | None = None


class Hit(Struct, frozen=True):
    """A message that was found. `ranges` are the matches in its content, in UTF-16 code units."""

    message: Message
    ranges: list[tuple[int, int]]


class Hits(Struct, frozen=True, omit_defaults=True):
    """A page of a search. `next` is the cursor of the next page, if there may be one."""

    hits: list[Hit]
    next: str | None = None

"""Searching messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from imserver.domain import searches
from imserver.domain.model import Message

if TYPE_CHECKING:
    from imserver.client.lifeline import Lifeline


class SearchHit(Struct, frozen=True):
    """A message, and where its content matches: `content[start:end]` for each pair."""

    message: Message
    ranges: list[tuple[int, int]]


class SearchPage(Struct, frozen=True):
    """Hits, newest first. `next` leads to the following page; None: there is none.

    A page may hold few hits, or none, and still have a `next`.
    """

    hits: list[SearchHit]
    next: str | None = None


class SearchCalls:
    """The part of the client that searches."""

    def __init__(self, line: Lifeline) -> None:
        self._line = line

    async def search(
        self,
        q: str | None = None,
        *,
        user: str | None = None,
        group: str | None = None,
        sender: str | None = None,
        type: Literal["text", "image", "file", "voice", "video"] | None = None,
        has: Literal["link", "file", "image"] | None = None,
        before: int | None = None,
        after: int | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> SearchPage:
        """Messages of this user that have everything that is given.

        Args:
            q: words; a Latin one also finds words that begin with it; in quotes: a phrase.
            user: only the direct messages with this user.
            group: only this group, by its id.
            sender: only what this user sent.
            type: only messages of this type.
            has: only messages with a link, a file or an image.
            before: only messages sent before this time, in milliseconds.
            after: only messages sent after this time, in milliseconds.
            limit: hits on a page, 1 to 100; the server's default is 20.
            cursor: `next` of the page before.

        Raises:
            Refused: among others `not_found`, for a conversation that the user was never in.
        """
        request = searches.SearchMessages(
            q, user, group, sender, type, has, before, after, limit, cursor
        )
        page: searches.Hits = await self._line.ask("search_messages", request, searches.Hits)
        hits = [SearchHit(hit.message, _characters(hit)) for hit in page.hits]
        return SearchPage(hits, page.next)


def _characters(hit: searches.Hit) -> list[tuple[int, int]]:
    """The ranges of a hit in characters, not in UTF-16 code units as the server counts."""
    units = hit.message.content.encode("utf-16-le", "surrogatepass")

    def character(unit: int) -> int:
        return len(units[: 2 * unit].decode("utf-16-le", "surrogatepass"))

    return [(character(start), character(end)) for start, end in hit.ranges]

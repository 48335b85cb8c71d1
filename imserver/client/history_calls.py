"""A conversation's history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from imserver.domain import histories
from imserver.domain.model import Message

if TYPE_CHECKING:
    from imserver.client.lifeline import Lifeline


class HistoryPage(Struct, frozen=True):
    """Messages of one conversation, oldest first."""

    messages: list[Message]
    has_older: bool
    has_newer: bool


class HistoryCalls:
    """The part of the client that reads one conversation."""

    def __init__(self, line: Lifeline) -> None:
        self._line = line

    async def history(
        self,
        *,
        user: str | None = None,
        group: str | None = None,
        before: str | None = None,
        after: str | None = None,
        around: str | None = None,
        limit: int | None = None,
        type: Literal["text", "image", "file", "voice", "video", "system"] | None = None,
    ) -> HistoryPage:
        """A page of the conversation with `user` or in `group`; by default its newest messages.

        Args:
            user: the other user of a direct conversation.
            group: the id of a group.
            before: only messages older than this message id, the nearest ones.
            after: only messages newer than this message id, the nearest ones.
            around: the messages on both sides of this message id, with that message.
            limit: messages on a page, 1 to 200; the server's default is 50.
            type: only messages of this type.

        Raises:
            Refused: among others `not_found`, for a conversation that the user was never in.
        """
        request = histories.GetHistory(user, group, before, after, around, limit, type)
        page: histories.History = await self._line.ask("get_history", request, histories.History)
        return HistoryPage(page.messages, page.has_older, page.has_newer)

"""The list of conversations, and reading them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imserver.domain import answered
from imserver.domain.conversations import (
    Conversation,
    ConversationRef,
    Conversations,
    ListConversations,
    MarkRead,
    OneConversation,
)

if TYPE_CHECKING:
    from imserver.client.lifeline import Lifeline


class ConversationCalls:
    """The part of the client that knows conversations."""

    def __init__(self, line: Lifeline) -> None:
        self._line = line

    async def conversations(
        self, *, unread_only: bool = False, limit: int | None = None, cursor: str | None = None
    ) -> Conversations:
        """A page of this user's conversations, the one with the newest message first.

        Args:
            unread_only: only conversations with unread messages.
            limit: conversations on a page, 1 to 200; the server's default is 50.
            cursor: `next` of the page before.
        """
        request = ListConversations(cursor, limit, unread_only)
        answer: Conversations = await self._line.ask("list_conversations", request, Conversations)
        return answer

    async def conversation(
        self, *, user: str | None = None, group: str | None = None
    ) -> Conversation:
        """The conversation with `user` or in `group`.

        Raises:
            Refused: among others `not_found`, for a conversation that the user was never in.
        """
        request = ConversationRef(user, group)
        answer: OneConversation = await self._line.ask("get_conversation", request, OneConversation)
        return answer.conversation

    async def mark_read(
        self, *, user: str | None = None, group: str | None = None, upto: str | None = None
    ) -> None:
        """The conversation with `user` or in `group` is read, up to a message id or all of it.

        Raises:
            Refused: among others `not_found`, for a conversation that the user was never in.
        """
        await self._line.ask("mark_read", MarkRead(user, group, upto), answered.Success)

"""The requests and answers of the list of conversations."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from imserver.domain.model import MAX_USER_ID, Message
from imserver.domain.requested import MAX_LIMIT

_UserId = Annotated[str, Meta(max_length=MAX_USER_ID)]


class ListConversations(Struct, frozen=True):
    """A page of the caller's conversations, the one with the newest message first."""

    cursor: Annotated[str, Meta(max_length=64)] | None = None
    limit: Annotated[int, Meta(ge=1, le=MAX_LIMIT)] | None = None
    unread_only: bool | None = None


class ConversationRef(Struct, frozen=True):
    """The conversation with a user, or in a group."""

    user_id: _UserId | None = None
    group_id: str | None = None


class MarkRead(Struct, frozen=True):
    """Everything in a conversation is read, or everything up to a message."""

    user_id: _UserId | None = None
    group_id: str | None = None
    message_id: str | None = None


class Conversation(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A conversation as one of its users sees it. It has `user_id` or `group_id`, never both.

    `unread` is exact up to 999; 1000 stands for more.
    """

    user_id: str | None = None
    group_id: str | None = None
    name: str
    last_message: Message | None = None
    unread: int
    read_id: str | None = None
    delivered_id: str | None = None
    peer_read_id: str | None = None
    peer_delivered_id: str | None = None
    members: int
    role: str | None = None
    updated_at: int | None = None


class Conversations(Struct, frozen=True, omit_defaults=True):
    """A page of conversations. `unread` counts all of the caller's, not only those on the page.

    `next` is the cursor of the next page, if there is one.
    """

    conversations: list[Conversation]
    unread: int
    next: str | None = None


class OneConversation(Struct, frozen=True):
    """One conversation."""

    conversation: Conversation

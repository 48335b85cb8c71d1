"""Sending, reading, acknowledging and syncing messages."""

from __future__ import annotations

from typing import Final

from imserver.domain import answered, conversations, histories, requested, searches
from imserver.domain.errors import Code
from imserver.service.admission import Budget
from imserver.service.engine import Operation, Read, Rest, Who, Write
from imserver.service.messaging import history, messages, overview, searching, sync

OPERATIONS: Final[tuple[Operation, ...]] = (
    Write(
        name="send_message",
        summary="Send a message to a user or a group",
        request=requested.SendMessage,
        answer=answered.Sent,
        ws="send_message",
        rest=Rest("POST", "/api/v1/messages"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND, Code.CONFLICT, Code.TOO_LARGE),
        budget=Budget.MESSAGES,
        handle=messages.send_message,
    ),
    Read(
        name="sync_offline",
        summary="Get the messages after a cursor, or all that are not acknowledged",
        request=requested.SyncOffline,
        answer=answered.Page,
        ws="sync_offline",
        rest=Rest("GET", "/api/v1/messages/offline"),
        errors=(Code.CURSOR_AHEAD,),
        budget=Budget.SYNCS,
        handle=sync.sync_offline,
    ),
    Read(
        name="get_message",
        summary="Get one message",
        request=requested.GetMessage,
        answer=answered.OneMessage,
        who=Who.PARTICIPANT,
        ws="get_message",
        rest=Rest("GET", "/api/v1/messages/{message_id}"),
        errors=(Code.NOT_FOUND,),
        handle=messages.get_message,
    ),
    Read(
        name="list_conversations",
        summary="List the caller's conversations, newest first, with what is unread",
        request=conversations.ListConversations,
        answer=conversations.Conversations,
        ws="list_conversations",
        rest=Rest("GET", "/api/v1/conversations"),
        budget=Budget.SYNCS,
        handle=overview.list_conversations,
    ),
    Read(
        name="get_conversation",
        summary="Get one of the caller's conversations",
        request=conversations.ConversationRef,
        answer=conversations.OneConversation,
        ws="get_conversation",
        rest=Rest(
            "GET",
            "/api/v1/users/{user_id}/conversation",
            "/api/v1/groups/{group_id}/conversation",
        ),
        errors=(Code.NOT_FOUND,),
        handle=overview.get_conversation,
    ),
    Write(
        name="mark_read",
        summary="Mark a conversation as read, up to a message or all of it",
        request=conversations.MarkRead,
        answer=answered.Success,
        ws="mark_read",
        rest=Rest(
            "POST",
            "/api/v1/users/{user_id}/conversation/read",
            "/api/v1/groups/{group_id}/conversation/read",
        ),
        errors=(Code.NOT_FOUND,),
        handle=overview.mark_read,
    ),
    Read(
        name="get_history",
        summary="Get a page of one conversation, around any message",
        request=histories.GetHistory,
        answer=histories.History,
        ws="get_history",
        rest=Rest("GET", "/api/v1/users/{user_id}/messages", "/api/v1/groups/{group_id}/messages"),
        errors=(Code.NOT_FOUND,),
        budget=Budget.SYNCS,
        handle=history.get_history,
    ),
    Read(
        name="search_messages",
        summary="Search the messages that the caller may see",
        request=searches.SearchMessages,
        answer=searches.Hits,
        ws="search_messages",
        rest=Rest("GET", "/api/v1/search"),
        errors=(Code.NOT_FOUND,),
        budget=Budget.SYNCS,
        handle=searching.search_messages,
    ),
    Write(
        name="ack",
        summary="Acknowledge a message as delivered or read",
        request=requested.Ack,
        answer=answered.Success,
        who=Who.RECIPIENT,
        ws="ack",
        rest=Rest("POST", "/api/v1/messages/{message_id}/ack"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=messages.ack,
    ),
)

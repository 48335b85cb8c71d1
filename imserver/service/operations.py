"""THE TABLE: every operation there is, who may call it, and where each transport has it.

Transports, the OpenAPI document and the documentation's tests are all derived from it.
"""

from __future__ import annotations

from typing import Final

from imserver.domain import frames
from imserver.domain.errors import Code
from imserver.service import groups, messages, sessions, sync
from imserver.service.admission import Budget
from imserver.service.engine import Immediate, Operation, Query, Rest, Who, Write

# What any operation may be refused with, besides its own errors.
COMMON_ERRORS: Final = (
    Code.INVALID_REQUEST,
    Code.RATE_LIMITED,
    Code.INTERNAL,
    Code.UNAVAILABLE,
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    Immediate(
        name="login",
        summary="Say who this connection is",
        request=frames.Login,
        answer=frames.LoggedIn,
        who=Who.ANYONE,
        ws="login",
        errors=(Code.UNAUTHORIZED, Code.FORBIDDEN),
        budget=Budget.LOGINS,
        handle=sessions.login,
    ),
    Immediate(
        name="heartbeat",
        summary="Give a sign of life and learn the server's time",
        request=frames.Heartbeat,
        answer=frames.HeartbeatAnswer,
        ws="heartbeat",
        handle=sessions.heartbeat,
    ),
    Write(
        name="send_message",
        summary="Send a message to a user or a group",
        request=frames.SendMessage,
        answer=frames.Sent,
        ws="send_message",
        rest=Rest("POST", "/api/v1/messages"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND, Code.CONFLICT, Code.TOO_LARGE),
        budget=Budget.MESSAGES,
        handle=messages.send_message,
    ),
    Query(
        name="sync_offline",
        summary="Get the messages after a cursor, or all that are not acknowledged",
        request=frames.SyncOffline,
        answer=frames.Page,
        ws="sync_offline",
        rest=Rest("GET", "/api/v1/messages/offline"),
        errors=(Code.CURSOR_AHEAD,),
        budget=Budget.SYNCS,
        handle=sync.sync_offline,
    ),
    Query(
        name="get_message",
        summary="Get one message",
        request=frames.GetMessage,
        answer=frames.OneMessage,
        ws="get_message",
        rest=Rest("GET", "/api/v1/messages/{message_id}"),
        errors=(Code.NOT_FOUND,),
        handle=messages.get_message,
    ),
    Write(
        name="ack",
        summary="Acknowledge a message as delivered or read",
        request=frames.Ack,
        answer=frames.Success,
        ws="ack",
        rest=Rest("POST", "/api/v1/messages/{message_id}/ack"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=messages.ack,
    ),
    Write(
        name="create_group",
        summary="Create a group",
        request=frames.CreateGroup,
        answer=frames.OneGroup,
        ws="create_group",
        rest=Rest("POST", "/api/v1/groups"),
        errors=(Code.FORBIDDEN, Code.TOO_LARGE),
        handle=groups.create_group,
    ),
    Query(
        name="get_group",
        summary="Get a group that the caller is in",
        request=frames.GroupRef,
        answer=frames.OneGroup,
        ws="get_group",
        rest=Rest("GET", "/api/v1/groups/{group_id}"),
        errors=(Code.NOT_FOUND,),
        handle=groups.get_group,
    ),
    Query(
        name="get_members",
        summary="List everyone in a group that the caller is in",
        request=frames.GroupRef,
        answer=frames.Members,
        ws="get_members",
        rest=Rest("GET", "/api/v1/groups/{group_id}/members"),
        errors=(Code.NOT_FOUND,),
        handle=groups.get_members,
    ),
    Write(
        name="join_group",
        summary="Join a group",
        request=frames.GroupRef,
        answer=frames.Success,
        ws="join_group",
        rest=Rest("POST", "/api/v1/groups/{group_id}/join"),
        errors=(Code.NOT_FOUND, Code.TOO_LARGE),
        handle=groups.join_group,
    ),
    Write(
        name="leave_group",
        summary="Leave a group",
        request=frames.GroupRef,
        answer=frames.Success,
        ws="leave_group",
        rest=Rest("POST", "/api/v1/groups/{group_id}/leave"),
        errors=(Code.NOT_FOUND,),
        handle=groups.leave_group,
    ),
    Immediate(
        name="health",
        summary="Ask whether the server serves",
        request=frames.Nothing,
        answer=frames.Health,
        who=Who.ANYONE,
        rest=Rest("GET", "/health"),
        budget=Budget.NONE,
        handle=sessions.health,
    ),
    Immediate(
        name="stats",
        summary="Ask who is connected",
        request=frames.Nothing,
        answer=frames.Stats,
        who=Who.ANYONE,
        rest=Rest("GET", "/api/v1/stats"),
        budget=Budget.NONE,
        handle=sessions.stats,
    ),
)

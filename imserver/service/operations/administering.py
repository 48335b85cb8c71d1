"""What is for administrators."""

from __future__ import annotations

from typing import Final

from imserver.domain import administration, answered
from imserver.domain.errors import Code
from imserver.service.administration import auditing, users
from imserver.service.engine import Operation, Procedure, Read, Rest, Who

OPERATIONS: Final[tuple[Operation, ...]] = (
    Read(
        name="list_users",
        summary="List users",
        request=administration.ListUsers,
        answer=administration.Users,
        who=Who.ADMINISTRATOR,
        rest=Rest("GET", "/api/v1/admin/users"),
        errors=(Code.FORBIDDEN,),
        handle=users.list_users,
    ),
    Procedure(
        name="add_user",
        summary="Give a user an account",
        request=administration.AddUser,
        answer=administration.UserWithPassword,
        who=Who.ADMINISTRATOR,
        rest=Rest("POST", "/api/v1/admin/users"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND, Code.CONFLICT, Code.TOO_LARGE),
        handle=users.add_user,
    ),
    Read(
        name="get_user",
        summary="Get one user",
        request=administration.UserRef,
        answer=administration.OneUser,
        who=Who.ADMINISTRATOR,
        rest=Rest("GET", "/api/v1/admin/users/{user_id}"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=users.get_user,
    ),
    Procedure(
        name="update_user",
        summary="Disable or enable an account, or change whether it is an administrator's",
        request=administration.UpdateUser,
        answer=administration.OneUser,
        who=Who.ADMINISTRATOR,
        rest=Rest("PATCH", "/api/v1/admin/users/{user_id}"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND, Code.CONFLICT),
        handle=users.update_user,
    ),
    Procedure(
        name="set_password",
        summary="Give an account another password",
        request=administration.SetPassword,
        answer=administration.UserWithPassword,
        who=Who.ADMINISTRATOR,
        rest=Rest("PUT", "/api/v1/admin/users/{user_id}/password"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND, Code.TOO_LARGE),
        handle=users.set_password,
    ),
    Read(
        name="list_user_sessions",
        summary="List a user's tokens and WebSockets",
        request=administration.UserRef,
        answer=administration.UserSessions,
        who=Who.ADMINISTRATOR,
        rest=Rest("GET", "/api/v1/admin/users/{user_id}/sessions"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=users.list_user_sessions,
    ),
    Procedure(
        name="revoke_user_session",
        summary="Revoke one of a user's tokens",
        request=administration.UserSessionRef,
        answer=answered.Success,
        who=Who.ADMINISTRATOR,
        rest=Rest("DELETE", "/api/v1/admin/users/{user_id}/sessions/{token_id}"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=users.revoke_user_session,
    ),
    Procedure(
        name="revoke_user_sessions",
        summary="Revoke all of a user's tokens",
        request=administration.UserRef,
        answer=answered.Success,
        who=Who.ADMINISTRATOR,
        rest=Rest("DELETE", "/api/v1/admin/users/{user_id}/sessions"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=users.revoke_user_sessions,
    ),
    Procedure(
        name="disconnect_user",
        summary="Close a user's WebSockets",
        request=administration.UserRef,
        answer=administration.Disconnected,
        who=Who.ADMINISTRATOR,
        rest=Rest("POST", "/api/v1/admin/users/{user_id}/disconnect"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=users.disconnect_user,
    ),
    Read(
        name="read_audit",
        summary="Read the audit log",
        request=administration.ReadAudit,
        answer=administration.Audit,
        who=Who.ADMINISTRATOR,
        rest=Rest("GET", "/api/v1/admin/audit"),
        errors=(Code.FORBIDDEN,),
        handle=auditing.read_audit,
    ),
)

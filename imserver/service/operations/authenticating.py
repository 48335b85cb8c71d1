"""Passwords and tokens of the caller's own."""

from __future__ import annotations

from typing import Final

from imserver.domain import answered, requested
from imserver.domain.errors import Code
from imserver.service.accounts import logins
from imserver.service.admission import Budget
from imserver.service.engine import Immediate, Operation, Procedure, Rest, Who

OPERATIONS: Final[tuple[Operation, ...]] = (
    Procedure(
        name="password_login",
        summary="Log in with a password, for a token",
        request=requested.PasswordLogin,
        answer=answered.TokenIssued,
        who=Who.ANYONE,
        rest=Rest("POST", "/api/v1/auth/login"),
        errors=(Code.WRONG_CREDENTIALS, Code.FORBIDDEN, Code.NOT_FOUND, Code.TOO_LARGE),
        budget=Budget.LOGINS,
        handle=logins.password_login,
    ),
    Procedure(
        name="logout",
        summary="Revoke the token that is used",
        request=requested.Nothing,
        answer=answered.Success,
        ws="logout",
        rest=Rest("POST", "/api/v1/auth/logout"),
        errors=(Code.NOT_FOUND,),
        before_change=True,
        handle=logins.logout,
    ),
    Immediate(
        name="list_sessions",
        summary="List the caller's tokens",
        request=requested.Nothing,
        answer=answered.AuthSessions,
        ws="list_sessions",
        rest=Rest("GET", "/api/v1/auth/sessions"),
        errors=(Code.NOT_FOUND,),
        handle=logins.list_sessions,
    ),
    Procedure(
        name="revoke_session",
        summary="Revoke one of the caller's tokens",
        request=requested.SessionRef,
        answer=answered.Success,
        ws="revoke_session",
        rest=Rest("DELETE", "/api/v1/auth/sessions/{token_id}"),
        errors=(Code.NOT_FOUND,),
        handle=logins.revoke_session,
    ),
    Procedure(
        name="revoke_other_sessions",
        summary="Revoke all of the caller's tokens but the one that is used",
        request=requested.Nothing,
        answer=answered.Success,
        ws="revoke_other_sessions",
        rest=Rest("DELETE", "/api/v1/auth/sessions"),
        errors=(Code.NOT_FOUND,),
        handle=logins.revoke_other_sessions,
    ),
    Procedure(
        name="change_password",
        summary="Change the caller's password",
        request=requested.ChangePassword,
        answer=answered.Success,
        ws="change_password",
        rest=Rest("POST", "/api/v1/auth/password"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND, Code.TOO_LARGE),
        budget=Budget.LOGINS,
        before_change=True,
        handle=logins.change_password,
    ),
)

"""Logging in, signs of life, and what the server says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imserver.domain.answered import Health, HeartbeatAnswer, LoggedIn, Stats
from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import encode_json
from imserver.service.identity.modes import must_change_first

if TYPE_CHECKING:
    from imserver.domain.requested import Heartbeat, Login, Nothing
    from imserver.service.engine import Caller, Engine


def login(engine: Engine, caller: Caller, request: Login) -> bytes:
    """Make the session a user's; again for the same user succeeds, and renews what it rests on.

    Raises:
        ApiError: what the identity is refused with, `forbidden` for another user than the
            session's, `rate_limited` where the user has too many sessions.
    """
    session = caller.session
    assert session is not None
    grant = engine.identity.of_login(session, request)
    if grant.must_change:  # over REST the password can be changed
        raise must_change_first()
    user_id = grant.user_id
    if session.user_id is None:
        admission = engine.admission
        if admission is not None and engine.hub.sessions_of(user_id) >= admission.user_sessions:
            raise ApiError(
                Code.RATE_LIMITED, "This user has too many sessions open", retry_after_ms=5_000
            )
    elif session.user_id != user_id:
        raise ApiError(Code.FORBIDDEN, "This connection is another user's: open a new one")
    engine.hub.login(session, grant)
    return encode_json(LoggedIn(True, "Login successful", user_id))


def heartbeat(engine: Engine, caller: Caller, request: Heartbeat) -> bytes:
    """The server's time.

    Raises:
        ApiError: `forbidden` for another user than the session's, where that is looked at.
    """
    engine.identity.check_claim(caller.grant, request.user_id)
    return encode_json(HeartbeatAnswer(engine.clock()))


def health(engine: Engine, caller: Caller, request: Nothing) -> bytes:
    """Whether the server serves, and whether it can store."""
    writer = engine.writer
    if not writer.failing:
        return encode_json(Health("ok", engine.clock()))
    if writer.failure is not None:
        reason = f"writes are refused: {writer.failure}"
    else:
        reason = f"the database's file cannot be written, its WAL grows: {writer.folding_failure}"
    return encode_json(Health("degraded", engine.clock(), reason))


async def ready(engine: Engine, caller: Caller, request: Nothing) -> bytes:
    """Whether requests should be sent here: `health`, but refused where writes would be.

    After a failure it has the store tried at once, so that the answer is true now.

    Raises:
        ApiError: `unavailable` while the store refuses writes or the server is stopping.
    """
    if engine.writer.closing:
        raise ApiError(Code.UNAVAILABLE, "The server is shutting down")
    if engine.writer.failure is not None:
        await engine.writer.try_again()
        if engine.writer.failure is not None:
            raise ApiError(Code.UNAVAILABLE)
    return encode_json(Health("ok", engine.clock()))


def stats(engine: Engine, caller: Caller, request: Nothing) -> bytes:
    """Who is here now."""
    hub = engine.hub
    return encode_json(Stats(hub.connections, hub.online_users, engine.clock()))

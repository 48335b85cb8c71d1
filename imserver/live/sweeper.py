"""One task that checks the deadlines of all sessions, so that none needs its own timer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from imserver.domain.errors import CloseCode

if TYPE_CHECKING:
    from collections.abc import Callable

    from imserver.live.hub import Hub, Session

# Seconds. The clock of sessions is up to one period behind, so each deadline is one period later:
# it may take effect up to two periods late, but never early.
_PERIOD: Final = 1.0
_SLICE: Final = 500  # sessions checked before other tasks run


class Sweeper:
    """Closes sessions that do not log in, are silent or have expired; pings silent ones first."""

    def __init__(
        self,
        hub: Hub,
        clock: Callable[[], int],
        *,
        login_timeout: float,
        ping_after: float,
        drop_after: float,
    ) -> None:
        self._hub = hub
        self._clock = clock  # milliseconds since the epoch, by which grants expire
        self._login_timeout = login_timeout + _PERIOD
        self._ping_after = ping_after
        self._drop_after = drop_after + _PERIOD

    async def run(self) -> None:
        """Sweep until cancelled."""
        while True:
            before, self._hub.tick = self._hub.tick, trio.current_time()
            if before and self._hub.tick - before > 2 * _PERIOD:
                self._excuse(self._hub.tick - before - _PERIOD)
            for count, session in enumerate(self._hub.sessions(), 1):
                self._look_at(session, self._hub.tick)
                if count % _SLICE == 0:
                    await trio.lowlevel.checkpoint()
            await trio.sleep(_PERIOD)

    def _excuse(self, seconds: float) -> None:
        """Extend the deadlines after the process was suspended: its input is not read yet."""
        for session in self._hub.sessions():
            session.heard += seconds
            session.opened += seconds

    def _look_at(self, session: Session, now: float) -> None:
        if session.outbox.closed:
            return
        if session.user_id is None and now - session.opened > self._login_timeout:
            session.outbox.finish(CloseCode.LOGIN_TIMEOUT)
            return
        grant = session.grant
        if grant is not None and grant.expires is not None and grant.expires <= self._clock():
            session.outbox.finish(CloseCode.SIGNED_OUT)
            return
        silence = now - session.heard
        if silence > self._drop_after:
            session.outbox.finish(CloseCode.HEARTBEAT_TIMEOUT)
        elif silence <= self._ping_after:
            session.pinged = False
        elif not session.pinged:
            session.pinged = True
            session.link.ping()

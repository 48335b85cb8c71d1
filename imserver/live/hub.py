"""Sessions, presence and fan-out.

Every method is synchronous and completes before any other code runs, so nobody sees half a change.
Laws:

- `publish` and `send` only queue; `flush` sends everything, with one send for each session.
- A session gets its frames in the order in which they were queued. Consecutive payloads for one
  large audience are collected as a run and put into each outbox in one piece. Any other frame for a
  session of that audience ends the run first.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from imserver.domain.model import Peer
from imserver.live.outbox import Link, Outbox

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from imserver.domain.errors import CloseCode
    from imserver.domain.model import Grant


_UNKNOWN: Final = Peer()
_LARGE: Final = 16  # users; payloads for fewer are queued one by one
_RUN_BYTES: Final = 64 * 1024  # a longer run ends
_MOST_AUDIENCES: Final = 64  # remembered


class _Run:
    """Frames for one audience that are not in its outboxes yet."""

    __slots__ = ("frames", "size", "skip", "users")

    def __init__(self, users: Collection[str], skip: Session | None) -> None:
        self.users = users
        self.skip = skip
        self.frames: list[bytes] = []
        self.size = 0


class Session:
    """One WebSocket: its user once logged in, its outbox, and when it was last heard from."""

    __slots__ = ("asking", "claim", "farewell", "grant", "heard", "link", "number", "opened",
                 "outbox", "peer", "pinged", "user_id")  # fmt: skip

    def __init__(self, link: Link, outbox: Outbox, now: float, number: int, peer: Peer) -> None:
        self.number = number  # unique in its hub
        self.link = link
        self.peer = peer
        self.outbox = outbox
        self.claim = ""  # the user named in its handshake, if that counts: a login must agree
        self.grant: Grant | None = None  # the result of its login
        self.user_id: str | None = None  # that of the grant
        self.opened = now  # seconds on the hub's clock
        self.heard = now
        self.pinged = False  # since last heard
        self.asking = False  # a request is under way, and will be answered
        self.farewell: CloseCode | None = None  # the close code to send after that answer


class Hub:
    """Owner of the sessions and of who is online."""

    def __init__(self, frame: Callable[[bytes], bytes], *, outbox_bytes: int) -> None:
        self.frame = frame  # puts a payload into a WebSocket frame
        self.tick = 0.0  # seconds; the sweeper's coarse clock
        self._outbox_bytes = outbox_bytes
        self._sessions: dict[Session, None] = {}
        self._online: dict[str, dict[Session, None]] = {}
        self._unsent: dict[Outbox, None] = {}
        self._run: _Run | None = None
        # A cache of the sessions of large audiences, valid until a session opens or ends. Audiences
        # are never changed in place, so the key is their identity; the entry keeps them alive.
        self._audiences: dict[int, tuple[Collection[str], list[Session]]] = {}
        self.opened = 0  # sessions since the start
        self.ended: Counter[CloseCode] = Counter()  # sessions that we ended, and why

    @property
    def connections(self) -> int:
        """Open WebSockets, logged in or not."""
        return len(self._sessions)

    @property
    def online_users(self) -> int:
        """Users with at least one session."""
        return len(self._online)

    def online(self) -> Collection[str]:
        """The ids of these users; a live view."""
        return list(self._online)

    def sessions_of(self, user_id: str) -> int:
        """How many sessions a user has."""
        return len(self._online.get(user_id, ()))

    def of_user(self, user_id: str) -> list[Session]:
        """A user's sessions, as they are now."""
        return list(self._online.get(user_id, ()))

    def sessions(self) -> Iterator[Session]:
        """All sessions, as they are now."""
        return iter(list(self._sessions))

    def open(self, link: Link, peer: Peer = _UNKNOWN) -> Session:
        """Register a connection that is not logged in yet."""
        self.opened += 1
        session = Session(link, Outbox(link, self._outbox_bytes), self.tick, self.opened, peer)
        self._sessions[session] = None
        return session

    def login(self, session: Session, grant: Grant) -> None:
        """Log a session in, so that it gets its user's pushes. Again: replace the grant."""
        session.grant = grant
        session.user_id = grant.user_id
        self._end_run()
        self._audiences.clear()
        self._online.setdefault(grant.user_id, {})[session] = None

    def close(self, session: Session) -> None:
        """Forget a session whose connection has ended."""
        session.outbox.abandon()
        self._audiences.clear()
        self._unsent.pop(session.outbox, None)
        if session in self._sessions:
            del self._sessions[session]
            if session.outbox.goodbye is not None:
                self.ended[session.outbox.goodbye] += 1
        if session.user_id is not None:
            others = self._online.get(session.user_id)
            if others is not None:
                others.pop(session, None)
                if not others:
                    del self._online[session.user_id]

    def publish(self, payload: bytes, users: Collection[str], skip: Session | None = None) -> None:
        """Queue a payload for every session of `users` except `skip`. It is framed once.

        `users` must not be changed afterwards.
        """
        run = self._run
        if len(users) > _LARGE:
            if run is None or run.users is not users or run.skip is not skip:
                self._end_run()
                run = self._run = _Run(users, skip)
            frame = self.frame(payload)
            run.frames.append(frame)
            run.size += len(frame)
            if run.size > _RUN_BYTES:
                self._end_run()
            return
        if run is not None:
            self._end_run()
        online = self._online
        framed: bytes | None = None
        for user in users:
            sessions = online.get(user)
            if sessions is None:
                continue
            for session in sessions:
                if session is skip:
                    continue
                if framed is None:
                    framed = self.frame(payload)
                outbox = session.outbox
                outbox.put(framed)
                self._unsent[outbox] = None

    def send(self, session: Session, payload: bytes) -> None:
        """Queue a payload for one session."""
        if self._run is not None and session is not self._run.skip:
            self._end_run()
        outbox = session.outbox
        outbox.put(self.frame(payload))
        self._unsent[outbox] = None

    def flush(self) -> None:
        """Send everything that was queued since the last flush."""
        if self._run is not None:
            self._end_run()
        unsent, self._unsent = self._unsent, {}
        for outbox in unsent:
            outbox.flush()

    def _end_run(self) -> None:
        """Put the run into the outboxes of its audience."""
        run, self._run = self._run, None
        if run is None:
            return
        frames = run.frames
        data = frames[0] if len(frames) == 1 else b"".join(frames)
        unsent = self._unsent
        for session in self._audience(run.users):
            if session is not run.skip:
                outbox = session.outbox
                outbox.put(data)
                unsent[outbox] = None

    def _audience(self, users: Collection[str]) -> list[Session]:
        """The sessions of a large audience."""
        known = self._audiences.get(id(users))
        if known is not None:
            return known[1]
        online = self._online
        # Iterate over the smaller side: a large group with few members online costs little.
        here = users if len(users) <= len(online) else [user for user in online if user in users]
        sessions = [session for user in here for session in online.get(user, ())]
        if len(self._audiences) >= _MOST_AUDIENCES:
            self._audiences.clear()
        self._audiences[id(users)] = (users, sessions)
        return sessions

    def end(self, session: Session, code: CloseCode) -> None:
        """Close a session, after the answer that it still waits for."""
        self._end_run()
        if session.asking:
            session.farewell = code
        else:
            session.outbox.finish(code)

    def close_all(self, code: CloseCode) -> None:
        """Send what waits, then close all sessions."""
        self.flush()
        for session in self.sessions():
            self.end(session, code)

"""All accounts and valid tokens, in memory, for `token` mode.

Laws:

- It mirrors the store: it is loaded at the start. Each change that commits then calls `changed`,
  `logged_in`, `revoked` or `revoked_all`, in the order of the commits.
- When a token is removed, its WebSockets are closed at once.
- Using a token changes memory only. Uses are stored in batches now and then: a restart forgets up
  to an hour and a minute of uses, and never a token.

Owner: `Accounts`. It holds digests, never tokens; see `service.identity.token_identity`.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

import trio

from imserver.domain.errors import ApiError, CloseCode, Code
from imserver.domain.model import Grant
from imserver.live.backoff import network_of
from imserver.store.accounts import Use

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from imserver.live.backoff import Backoff
    from imserver.live.hub import Hub
    from imserver.service.accounts.hashing import Passwords
    from imserver.store.accounts import Account, Token

_STORE_AFTER: Final = 3_600_000  # milliseconds between two writes of one token's last use
_SLICE: Final = 500  # tokens or sessions visited before other tasks run
_DAY: Final = 86_400_000  # milliseconds


class LiveToken:
    """A valid token, and when it was last used."""

    __slots__ = ("expires_ms", "stored_ms", "token", "used_ms")

    def __init__(self, token: Token) -> None:
        self.token = token  # as loaded or issued
        self.used_ms = token.used_ms
        self.expires_ms = token.expires_ms
        self.stored_ms = token.used_ms  # the last use that is stored


def digest_of(secret: str) -> bytes:
    """The form in which a token is stored. A token is random, so a plain hash is safe."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Accounts:
    """The accounts and their valid tokens."""

    def __init__(
        self,
        hub: Hub,
        clock: Callable[[], int],
        passwords: Passwords,
        backoff: Backoff,
        *,
        token_days: float,
    ) -> None:
        self._hub = hub
        self._clock = clock  # milliseconds since the epoch
        self.passwords = passwords
        self.backoff = backoff
        self._lifetime_ms = int(token_days * _DAY)
        self._store_after = min(_STORE_AFTER, self._lifetime_ms // 10)
        self._accounts: dict[str, Account] = {}
        self._tokens: dict[bytes, LiveToken] = {}  # by digest
        self._of_user: dict[str, dict[str, LiveToken]] = {}  # by user id and token id
        self._used: dict[str, LiveToken] = {}  # tokens whose use is not stored yet, by token id

    def load(self, accounts: Iterable[Account], tokens: Iterable[Token]) -> None:
        """Load what the store holds, before the server accepts connections."""
        for account in accounts:
            self._accounts[account.user_id] = account
        for token in tokens:
            self._keep(token)

    # -- looking up ---------------------------------------------------------------------------

    def find(self, user_id: str) -> Account | None:
        """The account of a user, if they have one."""
        return self._accounts.get(user_id)

    def tokens_of(self, user_id: str) -> list[LiveToken]:
        """A user's valid tokens, oldest first."""
        live = self._of_user.get(user_id, {}).values()
        now = self._clock()
        return sorted(
            (each for each in live if each.expires_ms > now),
            key=lambda each: (each.token.created_ms, each.token.token_id),
        )

    def connected(self, user_id: str) -> set[str]:
        """The ids of a user's tokens that have an open WebSocket."""
        return {
            session.grant.token_id
            for session in self._hub.of_user(user_id)
            if session.grant is not None
        }

    def is_known_at(self, user_id: str, address: str) -> bool:
        """Whether a user is logged in from an address or its network."""
        here = network_of(address)
        return any(network_of(each.token.address) == here for each in self.tokens_of(user_id))

    def admit(self, secret: str) -> Grant:
        """Identify the caller by a token, and note its use.

        Raises:
            ApiError: `unauthorized` if the token is unknown, revoked or expired.
        """
        live = self._tokens.get(digest_of(secret))
        now = self._clock()
        if live is None or live.expires_ms <= now:
            raise ApiError(Code.UNAUTHORIZED, "The token is unknown, was revoked or has expired")
        self._use(live, now)
        account = self._accounts[live.token.user_id]
        return Grant(
            account.user_id,
            account.administrator,
            token_id=live.token.token_id,
            must_change=account.must_change,
        )

    def expiry(self) -> int:
        """When a token that is used now will expire, in milliseconds since the epoch."""
        return self._clock() + self._lifetime_ms

    def _use(self, live: LiveToken, now: int) -> None:
        if now < live.used_ms:  # the clock went back: the token must not expire sooner
            return
        live.used_ms = now
        live.expires_ms = now + self._lifetime_ms
        if now - live.stored_ms >= self._store_after:
            self._used[live.token.token_id] = live

    # -- after a commit -----------------------------------------------------------------------

    def changed(self, account: Account) -> None:
        """Add or replace an account. A disabled account loses its tokens."""
        before = self._accounts.get(account.user_id)
        self._accounts[account.user_id] = account
        if account.disabled:
            self.revoked_all(account.user_id)
        elif before is not None and before.administrator is not account.administrator:
            for session in self._hub.of_user(account.user_id):
                if session.grant is not None:
                    grant = session.grant._replace(administrator=account.administrator)
                    self._hub.login(session, grant)

    def logged_in(self, token: Token, dropped: Iterable[str]) -> None:
        """Add a new token, and remove the older tokens that it replaced."""
        for token_id in dropped:
            self.revoked(token.user_id, token_id)
        self._keep(token)

    def revoked(self, user_id: str, token_id: str) -> None:
        """Remove a token."""
        live = self._of_user.get(user_id, {}).get(token_id)
        if live is not None:
            self._drop(live)
            self._end_sessions(user_id, {token_id})

    def revoked_all(self, user_id: str, keep: str | None = None) -> None:
        """Remove all tokens of a user, except the one to `keep`, if given."""
        gone = [
            live for token_id, live in self._of_user.get(user_id, {}).items() if token_id != keep
        ]
        for live in gone:
            self._drop(live)
        self._end_sessions(user_id, {live.token.token_id for live in gone})

    def _keep(self, token: Token) -> None:
        live = LiveToken(token)
        self._tokens[token.digest] = live
        self._of_user.setdefault(token.user_id, {})[token.token_id] = live

    def _drop(self, live: LiveToken) -> None:
        token = live.token
        del self._tokens[token.digest]
        self._used.pop(token.token_id, None)
        others = self._of_user[token.user_id]
        del others[token.token_id]
        if not others:
            del self._of_user[token.user_id]

    def _end_sessions(self, user_id: str, token_ids: Collection[str]) -> None:
        for session in self._hub.of_user(user_id):
            if session.grant is not None and session.grant.token_id in token_ids:
                self._hub.end(session, CloseCode.SIGNED_OUT)

    # -- as time goes by ----------------------------------------------------------------------

    async def tend(self) -> list[Use]:
        """Remove expired tokens. Returns the uses to store.

        An open WebSocket counts as a use of its token.
        """
        now = self._clock()
        for count, live in enumerate(list(self._tokens.values()), 1):
            if live.expires_ms <= now:
                self.revoked(live.token.user_id, live.token.token_id)
            if count % _SLICE == 0:
                await trio.lowlevel.checkpoint()
        for count, session in enumerate(self._hub.sessions(), 1):
            if session.grant is not None and session.user_id is not None:
                used = self._of_user.get(session.user_id, {}).get(session.grant.token_id)
                if used is not None:
                    self._use(used, now)
            if count % _SLICE == 0:
                await trio.lowlevel.checkpoint()
        used_tokens, self._used = self._used, {}
        for live in used_tokens.values():
            live.stored_ms = live.used_ms
        return [
            Use(live.token.token_id, live.used_ms, live.expires_ms) for live in used_tokens.values()
        ]

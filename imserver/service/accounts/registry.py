"""Who has an account, and every token that lets somebody in: `token` mode's memory.

Laws:

- What stands here is what the store holds: it is loaded at start, and changed when a change is
  committed, in the order of the commits, by whoever committed it (`changed`, `logged_in`,
  `revoked`, `revoked_all`).
- A token that goes takes its WebSockets with it, at once.
- To use a token changes memory only. That it was used is stored now and then, many at a time: a
  restart forgets up to an hour and a minute of uses, and never a token.

Owner of it all: `Accounts`. It knows digests only; see `service.identity.token_identity`.
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

_STORE_AFTER: Final = 3_600_000  # milliseconds between two times that a token's use is stored
_SLICE: Final = 500  # tokens or sessions looked at before others get their turn
_DAY: Final = 86_400_000  # milliseconds


class LiveToken:
    """A token that lets somebody in, and when it was used last."""

    __slots__ = ("expires_ms", "stored_ms", "token", "used_ms")

    def __init__(self, token: Token) -> None:
        self.token = token  # as it was when it was loaded or made
        self.used_ms = token.used_ms
        self.expires_ms = token.expires_ms
        self.stored_ms = token.used_ms  # the last use that the store was told of


def digest_of(secret: str) -> bytes:
    """What is kept of a token. It is as random as a key: a plain hash cannot be guessed back."""
    return sha256(secret.encode("utf-8", "surrogatepass")).digest()


class Accounts:
    """The accounts and their live tokens."""

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
        self._used: dict[str, LiveToken] = {}  # whose use is to be stored, by token id

    def load(self, accounts: Iterable[Account], tokens: Iterable[Token]) -> None:
        """Take over what the store holds; before anybody is served."""
        for account in accounts:
            self._accounts[account.user_id] = account
        for token in tokens:
            self._keep(token)

    # -- who is who ---------------------------------------------------------------------------

    def find(self, user_id: str) -> Account | None:
        """The account of a user, if they have one."""
        return self._accounts.get(user_id)

    def tokens_of(self, user_id: str) -> list[LiveToken]:
        """A user's live tokens, those made first in front."""
        live = self._of_user.get(user_id, {}).values()
        now = self._clock()
        return sorted(
            (each for each in live if each.expires_ms > now),
            key=lambda each: (each.token.created_ms, each.token.token_id),
        )

    def connected(self, user_id: str) -> set[str]:
        """Which of a user's tokens have a WebSocket open."""
        return {
            session.grant.token_id
            for session in self._hub.of_user(user_id)
            if session.grant is not None
        }

    def is_known_at(self, user_id: str, address: str) -> bool:
        """Whether a user is logged in from an address, or one as good as that."""
        here = network_of(address)
        return any(network_of(each.token.address) == here for each in self.tokens_of(user_id))

    def admit(self, secret: str) -> Grant:
        """Whom a token lets in; it is used.

        Raises:
            ApiError: `unauthorized`: nobody, or not any more.
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
        """When a token that is used now expires, in milliseconds since the epoch."""
        return self._clock() + self._lifetime_ms

    def _use(self, live: LiveToken, now: int) -> None:
        if now < live.used_ms:  # the clock went back: that must not bring the end nearer
            return
        live.used_ms = now
        live.expires_ms = now + self._lifetime_ms
        if now - live.stored_ms >= self._store_after:
            self._used[live.token.token_id] = live

    # -- what was committed -------------------------------------------------------------------

    def changed(self, account: Account) -> None:
        """An account is new, or another than before; a disabled one has no tokens any more."""
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
        """There is a new token, and some older ones of its account had to go for it."""
        for token_id in dropped:
            self.revoked(token.user_id, token_id)
        self._keep(token)

    def revoked(self, user_id: str, token_id: str) -> None:
        """A token lets nobody in any more."""
        live = self._of_user.get(user_id, {}).get(token_id)
        if live is not None:
            self._drop(live)
            self._end_sessions(user_id, {token_id})

    def revoked_all(self, user_id: str, keep: str | None = None) -> None:
        """No token of a user lets anybody in any more, but one if there is one to `keep`."""
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
        """End what has expired; returns what was used and is to be stored.

        An open WebSocket uses its token.
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

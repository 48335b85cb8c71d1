"""Logging in with a password, the caller's tokens, and changing the password: `token` mode.

A token is made here, shown once, and stored as a digest. A password that a client sends never goes
into a log, an error or the store.
"""

from __future__ import annotations

import logging
import secrets
import string
from typing import TYPE_CHECKING, Final

from imserver.domain.answered import AuthSession, AuthSessions, TokenIssued
from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import DONE, encode_json
from imserver.domain.model import check_user_id, rfc3339
from imserver.domain.passwords import check_password, normal
from imserver.live.backoff import network_of
from imserver.service.accounts.registry import Accounts, digest_of
from imserver.service.engine import Caller, Change, Engine, Outcome
from imserver.store import accounts as stored
from imserver.store.accounts import Account, Token
from imserver.store.audit import Action, record

if TYPE_CHECKING:
    from imserver.domain.requested import ChangePassword, Nothing, PasswordLogin, SessionRef
    from imserver.store.audit import Author
    from imserver.store.transaction import Transaction

logger = logging.getLogger(__name__)

TOKEN_PREFIX: Final = "ims_"  # so that scanners recognise leaked tokens
_SECRET_BYTES: Final = 32
_ID_PREFIX: Final = "token_"
_ID_LENGTH: Final = 12  # random characters: 62 bits; not a secret
_ALPHABET: Final = string.ascii_lowercase + string.digits
_MOST_DEVICE: Final = 128  # characters
_MOST_PLATFORM: Final = 64  # characters


async def password_login(engine: Engine, caller: Caller, request: PasswordLogin) -> bytes:
    """Issue a token to whoever knows a user's password.

    A missing account, a wrong password and an account without a password take the same time and
    get the same answer.

    Raises:
        ApiError: `wrong_credentials`; `forbidden` if the password is right and the account is
            disabled; `invalid_request`, `too_large`; `rate_limited` after wrong passwords.
    """
    accounts = engine.require_accounts()
    user_id = check_user_id(request.user_id)
    device = _label(request.device, "device", _MOST_DEVICE)
    platform = _label(request.platform, "platform", _MOST_PLATFORM)
    account, known = await _authenticate(engine, accounts, caller, user_id, request.password)
    if account is None:
        raise ApiError(Code.WRONG_CREDENTIALS)
    if account.disabled:
        await engine.write(_Note(caller.author, Action.LOGIN_REFUSED, user_id))
        raise ApiError(Code.FORBIDDEN, "This account is disabled")
    if known is not None and accounts.passwords.is_outdated(known):
        again = await accounts.passwords.hash(request.password, user_id)
        await engine.write(_Rehash(account.uid, known, again))
    author = caller.author._replace(user_id=user_id)
    return encode_json(await engine.write(_LogIn(accounts, account, author, device, platform)))


async def _authenticate(
    engine: Engine, accounts: Accounts, caller: Caller, user_id: str, password: str
) -> tuple[Account | None, str | None]:
    """The account and its hash, if the password is right. Wrong ones are counted and audited.

    Raises:
        ApiError: `rate_limited`, `too_large`, `unavailable`.
    """
    backoff, address = accounts.backoff, caller.peer.address
    at_home = accounts.is_known_at(user_id, address)
    # A user who is logged in from this address does not wait behind others there.
    by = user_id if at_home or not address else network_of(address)
    wait_ms = backoff.begin(user_id, address, known=at_home)
    if wait_ms:
        raise ApiError(
            Code.RATE_LIMITED, "Too many wrong passwords, try again later", retry_after_ms=wait_ms
        )
    try:
        # Taken before the check, so that a change of the password in between is noticed.
        account = accounts.find(user_id)
        known = await engine.reader.ask(lambda db: stored.find_password(db, user_id), by=by)
        right = await accounts.passwords.is_right(password, known, by)
    except BaseException:
        backoff.withdraw(user_id, address)
        raise
    if not right or account is None:
        # An unknown name may be a password in the wrong field: it is not logged.
        about = {} if account is None else {"user_id": user_id}
        logger.info("a wrong password from %s", address or "the machine itself", extra=about)
        await engine.write(_Note(caller.author, Action.PASSWORD_WRONG, about.get("user_id")))
        return None, None
    backoff.right(user_id, address)
    return account, known


class _Note(Change[None, None]):
    """Record an attempt in the audit log."""

    __slots__ = ("_action", "_author", "_subject")

    def __init__(self, author: Author, action: Action, subject: str | None) -> None:
        self._author = author
        self._action = action
        self._subject = subject

    def apply(self, tx: Transaction) -> None:
        """Add the entry."""
        record(tx, self._author, self._action, self._subject)


class _Rehash(Change[None, None]):
    """Store a password's hash with the current parameters."""

    __slots__ = ("_new", "_old", "_uid")

    def __init__(self, uid: int, old: str, new: str) -> None:
        self._uid = uid
        self._old = old
        self._new = new

    def apply(self, tx: Transaction) -> None:
        """Store it, unless it was changed meanwhile."""
        stored.replace_hash(tx, self._uid, self._old, self._new)


class _LogIn(Change[tuple[Token, list[str], bool], TokenIssued]):
    """Issue a token to an authenticated user."""

    __slots__ = ("_account", "_accounts", "_author", "_device", "_expires_ms", "_platform",
                 "_secret")  # fmt: skip

    def __init__(
        self, accounts: Accounts, account: Account, author: Author, device: str, platform: str
    ) -> None:
        self._accounts = accounts
        self._account = account
        self._author = author
        self._device = device
        self._platform = platform
        self._expires_ms = accounts.expiry()
        self._secret = TOKEN_PREFIX + secrets.token_urlsafe(_SECRET_BYTES)

    def apply(self, tx: Transaction) -> tuple[Token, list[str], bool]:
        """Store it, if the account is unchanged since the password was checked.

        Raises:
            ApiError: `wrong_credentials` if it changed.
        """
        account = stored.find_account(tx.db, self._account.user_id)
        if account is None or account.disabled or account.password_ms != self._account.password_ms:
            raise ApiError(Code.WRONG_CREDENTIALS)
        token, dropped = stored.add_token(
            tx,
            self._author,
            account.user_id,
            token_id=_ID_PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH)),
            digest=digest_of(self._secret),
            device=self._device,
            platform=self._platform,
            expires_ms=self._expires_ms,
        )
        return token, dropped, account.must_change

    def conclude(self, done: tuple[Token, list[str], bool]) -> Outcome[TokenIssued]:
        """The answer, the only one that shows the token."""
        token, dropped, must_change = done
        self._accounts.logged_in(token, dropped)
        return Outcome(
            TokenIssued(
                token=self._secret,
                token_id=token.token_id,
                user_id=token.user_id,
                expires_at=rfc3339(token.expires_ms),
                must_change_password=must_change,
            )
        )


def list_sessions(engine: Engine, caller: Caller, request: Nothing) -> bytes:
    """The caller's valid tokens, and where they are used."""
    accounts = engine.require_accounts()
    connected = accounts.connected(caller.user_id)
    sessions = [
        AuthSession(
            token_id=live.token.token_id,
            device=live.token.device,
            platform=live.token.platform,
            address=live.token.address,
            created_at=rfc3339(live.token.created_ms),
            used_at=rfc3339(live.used_ms),
            expires_at=rfc3339(live.expires_ms),
            current=live.token.token_id == caller.grant.token_id,
            connected=live.token.token_id in connected,
        )
        for live in accounts.tokens_of(caller.user_id)
    ]
    return encode_json(AuthSessions(sessions))


async def logout(engine: Engine, caller: Caller, request: Nothing) -> bytes:
    """Revoke the token that the caller uses.

    Raises:
        ApiError: `not_found`.
    """
    accounts, token_id = engine.require_accounts(), caller.grant.token_id
    await engine.write(Revoke(accounts, caller.author, caller.user_id, token_id, Action.LOGGED_OUT))
    return DONE


async def revoke_session(engine: Engine, caller: Caller, request: SessionRef) -> bytes:
    """Revoke one of the caller's tokens.

    Raises:
        ApiError: `not_found`.
    """
    accounts, token_id = engine.require_accounts(), request.token_id
    await engine.write(
        Revoke(accounts, caller.author, caller.user_id, token_id, Action.TOKEN_REVOKED)
    )
    return DONE


class Revoke(Change[None, None]):
    """Revoke a token of a user; its connections are closed."""

    __slots__ = ("_accounts", "_action", "_author", "_token_id", "_user_id")

    def __init__(
        self, accounts: Accounts, author: Author, user_id: str, token_id: str, action: Action
    ) -> None:
        self._accounts = accounts
        self._author = author
        self._user_id = user_id
        self._token_id = token_id
        self._action = action

    def apply(self, tx: Transaction) -> None:
        """Delete it.

        Raises:
            ApiError: `not_found`.
        """
        stored.revoke(tx, self._author, self._user_id, self._token_id, self._action)

    def conclude(self, stored: None) -> Outcome[None]:
        """Remove it from memory. The caller's own connection ends after the answer."""
        self._accounts.revoked(self._user_id, self._token_id)
        return Outcome(None)


async def revoke_other_sessions(engine: Engine, caller: Caller, request: Nothing) -> bytes:
    """Revoke all of the caller's tokens except the one in use.

    Raises:
        ApiError: `not_found`.
    """
    accounts, keep = engine.require_accounts(), caller.grant.token_id
    await engine.write(RevokeAll(accounts, caller.author, caller.user_id, keep))
    return DONE


class RevokeAll(Change[None, None]):
    """Revoke all tokens of a user, or all except one."""

    __slots__ = ("_accounts", "_author", "_keep", "_user_id")

    def __init__(self, accounts: Accounts, author: Author, user_id: str, keep: str | None) -> None:
        self._accounts = accounts
        self._author = author
        self._user_id = user_id
        self._keep = keep

    def apply(self, tx: Transaction) -> None:
        """Delete them.

        Raises:
            ApiError: `not_found`.
        """
        stored.revoke_all(tx, self._author, self._user_id, self._keep)

    def conclude(self, stored: None) -> Outcome[None]:
        """Remove them from memory."""
        self._accounts.revoked_all(self._user_id, self._keep)
        return Outcome(None)


async def change_password(engine: Engine, caller: Caller, request: ChangePassword) -> bytes:
    """Change the caller's password, and revoke all their tokens except the one in use.

    Raises:
        ApiError: `forbidden` if the old one is wrong; `invalid_request` if the new one is too
            short or the same, `too_large`; `rate_limited` after wrong passwords.
    """
    accounts = engine.require_accounts()
    check_password(request.new_password, "new_password")
    account, _ = await _authenticate(engine, accounts, caller, caller.user_id, request.old_password)
    if account is None:
        raise ApiError(Code.FORBIDDEN, "old_password is wrong")
    if normal(request.new_password) == normal(request.old_password):
        raise ApiError(Code.INVALID_REQUEST, "new_password must differ from old_password")
    new = await accounts.passwords.hash(request.new_password, caller.user_id)
    keep = caller.grant.token_id
    await engine.write(_ChangePassword(accounts, account, caller.author, new, keep))
    return DONE


class _ChangePassword(Change[Account, None]):
    """Store a new password, unless it was changed meanwhile."""

    __slots__ = ("_account", "_accounts", "_author", "_keep", "_new")

    def __init__(
        self, accounts: Accounts, account: Account, author: Author, new: str, keep: str
    ) -> None:
        self._accounts = accounts
        self._account = account
        self._author = author
        self._new = new
        self._keep = keep

    def apply(self, tx: Transaction) -> Account:
        """Store its hash.

        Raises:
            ApiError: `forbidden`: the old one is no longer right.
        """
        user_id = self._account.user_id
        account = stored.find_account(tx.db, user_id)
        if account is None or account.disabled or account.password_ms != self._account.password_ms:
            raise ApiError(Code.FORBIDDEN, "old_password is wrong")
        return stored.set_password(tx, self._author, user_id, self._new, keep=self._keep)

    def conclude(self, account: Account) -> Outcome[None]:
        """Update memory; all other logins end."""
        self._accounts.changed(account)
        self._accounts.revoked_all(account.user_id, self._keep)
        return Outcome(None)


def _label(text: str | None, name: str, most: int) -> str:
    text = text or ""
    if len(text) > most or not text.isprintable():
        raise ApiError(
            Code.INVALID_REQUEST,
            f"{name} must have at most {most} characters, and no control characters",
        )
    return text

"""Operations for administrators: users, their accounts and their logins.

Laws:

- Every change is recorded in the audit log, in the same transaction.
- A generated password is in one answer, and nowhere else.
- A server without accounts refuses operations on accounts. Users can be listed and disconnected
  in every mode.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from imserver.domain.administration import (
    AccountState,
    AddUser,
    Connection,
    Disconnected,
    ListUsers,
    OneUser,
    SetPassword,
    UpdateUser,
    User,
    UserRef,
    Users,
    UserSession,
    UserSessionRef,
    UserSessions,
    UserWithPassword,
)
from imserver.domain.errors import ApiError, CloseCode, Code
from imserver.domain.frames import DONE, encode_json
from imserver.domain.model import check_user_id, rfc3339
from imserver.domain.passwords import check_password
from imserver.domain.requested import page_limit
from imserver.service.accounts.keeping import new_one_time_password
from imserver.service.accounts.logins import Revoke, RevokeAll
from imserver.service.engine import Caller, Change, Engine, Outcome
from imserver.store import accounts as stored
from imserver.store.audit import Action, record

if TYPE_CHECKING:
    from imserver.store.audit import Author
    from imserver.store.transaction import Transaction


# -- looking ----------------------------------------------------------------------------------


async def list_users(engine: Engine, caller: Caller, request: ListUsers) -> bytes:
    """A page of users: those who were ever named, have an account or are connected.

    Raises:
        ApiError: `invalid_request`.
    """
    limit = page_limit(request.limit)
    prefix, after = request.prefix or "", request.after or ""
    known = await engine.reader.ask(
        lambda db: stored.users_page(db, prefix, after, limit=limit + 1),
        by=caller.user_id,
        heavy=True,
    )
    found: dict[str, stored.NamedUser | None] = {
        user_id: None
        for user_id in engine.hub.online()
        if user_id > after and user_id.startswith(prefix)
    }
    found |= {user.user_id: user for user in known}
    page = sorted(found)[: limit + 1]
    users = [_describe(engine, user_id, found[user_id]) for user_id in page[:limit]]
    return encode_json(Users(users, len(page) > limit))


async def get_user(engine: Engine, caller: Caller, request: UserRef) -> bytes:
    """One user.

    Raises:
        ApiError: `not_found`.
    """
    return encode_json(OneUser(await _look_up(engine, request.user_id)))


async def list_user_sessions(engine: Engine, caller: Caller, request: UserRef) -> bytes:
    """A user's tokens, and their WebSockets.

    Raises:
        ApiError: `not_found`.
    """
    user_id = request.user_id
    await _look_up(engine, user_id)
    tokens: list[UserSession] = []
    if engine.accounts is not None:
        connected = engine.accounts.connected(user_id)
        tokens = [
            UserSession(
                token_id=live.token.token_id,
                device=live.token.device,
                platform=live.token.platform,
                address=live.token.address,
                created_at=rfc3339(live.token.created_ms),
                used_at=rfc3339(live.used_ms),
                expires_at=rfc3339(live.expires_ms),
                connected=live.token.token_id in connected,
            )
            for live in engine.accounts.tokens_of(user_id)
        ]
    now, tick = engine.clock(), engine.hub.tick
    connections = [
        Connection(
            address=session.peer.address,
            connected_at=rfc3339(now - int((tick - session.opened) * 1000)),
            token_id=(session.grant and session.grant.token_id) or None,
        )
        for session in engine.hub.of_user(user_id)
    ]
    return encode_json(UserSessions(tokens, connections))


async def _look_up(engine: Engine, user_id: str) -> User:
    known = await engine.reader.ask(lambda db: stored.find_user(db, user_id))
    if known is None and not engine.hub.sessions_of(user_id):
        raise no_such_user()
    return _describe(engine, user_id, known)


def no_such_user() -> ApiError:
    """The refusal for an unknown user."""
    return ApiError(Code.NOT_FOUND, "There is no such user")


def _describe(engine: Engine, user_id: str, known: stored.NamedUser | None) -> User:
    state = None
    if known is not None and known.account is not None:
        account = known.account
        tokens = [] if engine.accounts is None else engine.accounts.tokens_of(user_id)
        used = max((live.used_ms for live in tokens), default=None)
        state = AccountState(
            administrator=account.administrator,
            disabled=account.disabled,
            must_change_password=account.must_change,
            created_at=rfc3339(account.created_ms),
            password_set_at=rfc3339(account.password_ms),
            sessions=len(tokens),
            used_at=None if used is None else rfc3339(used),
        )
    return User(
        user_id=user_id,
        created_at=None if known is None else rfc3339(known.created_ms),
        connections=engine.hub.sessions_of(user_id),
        account=state,
    )


# -- accounts ---------------------------------------------------------------------------------


class _Changed(Change[stored.NamedUser, stored.NamedUser]):
    """A change to an account; its result is the user as they are then."""

    __slots__ = ("accounts", "author", "user_id")

    def __init__(self, engine: Engine, caller: Caller, user_id: str) -> None:
        self.accounts = engine.require_accounts()
        self.author = caller.author
        self.user_id = user_id

    def change(self, tx: Transaction) -> None:
        """Check and store it."""
        raise NotImplementedError

    def apply(self, tx: Transaction) -> stored.NamedUser:
        """Change it, and read the result."""
        self.change(tx)
        user = stored.find_user(tx.db, self.user_id)
        assert user is not None
        return user

    def take_over(self, account: stored.Account) -> None:
        """Update memory."""
        self.accounts.changed(account)

    def conclude(self, user: stored.NamedUser) -> Outcome[stored.NamedUser]:
        """The user."""
        assert user.account is not None
        self.take_over(user.account)
        return Outcome(user)


class _Password(NamedTuple):
    """The hash of a password, and the password itself if it was generated."""

    hash: str
    one_time: str | None


async def add_user(engine: Engine, caller: Caller, request: AddUser) -> bytes:
    """Create an account.

    Raises:
        ApiError: `conflict` if the user has one, `not_found` if the server has no accounts;
            `invalid_request`, `too_large`, `forbidden` for the server's own user id.
    """
    user_id = check_user_id(request.user_id)
    password = await _password(engine, caller, request.password)
    user = await engine.write(_Add(engine, caller, user_id, password, request.administrator))
    return encode_json(UserWithPassword(_describe(engine, user_id, user), password.one_time))


async def _password(engine: Engine, caller: Caller, wanted: str | None) -> _Password:
    accounts = engine.require_accounts()
    one_time = new_one_time_password() if wanted is None else None
    password = one_time or check_password(wanted or "")
    hashed = await accounts.passwords.hash(password, caller.user_id)
    return _Password(hashed, one_time)


class _Add(_Changed):
    """Make an account."""

    __slots__ = ("_administrator", "_password")

    def __init__(
        self,
        engine: Engine,
        caller: Caller,
        user_id: str,
        password: _Password,
        administrator: bool,
    ) -> None:
        super().__init__(engine, caller, user_id)
        self._password = password
        self._administrator = administrator

    def change(self, tx: Transaction) -> None:
        """See `_Changed`.

        Raises:
            ApiError: `conflict`.
        """
        stored.create(
            tx,
            self.author,
            self.user_id,
            self._password.hash,
            administrator=self._administrator,
            must_change=self._password.one_time is not None,
        )


async def set_password(engine: Engine, caller: Caller, request: SetPassword) -> bytes:
    """Set the password of an account; all its logins end.

    Raises:
        ApiError: `not_found`; `invalid_request`, `too_large`.
    """
    user_id = request.user_id
    password = await _password(engine, caller, request.password)
    user = await engine.write(_SetPassword(engine, caller, user_id, password))
    return encode_json(UserWithPassword(_describe(engine, user_id, user), password.one_time))


class _SetPassword(_Changed):
    """Change a password."""

    __slots__ = ("_password",)

    def __init__(self, engine: Engine, caller: Caller, user_id: str, password: _Password) -> None:
        super().__init__(engine, caller, user_id)
        self._password = password

    def change(self, tx: Transaction) -> None:
        """See `_Changed`.

        Raises:
            ApiError: `not_found`.
        """
        one_time = self._password.one_time is not None
        stored.set_password(
            tx, self.author, self.user_id, self._password.hash, must_change=one_time
        )

    def take_over(self, account: stored.Account) -> None:
        """See `_Changed`; all tokens are removed."""
        super().take_over(account)
        self.accounts.revoked_all(self.user_id)


async def update_user(engine: Engine, caller: Caller, request: UpdateUser) -> bytes:
    """Disable or enable an account, or change whether it is an administrator.

    Raises:
        ApiError: `not_found`; `conflict` for the last administrator.
    """
    user = await engine.write(_Update(engine, caller, request))
    return encode_json(OneUser(_describe(engine, request.user_id, user)))


class _Update(_Changed):
    """Change what an account may do."""

    __slots__ = ("_administrator", "_disabled")

    def __init__(self, engine: Engine, caller: Caller, request: UpdateUser) -> None:
        super().__init__(engine, caller, request.user_id)
        self._administrator = request.administrator
        self._disabled = request.disabled

    def change(self, tx: Transaction) -> None:
        """See `_Changed`.

        Raises:
            ApiError: `not_found`; `conflict` for the last administrator.
        """
        stored.require_account(tx, self.user_id)
        # Demote first and promote last: the second change is then never refused.
        if self._administrator is False:
            stored.set_administrator(tx, self.author, self.user_id, False)
        if self._disabled is not None:
            stored.set_disabled(tx, self.author, self.user_id, self._disabled)
        if self._administrator is True:
            stored.set_administrator(tx, self.author, self.user_id, True)


# -- who is logged in -------------------------------------------------------------------------


async def revoke_user_session(engine: Engine, caller: Caller, request: UserSessionRef) -> bytes:
    """Revoke a token of a user.

    Raises:
        ApiError: `not_found`.
    """
    accounts, user_id = engine.require_accounts(), request.user_id
    await engine.write(
        Revoke(accounts, caller.author, user_id, request.token_id, Action.TOKEN_REVOKED)
    )
    return DONE


async def revoke_user_sessions(engine: Engine, caller: Caller, request: UserRef) -> bytes:
    """Revoke all tokens of a user.

    Raises:
        ApiError: `not_found`.
    """
    accounts = engine.require_accounts()
    await engine.write(RevokeAll(accounts, caller.author, request.user_id, keep=None))
    return DONE


async def disconnect_user(engine: Engine, caller: Caller, request: UserRef) -> bytes:
    """Close a user's WebSockets. Their tokens stay valid.

    Raises:
        ApiError: `not_found`.
    """
    user_id = request.user_id
    if not engine.hub.sessions_of(user_id):
        await _look_up(engine, user_id)
        return encode_json(Disconnected(True, 0))
    await engine.write(_NoteDisconnected(caller.author, user_id))
    sessions = engine.hub.of_user(user_id)  # those that are open now
    for session in sessions:
        engine.hub.end(session, CloseCode.SIGNED_OUT)
    return encode_json(Disconnected(True, len(sessions)))


class _NoteDisconnected(Change[None, None]):
    """Record in the audit log that a user was disconnected."""

    __slots__ = ("_author", "_user_id")

    def __init__(self, author: Author, user_id: str) -> None:
        self._author = author
        self._user_id = user_id

    def apply(self, tx: Transaction) -> None:
        """Add the entry."""
        record(tx, self._author, Action.DISCONNECTED, self._user_id)

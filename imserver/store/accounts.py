"""Accounts and their tokens: reads on any connection, and changes in a transaction.

The audit log (see `audit`) records every change of who may log in, except the use of tokens. A
refusal comes before anything is written.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import MAX_USER_ID
from imserver.store import accounts_queries as queries
from imserver.store import reading
from imserver.store.audit import Action, Author, record

if TYPE_CHECKING:
    from collections.abc import Iterable

    import apsw

    from imserver.store.transaction import Transaction

MOST_TOKENS: Final = 100  # of one account; beyond, those go that were not used for longest


class Account(NamedTuple):
    """An account, without the hash of its password. Times are milliseconds since the epoch."""

    uid: int
    user_id: str
    administrator: bool
    disabled: bool
    must_change: bool  # the password was for one login, to change it
    created_ms: int
    password_ms: int  # when the password was set last


class Token(NamedTuple):
    """A token, as far as it is known here: its SHA-256. Times are milliseconds since the epoch."""

    token_id: str
    digest: bytes
    uid: int
    user_id: str
    device: str
    platform: str
    address: str  # where it was asked for
    created_ms: int
    used_ms: int
    expires_ms: int


class Use(NamedTuple):
    """That a token was used."""

    token_id: str
    used_ms: int
    expires_ms: int


def _account(row: tuple[int, str, int, int, int, int, int]) -> Account:
    uid, user_id, administrator, disabled, must_change, created_ms, password_ms = row
    return Account(
        uid,
        user_id,
        bool(administrator),
        bool(disabled),
        bool(must_change),
        created_ms,
        password_ms,
    )


def all_accounts(db: apsw.Connection) -> list[Account]:
    """Every account, in the order in which their users were first named."""
    return [_account(row) for row in reading.every(db, queries.ALL_ACCOUNTS, ())]


def find_account(db: apsw.Connection, user_id: str) -> Account | None:
    """The account of a user, if they have one."""
    row = reading.one(db, queries.FIND_ACCOUNT, user_id)
    return None if row is None else _account(row)


def find_password(db: apsw.Connection, user_id: str) -> str | None:
    """The hash of a user's password, if they have one."""
    row = reading.one(db, queries.FIND_PASSWORD, user_id)
    return None if row is None else row[0]


class NamedUser(NamedTuple):
    """A user, and the account that they have if they have one."""

    user_id: str
    created_ms: int  # when they were first named
    account: Account | None


def users_page(db: apsw.Connection, prefix: str, after: str, limit: int) -> list[NamedUser]:
    """Users whose id begins with `prefix` and comes after `after`, in the order of their ids."""
    # No id has a NUL, so the next text after an id is the id with one; none has more than
    # MAX_USER_ID characters, so none that begins with a prefix comes after that many of the last.
    first = max(prefix, f"{after}\0" if after else "")
    last = prefix + chr(sys.maxunicode) * MAX_USER_ID
    rows = reading.every(db, queries.USERS_BETWEEN, (first, last, limit))
    return [_user(row) for row in rows]


def find_user(db: apsw.Connection, user_id: str) -> NamedUser | None:
    """A user, if there is one of that id."""
    row = reading.one(db, queries.FIND_USER_STATE, user_id)
    return None if row is None else _user(row)


def _user(row: tuple[Any, ...]) -> NamedUser:
    user_id, named_ms, uid, *state = row
    account = None if uid is None else _account((uid, user_id, *state))
    return NamedUser(user_id, named_ms, account)


def live_tokens(db: apsw.Connection, now_ms: int) -> list[Token]:
    """Every token that has not expired."""
    return [Token(*row) for row in reading.every(db, queries.LIVE_TOKENS, (now_ms,))]


# -- in a transaction -------------------------------------------------------------------------


def create(
    tx: Transaction,
    author: Author,
    user_id: str,
    password: str | None,
    *,
    administrator: bool = False,
    must_change: bool = False,
) -> Account:
    """Give a user an account; they exist from now on. `password` is a hash.

    Raises:
        ApiError: `conflict`, if they have one.
    """
    if find_account(tx.db, user_id) is not None:
        raise ApiError(Code.CONFLICT, f"There is an account {user_id} already")
    uid = tx.name_user(user_id)
    tx.db.execute(
        queries.ADD_ACCOUNT, (uid, password, int(administrator), int(must_change), tx.now_ms)
    )
    record(tx, author, Action.ACCOUNT_CREATED, user_id, administrator=administrator)
    return Account(uid, user_id, administrator, False, must_change, tx.now_ms, tx.now_ms)


def set_password(
    tx: Transaction,
    author: Author,
    user_id: str,
    password: str | None,
    *,
    must_change: bool = False,
    keep: str | None = None,
) -> Account:
    """Give an account another password, a hash; every token of it but `keep` is revoked.

    Raises:
        ApiError: `not_found`.
    """
    account = require_account(tx, user_id)
    tx.db.execute(queries.SET_PASSWORD, (account.uid, password, int(must_change), tx.now_ms))
    tx.db.execute(queries.DROP_TOKENS, (account.uid, keep)).fetchall()
    record(tx, author, Action.PASSWORD_SET, user_id, one_time=must_change)
    return account._replace(must_change=must_change, password_ms=tx.now_ms)


def replace_hash(tx: Transaction, uid: int, old: str, new: str) -> None:
    """Keep the same password under new parameters, unless it was changed meanwhile."""
    tx.db.execute(queries.REPLACE_HASH, (uid, old, new))


def set_administrator(
    tx: Transaction, author: Author, user_id: str, administrator: bool
) -> Account:
    """Make an account an administrator's, or no longer; the same again changes nothing.

    Raises:
        ApiError: `not_found`; `conflict` for the last administrator.
    """
    account = require_account(tx, user_id)
    if account.administrator is not administrator:
        if not administrator:
            _keep_one_administrator(tx, account)
        tx.db.execute(queries.SET_ADMINISTRATOR, (account.uid, int(administrator)))
        action = Action.ADMINISTRATOR_MADE if administrator else Action.ADMINISTRATOR_UNMADE
        record(tx, author, action, user_id)
    return account._replace(administrator=administrator)


def set_disabled(tx: Transaction, author: Author, user_id: str, disabled: bool) -> Account:
    """Keep an account from logging in, and revoke its tokens; or let it again.

    The same again changes nothing.

    Raises:
        ApiError: `not_found`; `conflict` for the last administrator.
    """
    account = require_account(tx, user_id)
    if account.disabled is not disabled:
        if disabled:
            _keep_one_administrator(tx, account)
        tx.db.execute(queries.SET_DISABLED, (account.uid, int(disabled)))
        if disabled:
            tx.db.execute(queries.DROP_TOKENS, (account.uid, None)).fetchall()
        record(tx, author, Action.ACCOUNT_DISABLED if disabled else Action.ACCOUNT_ENABLED, user_id)
    return account._replace(disabled=disabled)


def add_token(
    tx: Transaction,
    author: Author,
    user_id: str,
    *,
    token_id: str,
    digest: bytes,
    device: str,
    platform: str,
    expires_ms: int,
) -> tuple[Token, list[str]]:
    """Log an account in; returns the token, and which older ones had to go for it.

    Raises:
        ApiError: `not_found`, where there is no account, or a disabled one.
    """
    account = require_account(tx, user_id)
    if account.disabled:
        raise ApiError(Code.NOT_FOUND, f"The account {user_id} is disabled")
    tx.db.execute(queries.DROP_EXPIRED, (tx.now_ms,))
    dropped = reading.every(tx.db, queries.DROP_UNUSED, (account.uid, MOST_TOKENS - 1))
    values = (device, platform, author.address, tx.now_ms)
    tx.db.execute(queries.ADD_TOKEN, (token_id, digest, account.uid, *values, expires_ms))
    record(tx, author, Action.LOGGED_IN, user_id, token_id=token_id, device=device)
    token = Token(token_id, digest, account.uid, user_id, *values, tx.now_ms, expires_ms)
    return token, [dropped_id for (dropped_id,) in dropped]


def use_tokens(tx: Transaction, uses: Iterable[Use]) -> None:
    """Keep when tokens were used last; those that are gone stay gone."""
    tx.db.executemany(queries.USE_TOKEN, uses)


def revoke(
    tx: Transaction,
    author: Author,
    user_id: str,
    token_id: str,
    action: Action = Action.TOKEN_REVOKED,
) -> None:
    """Let a token of an account in no longer.

    Raises:
        ApiError: `not_found`, where the account has no such token.
    """
    account = require_account(tx, user_id)
    row = reading.one(tx.db, queries.FIND_TOKEN, token_id)
    if row is None or row[0] != account.uid:
        raise ApiError(Code.NOT_FOUND, "There is no such session")
    tx.db.execute(queries.DROP_TOKEN, (token_id,))
    record(tx, author, action, user_id, token_id=token_id)


def revoke_all(tx: Transaction, author: Author, user_id: str, keep: str | None = None) -> list[str]:
    """Let no token of an account in any longer but `keep`; returns which those were.

    Raises:
        ApiError: `not_found`, where there is no such account.
    """
    account = require_account(tx, user_id)
    gone = [row[0] for row in reading.every(tx.db, queries.DROP_TOKENS, (account.uid, keep))]
    if gone:
        record(tx, author, Action.TOKENS_REVOKED, user_id, count=len(gone))
    return gone


def _keep_one_administrator(tx: Transaction, account: Account) -> None:
    if not account.administrator or account.disabled:
        return
    if reading.one(tx.db, queries.OTHER_ADMINISTRATOR, account.uid) is None:
        raise ApiError(Code.CONFLICT, f"{account.user_id} is the last administrator")


def require_account(tx: Transaction, user_id: str) -> Account:
    """The account of a user.

    Raises:
        ApiError: `not_found`.
    """
    account = find_account(tx.db, user_id)
    if account is None:
        raise ApiError(Code.NOT_FOUND, f"There is no account {user_id}")
    return account

"""The audit log: who did what to whom, when and from where. It is only ever added to.

An entry is written in the transaction that does what it tells of: neither is there without the
other. The oldest entries go when they are older than `retention.audit_days`; an entry is too old
only if all before it are.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from imserver.store import accounts_queries as queries
from imserver.store import queries as common
from imserver.store import reading

if TYPE_CHECKING:
    import apsw

    from imserver.store.transaction import Transaction


class Action(StrEnum):
    """What the log tells of, as it stands in it."""

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_DISABLED = "account.disabled"
    ACCOUNT_ENABLED = "account.enabled"
    ADMINISTRATOR_MADE = "administrator.made"
    ADMINISTRATOR_UNMADE = "administrator.unmade"
    PASSWORD_SET = "password.set"
    PASSWORD_WRONG = "password.wrong"
    LOGGED_IN = "login"
    LOGIN_REFUSED = "login.refused"
    LOGGED_OUT = "logout"
    TOKEN_REVOKED = "token.revoked"
    TOKENS_REVOKED = "tokens.revoked"
    DISCONNECTED = "user.disconnected"
    ERASED = "user.erased"


class Author(NamedTuple):
    """Who does what the log tells of."""

    user_id: str | None  # None: the operator, or the server itself
    address: str = ""  # empty where they have none
    operator: str = ""  # the operator's name on this machine, where it is one


def record(
    tx: Transaction, author: Author, action: Action, subject: str | None, **detail: Any
) -> None:
    """Add an entry; `detail` must hold nothing secret."""
    if author.operator:
        detail["operator"] = author.operator
    tx.db.execute(
        queries.ADD_AUDIT,
        (
            tx.now_ms,
            author.user_id,
            action.value,
            subject,
            author.address,
            msgspec.json.encode(detail).decode(),
        ),
    )


def remove_older(tx: Transaction, before_ms: int, *, most: int) -> int:
    """Remove the oldest entries if they are from before a time; returns how many went."""
    first = count = last = 0
    for entry, at_ms in reading.every(tx.db, queries.OLDEST_AUDIT, (most,)):
        if at_ms >= before_ms:
            break
        first, count, last = first or entry, count + 1, entry
    if count:
        tx.db.execute(common.SET_META, (common.AUDIT_FLOOR, last))  # the trigger asks for it
        tx.db.execute(queries.DROP_AUDIT, (first, last))
    return count


def is_old(db: apsw.Connection, before_ms: int) -> bool:
    """Whether there is something for `remove_older`."""
    oldest = reading.one(db, queries.OLDEST_AUDIT, 1)
    return oldest is not None and oldest[1] < before_ms


def count_entries(db: apsw.Connection) -> int:
    """How many entries there are; costs nothing, since no number is missing."""
    count: int = reading.one(db, queries.COUNT_AUDIT)[0]
    return count


class Entry(NamedTuple):
    """One entry, as it stands."""

    entry: int
    at_ms: int
    actor: str | None
    action: str
    subject: str | None
    address: str
    detail: dict[str, Any]


class Filter(NamedTuple):
    """Which entries are wanted; None: whatever there is. Times are milliseconds since the epoch."""

    actor: str | None = None
    operator: str | None = None
    action: str | None = None
    subject: str | None = None
    since: int | None = None  # not before it
    until: int | None = None  # before it


def entries_before(db: apsw.Connection, cursor: int, limit: int, wanted: Filter) -> list[Entry]:
    """Entries before the one of that number, the newest first."""
    return _entries(db, queries.AUDIT_BEFORE, cursor, limit, wanted)


def entries_after(db: apsw.Connection, cursor: int, limit: int, wanted: Filter) -> list[Entry]:
    """Entries after the one of that number, the oldest first."""
    return _entries(db, queries.AUDIT_AFTER, cursor, limit, wanted)


def _entries(
    db: apsw.Connection, query: str, cursor: int, limit: int, wanted: Filter
) -> list[Entry]:
    arguments = {"cursor": cursor, "limit": limit, **wanted._asdict()}
    rows = reading.every(db, query, arguments)
    return [Entry._make((*row[:-1], msgspec.json.decode(row[-1]))) for row in rows]

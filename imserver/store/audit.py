"""The audit log: who did what to whom, when and from where. It is only ever added to.

An entry is written in the transaction that does what it tells of: neither is there without the
other.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from imserver.store import accounts_queries as queries

if TYPE_CHECKING:
    from imserver.store.transaction import Transaction


class Action(StrEnum):
    """What the log tells of, as it stands in it."""

    ACCOUNT_CREATED = "account.created"
    ACCOUNT_DISABLED = "account.disabled"
    ACCOUNT_ENABLED = "account.enabled"
    ADMINISTRATOR_MADE = "administrator.made"
    ADMINISTRATOR_UNMADE = "administrator.unmade"
    PASSWORD_SET = "password.set"
    LOGGED_IN = "login"
    LOGGED_OUT = "logout"
    TOKEN_REVOKED = "token.revoked"
    TOKENS_REVOKED = "tokens.revoked"


class Author(NamedTuple):
    """Who does what the log tells of."""

    user_id: str | None  # None: the operator, or the server itself
    address: str = ""  # empty where they have none


def record(
    tx: Transaction, author: Author, action: Action, subject: str | None, **detail: Any
) -> None:
    """Add an entry; `detail` must hold nothing secret."""
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

"""Work on accounts that no request asks for: at the start, and from time to time."""

from __future__ import annotations

import logging
import secrets
from typing import TYPE_CHECKING, Final

import trio

from imserver.domain.errors import ApiError
from imserver.domain.model import FIRST_ADMINISTRATOR
from imserver.service.engine import Change, Outcome
from imserver.store import accounts as stored
from imserver.store.accounts import Account
from imserver.store.audit import Author

if TYPE_CHECKING:
    from imserver.service.accounts.registry import Accounts
    from imserver.service.engine import Engine
    from imserver.store.accounts import Use
    from imserver.store.transaction import Transaction

logger = logging.getLogger(__name__)

_ONE_TIME_BYTES: Final = 12  # of a generated password: 96 bits
_TEND_EVERY: Final = 60.0  # seconds


def new_one_time_password() -> str:
    """A password for one login, short enough to type."""
    return secrets.token_urlsafe(_ONE_TIME_BYTES)


async def begin(accounts: Accounts, engine: Engine) -> str | None:
    """Load the accounts. If there are none, create the first administrator.

    Returns that administrator's password for one login. It is kept nowhere else.

    Raises:
        ApiError: `unavailable`, where the store fails.
    """
    now = engine.clock()
    known, tokens = await engine.reader.ask(
        lambda db: (stored.all_accounts(db), stored.live_tokens(db, now))
    )
    accounts.load(known, tokens)
    if known:
        return None
    password = new_one_time_password()
    await engine.write(_Found(accounts, await accounts.passwords.hash(password)))
    return password


class _Found(Change[Account, None]):
    """Create the first account."""

    __slots__ = ("_accounts", "_password")

    def __init__(self, accounts: Accounts, password: str) -> None:
        self._accounts = accounts
        self._password = password  # its hash

    def apply(self, tx: Transaction) -> Account:
        """Store it."""
        return stored.create(
            tx,
            Author(None),
            FIRST_ADMINISTRATOR,
            self._password,
            administrator=True,
            must_change=True,
        )

    def conclude(self, account: Account) -> Outcome[None]:
        """Add it to memory."""
        self._accounts.changed(account)
        return Outcome(None)


async def tend(accounts: Accounts, engine: Engine) -> None:
    """Expire tokens and store their uses, until cancelled."""
    while True:
        await trio.sleep(_TEND_EVERY)
        uses = await accounts.tend()
        if not uses:
            continue
        try:
            await engine.write(StoreUses(uses))
        except ApiError as error:
            # Memory still has them. Tokens that stay in use are stored with their next use.
            logger.warning("the use of %d tokens was not stored: %s", len(uses), error.code)


class StoreUses(Change[None, None]):
    """Store when tokens were used last."""

    __slots__ = ("_uses",)

    def __init__(self, uses: list[Use]) -> None:
        self._uses = uses

    def apply(self, tx: Transaction) -> None:
        """Store it."""
        stored.use_tokens(tx, self._uses)

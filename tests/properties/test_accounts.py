"""Accounts and tokens, whatever is done to them at one moment: memory and store say the same.

The model knows who has which password and which tokens let them in. It is held to what memory
admits, what the store holds, and which connections are still open; also after a restart.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
)

from imserver.domain.errors import ApiError, CloseCode, Code
from imserver.service.accounts.keeping import StoreUses
from imserver.service.accounts.logins import Revoke, RevokeAll
from imserver.service.engine import Caller, Change, Outcome
from imserver.store import accounts as stored
from imserver.store.accounts import Account
from imserver.store.audit import Action, Author
from tests.service.engines import Engines, MemoryLink

if TYPE_CHECKING:
    from imserver.live.hub import Session
    from imserver.service.accounts.registry import Accounts
    from imserver.store.transaction import Transaction

STEPS = int(os.environ.get("TEST_EXAMPLES", "60"))
USERS = ["admin", "bob", "cy"]
HOUR = 3_600_000
MONTH = 30 * 24 * HOUR

users = st.sampled_from(USERS)
ways = st.sampled_from(["logout", "revoke_session", "revoke_other_sessions", "disable", "enable"])


class _SetDisabled(Change[Account, None]):
    """What an administrator does."""

    def __init__(self, accounts: Accounts, user_id: str, disabled: bool) -> None:
        self._accounts = accounts
        self._user_id = user_id
        self._disabled = disabled

    def apply(self, tx: Transaction) -> Account:
        """Store it."""
        return stored.set_disabled(tx, Author("root"), self._user_id, self._disabled)

    def conclude(self, account: Account) -> Outcome[None]:
        """Let it count."""
        self._accounts.changed(account)
        return Outcome(None)


class _Create(_SetDisabled):
    """Give somebody an account."""

    def __init__(self, accounts: Accounts, user_id: str, hashed: str) -> None:
        super().__init__(accounts, user_id, False)
        self._hash = hashed

    def apply(self, tx: Transaction) -> Account:
        """Store it."""
        return stored.create(tx, Author("root"), self._user_id, self._hash)


class _Known(_SetDisabled):
    """Set a password."""

    def __init__(self, accounts: Accounts, user_id: str, hashed: str) -> None:
        super().__init__(accounts, user_id, False)
        self._hash = hashed

    def apply(self, tx: Transaction) -> Account:
        """Store it."""
        return stored.set_password(tx, Author("root"), self._user_id, self._hash)


class Held:
    """A token that was given out."""

    def __init__(self, user_id: str, token_id: str, secret: str) -> None:
        self.user_id = user_id
        self.token_id = token_id
        self.secret = secret


class AccountsMachine(RuleBasedStateMachine):
    """Does it all, and keeps the model."""

    held = Bundle("held")

    def __init__(self) -> None:
        super().__init__()
        self.engines = Engines(None, with_accounts=True)
        self.passwords: dict[str, str] = {}
        self.disabled: set[str] = set()
        self.live: dict[str, Held] = {}
        self.sessions: list[tuple[Session, str]] = []

    @property
    def accounts(self) -> Accounts:
        assert self.engines.accounts is not None
        return self.engines.accounts

    @initialize()
    def begin(self) -> None:
        # The first administrator's password was made by the server; give everyone a known one.
        async def give() -> None:
            for user in USERS:
                hashed = await self.accounts.passwords.hash(f"{user} password")
                if user == "admin":
                    await self.engines.engine.write(_Known(self.accounts, user, hashed))
                else:
                    await self.engines.engine.write(_Create(self.accounts, user, hashed))

        self.engines.run(give)
        self.passwords = {user: f"{user} password" for user in USERS}

    @rule(target=held, user=users, right=st.sampled_from([True, True, True, False]))
    def log_in(self, user: str, right: bool) -> Any:
        request = {"user_id": user, "password": self.passwords[user] if right else "a wrong one"}
        answer = self.engines.run(self.engines.ask, "password_login", Caller(""), request)
        if not right:
            assert answer is Code.WRONG_CREDENTIALS
        elif user in self.disabled:
            assert answer is Code.FORBIDDEN
        else:
            token = Held(user, answer["token_id"], answer["token"])
            self.live[token.token_id] = token
            return token
        return multiple()

    @rule(token=held)
    def connect(self, token: Held) -> None:
        session = self.engines.hub.open(MemoryLink(prompt=True))
        request = {"token": token.secret}
        if token.token_id in self.live:
            self.engines.immediate("login", Caller("", session), request)
            self.sessions.append((session, token.token_id))
            return
        with pytest.raises(ApiError) as refused:
            self.engines.immediate("login", Caller("", session), request)
        assert refused.value.code is Code.UNAUTHORIZED

    @rule(plan=st.lists(st.tuples(ways, held, held), min_size=1, max_size=6))
    def at_one_moment(self, plan: list[tuple[str, Held, Held]]) -> None:
        """Commands of callers who all were let in before the first of them was carried out."""
        commands, expected = [], []
        for way, caller, other in plan:
            if way in ("disable", "enable"):
                commands.append(_SetDisabled(self.accounts, other.user_id, way == "disable"))
                expected.append((way, caller, other))
            elif caller.token_id in self.live:
                commands.append(self._revocation(way, caller, other))
                expected.append((way, caller, other))
        answers = self.engines.run(self.engines.burst, commands)
        for answer, (way, caller, other) in zip(answers, expected, strict=True):
            refused = answer.code if isinstance(answer, ApiError) else None
            assert refused is self._do(way, caller, other), way

    def _revocation(self, way: str, caller: Held, other: Held) -> Change[None, None]:
        user = caller.user_id
        author = Author(user)
        if way == "revoke_other_sessions":
            return RevokeAll(self.accounts, author, user, caller.token_id)
        if way == "logout":
            return Revoke(self.accounts, author, user, caller.token_id, Action.LOGGED_OUT)
        return Revoke(self.accounts, author, user, other.token_id, Action.TOKEN_REVOKED)

    def _do(self, way: str, caller: Held, other: Held) -> Code | None:
        match way:
            case "disable" if other.user_id == "admin":
                return Code.CONFLICT  # the last administrator stays
            case "disable":
                self.disabled.add(other.user_id)
                self._drop(lambda token: token.user_id == other.user_id)
            case "enable":
                self.disabled.discard(other.user_id)
            case "revoke_other_sessions":
                self._drop(
                    lambda token: (
                        token.user_id == caller.user_id and token.token_id != caller.token_id
                    )
                )
            case _:
                gone = caller if way == "logout" else other
                if self.live.get(gone.token_id) is None or gone.user_id != caller.user_id:
                    return Code.NOT_FOUND
                del self.live[gone.token_id]
        return None

    def _drop(self, goes: Any) -> None:
        self.live = {name: token for name, token in self.live.items() if not goes(token)}

    @rule(token=held, number=st.integers(0, 9))
    def change_password(self, token: Held, number: int) -> None:
        if token.token_id not in self.live:
            return
        user, new = token.user_id, f"password number {number}"
        grant = self.accounts.admit(token.secret)
        request = {"old_password": self.passwords[user], "new_password": new}
        answer = self.engines.run(
            self.engines.ask, "change_password", Caller(user, None, grant), request
        )
        if new == self.passwords[user]:
            assert answer is Code.INVALID_REQUEST
            return
        assert answer == {"success": True}
        self.passwords[user] = new
        self._drop(lambda each: each.user_id == user and each.token_id != token.token_id)

    @rule(hours=st.integers(0, 3))
    def time_goes_by(self, hours: int) -> None:
        self.engines.now_ms += hours * HOUR
        uses = self.engines.run(self.accounts.tend)
        if uses:
            self.engines.run(self.engines.engine.write, StoreUses(uses))

    @rule()
    def nobody_is_here_for_long(self) -> None:
        self.engines.now_ms += MONTH
        assert self.engines.run(self.accounts.tend) == []
        self.live.clear()

    @invariant()
    def memory_and_store_say_the_same(self) -> None:
        db = self.engines.database.writer
        in_store = {token.token_id for token in stored.live_tokens(db, self.engines.now_ms)}
        assert in_store == set(self.live)
        in_memory = {
            each.token.token_id for user in USERS for each in self.accounts.tokens_of(user)
        }
        assert in_memory == set(self.live)
        assert {a.user_id: a for a in stored.all_accounts(db)} == {
            user: account for user in USERS if (account := self.accounts.find(user)) is not None
        }
        assert {a.user_id for a in stored.all_accounts(db) if a.disabled} == self.disabled

    @invariant()
    def connections_last_as_long_as_their_tokens(self) -> None:
        for session, token_id in self.sessions:
            ended = session.outbox.goodbye
            assert ended is (None if token_id in self.live else CloseCode.SIGNED_OUT)

    def teardown(self) -> None:
        for token in self.live.values():
            assert self.accounts.admit(token.secret).user_id == token.user_id
        self.engines.stop()


AccountsMachine.TestCase.settings = settings(
    max_examples=STEPS,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestAccounts = AccountsMachine.TestCase

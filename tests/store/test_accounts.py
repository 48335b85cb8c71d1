"""Accounts, tokens and the audit log in the store."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from imserver.domain.errors import ApiError, Code
from imserver.store import accounts
from imserver.store.audit import Action, Author, record
from imserver.store.database import open_database
from imserver.store.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Author("root", "192.0.2.1")


class Store:
    """A database in memory, and its one transaction."""

    def __init__(self, db: apsw.Connection) -> None:
        self.db = db
        self.now_ms = 1000
        self.tx = Transaction(db, lambda: self.now_ms)

    @contextmanager
    def writing(self) -> Iterator[Transaction]:
        self.tx.begin()
        try:
            yield self.tx
        finally:
            self.tx.commit()

    def log_in(self, user: str, number: int, expires_ms: int = 10_000) -> list[str]:
        with self.writing() as tx:
            token, dropped = accounts.add_token(
                tx,
                Author(user, "192.0.2.9"),
                user,
                token_id=f"token_{number:03}",
                digest=number.to_bytes(32, "big"),
                device="phone",
                platform="ios",
                expires_ms=expires_ms,
            )
        assert token in accounts.live_tokens(self.db, 0)
        return dropped

    def tokens(self) -> list[str]:
        return [token.token_id for token in accounts.live_tokens(self.db, self.now_ms)]

    def audit(self) -> list[tuple[Any, ...]]:
        rows = self.db.execute("SELECT actor, action, subject, address, detail FROM audit")
        return [(*row[:4], json.loads(row[4])) for row in rows.fetchall()]


@pytest.fixture
def store() -> Iterator[Store]:
    with open_database(":memory:") as database:
        store = Store(database.writer)
        with store.writing() as tx:
            for user in ("ann", "bob"):
                accounts.create(tx, ROOT, user, f"$argon2id${user}")
        yield store


def refusal(function: Any, *args: Any, **named: Any) -> Code:
    with pytest.raises(ApiError) as refused:
        function(*args, **named)
    return refused.value.code


def test_an_account_is_made_once(store: Store) -> None:
    with store.writing() as tx:
        made = accounts.create(tx, ROOT, "cy", None, administrator=True, must_change=True)
        before = tx.db.total_changes()
        assert refusal(accounts.create, tx, ROOT, "cy", "$argon2id$") is Code.CONFLICT
        assert tx.db.total_changes() == before
    assert made == accounts.Account(made.uid, "cy", True, False, True, 1000, 1000)
    assert accounts.find_account(store.db, "cy") == made
    assert accounts.find_account(store.db, "dee") is None
    assert [each.user_id for each in accounts.all_accounts(store.db)] == ["ann", "bob", "cy"]
    assert accounts.find_password(store.db, "ann") == "$argon2id$ann"
    assert accounts.find_password(store.db, "cy") is None
    assert accounts.find_password(store.db, "dee") is None


def test_another_password_logs_everyone_else_out(store: Store) -> None:
    for number in (1, 2):
        store.log_in("ann", number)
    store.log_in("bob", 3)
    store.now_ms = 2000
    with store.writing() as tx:
        ann = accounts.set_password(tx, ROOT, "ann", "$argon2id$new", keep="token_002")
    assert (ann.must_change, ann.password_ms) == (False, 2000)
    assert ann == accounts.find_account(store.db, "ann")
    assert accounts.find_password(store.db, "ann") == "$argon2id$new"
    assert store.tokens() == ["token_002", "token_003"]
    with store.writing() as tx:
        ann = accounts.set_password(tx, ROOT, "ann", None, must_change=True)
    assert ann == accounts.find_account(store.db, "ann")
    assert ann.must_change
    assert store.tokens() == ["token_003"]


def test_the_same_password_is_hashed_anew_only_if_it_is_still_the_same(store: Store) -> None:
    ann = accounts.find_account(store.db, "ann")
    assert ann is not None
    with store.writing() as tx:
        accounts.replace_hash(tx, ann.uid, "$argon2id$other", "$argon2id$stale")
        assert accounts.find_password(store.db, "ann") == "$argon2id$ann"
        accounts.replace_hash(tx, ann.uid, "$argon2id$ann", "$argon2id$strong")
    assert accounts.find_password(store.db, "ann") == "$argon2id$strong"
    assert accounts.find_account(store.db, "ann") == ann


def test_disabled_is_logged_out_and_stays_so(store: Store) -> None:
    store.log_in("ann", 1)
    with store.writing() as tx:
        assert accounts.set_disabled(tx, ROOT, "ann", True).disabled
        assert accounts.set_disabled(tx, ROOT, "ann", True).disabled
    assert store.tokens() == []
    with pytest.raises(ApiError) as refused:
        store.log_in("ann", 2)
    assert refused.value.code is Code.NOT_FOUND
    with store.writing() as tx:
        assert not accounts.set_disabled(tx, ROOT, "ann", False).disabled
    store.log_in("ann", 3)
    assert store.tokens() == ["token_003"]
    assert [entry[1] for entry in store.audit()[3:]] == [
        Action.ACCOUNT_DISABLED,
        Action.ACCOUNT_ENABLED,
        Action.LOGGED_IN,
    ]


def test_administrators_are_made_and_unmade(store: Store) -> None:
    with store.writing() as tx:
        accounts.create(tx, ROOT, "root", None, administrator=True)
        for administrator in (True, True, False, False):
            ann = accounts.set_administrator(tx, ROOT, "ann", administrator)
            assert ann.administrator is administrator
            assert accounts.find_account(tx.db, "ann") == ann
    assert [entry[1:3] for entry in store.audit()[3:]] == [
        (Action.ADMINISTRATOR_MADE, "ann"),
        (Action.ADMINISTRATOR_UNMADE, "ann"),
    ]


def test_a_token_is_revoked_by_whom_it_belongs_to(store: Store) -> None:
    store.log_in("ann", 1)
    store.log_in("bob", 2)
    with store.writing() as tx:
        for wrong in ("token_002", "token_777", ""):
            assert refusal(accounts.revoke, tx, ROOT, "ann", wrong) is Code.NOT_FOUND
        accounts.revoke(tx, ROOT, "ann", "token_001")
    assert store.tokens() == ["token_002"]
    store.log_in("bob", 3)
    store.log_in("bob", 4)
    with store.writing() as tx:
        assert sorted(accounts.revoke_all(tx, ROOT, "bob", keep="token_003")) == [
            "token_002",
            "token_004",
        ]
        assert accounts.revoke_all(tx, ROOT, "ann") == []
    assert store.tokens() == ["token_003"]
    assert [entry[1] for entry in store.audit()].count(Action.TOKENS_REVOKED) == 1


def test_expired_tokens_count_no_longer_and_go(store: Store) -> None:
    store.log_in("ann", 1, expires_ms=2000)
    store.log_in("ann", 2)
    store.now_ms = 1999
    assert store.tokens() == ["token_001", "token_002"]
    store.now_ms = 2000
    assert store.tokens() == ["token_002"]
    store.log_in("bob", 3)
    assert store.db.execute("SELECT count(*) FROM token").fetchall() == [(2,)]


def test_use_is_kept_and_brings_nothing_back(store: Store) -> None:
    store.log_in("ann", 1)
    uses = [accounts.Use("token_001", 1500, 20_000), accounts.Use("token_777", 1500, 20_000)]
    with store.writing() as tx:
        accounts.use_tokens(tx, uses)
    [token] = accounts.live_tokens(store.db, 15_000)
    assert (token.used_ms, token.expires_ms, token.created_ms) == (1500, 20_000, 1000)
    assert (token.device, token.platform, token.address) == ("phone", "ios", "192.0.2.9")


def test_who_logs_in_for_ever_without_logging_out_keeps_the_last_ones(store: Store) -> None:
    for number in range(accounts.MOST_TOKENS):
        store.now_ms += 1
        assert store.log_in("ann", number) == []
    store.log_in("bob", 500)
    with store.writing() as tx:
        accounts.use_tokens(tx, [accounts.Use("token_000", store.now_ms + 1, 10_000)])
    assert store.log_in("ann", 600) == ["token_001"]
    assert len(store.tokens()) == accounts.MOST_TOKENS + 1


def test_what_concerns_nobody_is_refused_and_not_noted(store: Store) -> None:
    before = store.audit()
    with store.writing() as tx:
        tx.name_user("nobody")  # known, without an account
        for user in ("nobody", "never named"):
            assert refusal(accounts.set_password, tx, ROOT, user, None) is Code.NOT_FOUND
            assert refusal(accounts.set_disabled, tx, ROOT, user, True) is Code.NOT_FOUND
            assert refusal(accounts.set_administrator, tx, ROOT, user, True) is Code.NOT_FOUND
            assert refusal(accounts.revoke, tx, ROOT, user, "token_001") is Code.NOT_FOUND
            assert refusal(accounts.revoke_all, tx, ROOT, user) is Code.NOT_FOUND
    assert store.audit() == before


def test_the_audit_log_says_who_did_what_to_whom_and_from_where(store: Store) -> None:
    store.log_in("ann", 1)
    with store.writing() as tx:
        accounts.set_password(tx, Author(None), "bob", "$argon2id$secret", must_change=True)
    assert store.audit() == [
        ("root", "account.created", "ann", "192.0.2.1", {"administrator": False}),
        ("root", "account.created", "bob", "192.0.2.1", {"administrator": False}),
        ("ann", "login", "ann", "192.0.2.9", {"token_id": "token_001", "device": "phone"}),
        (None, "password.set", "bob", "", {"one_time": True}),
    ]


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE audit SET actor = 'somebody else'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE entry = 1",
        "INSERT INTO audit SELECT * FROM audit WHERE true ON CONFLICT DO UPDATE SET actor = NULL",
        "INSERT OR REPLACE INTO audit VALUES (1, 0, NULL, 'login', NULL, '', '{}')",
    ],
)
def test_the_audit_log_is_only_ever_added_to(store: Store, sql: str) -> None:
    before = store.audit()
    with pytest.raises(apsw.ConstraintError, match="only ever added to"):
        store.db.execute(sql)
    assert store.audit() == before
    with store.writing() as tx:
        record(tx, ROOT, Action.LOGGED_OUT, "ann")
    entries = store.db.execute("SELECT entry FROM audit").fetchall()
    assert entries == [(number + 1,) for number in range(len(before) + 1)]

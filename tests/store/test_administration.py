"""What administrators see of users and of the audit log, and the last of them, in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import apsw
import pytest

from imserver.domain.errors import Code
from imserver.domain.model import DAY_MS
from imserver.store import accounts
from imserver.store.audit import (
    Action,
    Author,
    Entry,
    Filter,
    count_entries,
    entries_after,
    entries_before,
    record,
    remove_older,
)
from imserver.store.database import open_database
from tests.store.test_accounts import ROOT, Store, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def store() -> Iterator[Store]:
    with open_database(":memory:") as database:
        yield Store(database.writer)


def test_the_last_administrator_stays_one(store: Store) -> None:
    with store.writing() as tx:
        for user in ("ann", "bob"):
            accounts.create(tx, ROOT, user, None, administrator=True)
        accounts.create(tx, ROOT, "cy", None)
        accounts.set_disabled(tx, ROOT, "bob", True)
        before = tx.db.total_changes()
        for change, value in (
            (accounts.set_administrator, False),
            (accounts.set_disabled, True),
        ):
            assert refusal(change, tx, ROOT, "ann", value) is Code.CONFLICT
        assert tx.db.total_changes() == before
        # One who is disabled administers nothing, so to take that away from them is no loss.
        accounts.set_administrator(tx, ROOT, "bob", False)
        accounts.set_disabled(tx, ROOT, "cy", True)
        accounts.set_disabled(tx, ROOT, "cy", False)
        accounts.set_administrator(tx, ROOT, "cy", True)
        accounts.set_disabled(tx, ROOT, "ann", True)
        assert refusal(accounts.set_disabled, tx, ROOT, "cy", True) is Code.CONFLICT


def test_users_come_in_pages_by_id(store: Store) -> None:
    names = ["a", "al", "alice", "al\U0010ffff", "bob", "小明", "小红", "\U0010ffff" * 64]
    with store.writing() as tx:
        for name in reversed(names):
            tx.name_user(name)
        alice = accounts.create(tx, ROOT, "alice", None)

    def page(prefix: str, after: str = "", limit: int = 100) -> list[str]:
        return [each.user_id for each in accounts.users_page(store.db, prefix, after, limit)]

    assert page("") == sorted(names)
    assert page("", limit=3) == sorted(names)[:3]
    assert page("", after="alice") == sorted(names)[3:]
    assert page("", after="alicf") == page("", after="alice")
    assert page("al") == ["al", "alice", "al\U0010ffff"]
    assert page("al", after="a") == page("al")
    assert page("al", after="al") == ["alice", "al\U0010ffff"]
    assert page("al", after="b") == []
    assert page("小") == sorted(["小明", "小红"])
    assert page("\U0010ffff" * 64) == ["\U0010ffff" * 64]
    assert page("x") == []
    found = accounts.users_page(store.db, "alice", "", 9)
    assert found == [accounts.NamedUser("alice", 1000, alice)]
    assert accounts.find_user(store.db, "alice") == accounts.NamedUser("alice", 1000, alice)
    assert accounts.find_user(store.db, "bob") == accounts.NamedUser("bob", 1000, None)
    assert accounts.find_user(store.db, "nobody") is None


def test_the_audit_log_is_read_from_either_end_and_filtered(store: Store) -> None:
    for number in range(1, 7):
        store.now_ms = number * 1000
        with store.writing() as tx:
            author = ROOT if number % 2 else Author(None, "", "operator")
            action = Action.LOGGED_IN if number < 4 else Action.LOGGED_OUT
            record(tx, author, action, "ann" if number == 5 else None, number=number)

    def before(cursor: int = 100, limit: int = 100, **wanted: object) -> list[int]:
        entries = entries_before(store.db, cursor, limit, Filter(**wanted))  # type: ignore[arg-type]
        return [each.entry for each in entries]

    assert before() == [6, 5, 4, 3, 2, 1]
    assert before(limit=2) == [6, 5]
    assert before(5, limit=2) == [4, 3]
    assert before(actor="root") == [5, 3, 1]
    assert before(operator="operator") == [6, 4, 2]
    assert before(operator="root") == []
    assert before(action="login") == [3, 2, 1]
    assert before(subject="ann") == [5]
    assert before(since=3000, until=5000) == [4, 3]
    assert before(actor="root", action="login", limit=1) == [3]
    assert before(actor="nobody") == []
    assert [each.entry for each in entries_after(store.db, 2, 2, Filter())] == [3, 4]
    assert [each.entry for each in entries_after(store.db, 2, 9, Filter(actor="root"))] == [3, 5]
    assert entries_before(store.db, 3, 2, Filter()) == [
        Entry(2, 2000, None, "login", None, "", {"number": 2, "operator": "operator"}),
        Entry(1, 1000, "root", "login", None, "192.0.2.1", {"number": 1}),
    ]


def test_old_entries_go_but_for_the_newest_and_no_others_can(store: Store) -> None:
    for day in range(5):
        store.now_ms = day * DAY_MS
        with store.writing() as tx:
            record(tx, ROOT, Action.LOGGED_IN, f"user{day}")
    with store.writing() as tx:
        assert remove_older(tx, 2 * DAY_MS, most=1) == 1
        assert remove_older(tx, 2 * DAY_MS, most=9) == 1
        assert remove_older(tx, 2 * DAY_MS, most=9) == 0
    assert [entry.entry for entry in entries_after(store.db, 0, 9, Filter())] == [3, 4, 5]
    assert count_entries(store.db) == 3
    for entry in (3, 5):
        with pytest.raises(apsw.ConstraintError, match="only ever added to"):
            store.db.execute("DELETE FROM audit WHERE entry = ?", (entry,))
    with store.writing() as tx:
        assert remove_older(tx, 99 * DAY_MS, most=9) == 2
        record(tx, ROOT, Action.LOGGED_IN, "later")
    assert [entry.entry for entry in entries_after(store.db, 0, 9, Filter())] == [5, 6]

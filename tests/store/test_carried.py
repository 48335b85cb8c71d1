"""Threads, mentions and forwarded messages when what they are about is removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imserver.store import carried, viewing
from imserver.store.database import open_database
from imserver.store.retention import removal
from imserver.store.transaction import Transaction
from tests.support.writing import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOW = 1_700_000_000_000


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Transaction]:
    with open_database(str(tmp_path / "imserver.db")) as database:
        tx = Transaction(database.writer, lambda: NOW)
        tx.begin()
        yield tx
        tx.rollback()


def test_answers_outlive_the_first_message_of_their_thread(tx: Transaction) -> None:
    alice, bob = tx.name_user("alice"), tx.name_user("bob")
    cid = tx.direct(alice, bob)
    root, first, second = [say(tx, cid, alice, "x") for _ in range(3)]
    tx.flush()
    for seq, reply_to in ((first, root), (second, first)):
        carried.add_reply(tx.db, seq, cid, reply_to, carried.root_of(tx.db, reply_to))
    carried.add_mentions(tx.db, root, cid, [bob, None])
    carried.add_forward(tx.db, root, carried.Origin(bob, "bob", 1))
    before = viewing.find_message(tx.db, second, "bob")
    removal.remove_older(tx, NOW + 1, most=1)
    assert viewing.find_message(tx.db, root, "bob") is None
    assert viewing.find_message(tx.db, second, "bob") == before
    third = say(tx, cid, bob, "x")
    tx.flush()
    carried.add_reply(tx.db, third, cid, second, carried.root_of(tx.db, second))
    message = viewing.find_message(tx.db, third, "alice")
    assert message is not None
    assert message.thread_id == f"msg_{root}"
    for table in ("mention", "forward"):
        assert tx.db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    removal.remove_older(tx, NOW + 1)
    assert tx.db.execute("SELECT count(*) FROM reply").fetchone() == (0,)


def test_no_more_answers_are_counted_than_a_page_can_afford(tx: Transaction) -> None:
    alice, bob = tx.name_user("alice"), tx.name_user("bob")
    cid = tx.direct(alice, bob)
    root = say(tx, cid, alice, "x")
    for _ in range(carried.MOST_REPLIES + 2):
        carried.add_reply(tx.db, say(tx, cid, bob, "x"), cid, root, root)
    tx.flush()
    message = viewing.find_message(tx.db, root, "alice")
    assert message is not None
    assert message.replies == carried.MOST_REPLIES

"""What the database knows of files: who may have messages carry them, and what becomes of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imserver.domain.errors import ApiError, Code
from imserver.store import rosters
from imserver.store.database import open_database
from imserver.store.files import uploaded
from imserver.store.retention import removal
from imserver.store.transaction import Transaction
from tests.support.writing import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_LIMITS = uploaded.FileLimits(0, 0, 0)
NOW = 1_700_000_000_000


@pytest.fixture
def tx(tmp_path: Path) -> Iterator[Transaction]:
    with open_database(str(tmp_path / "imserver.db")) as database:
        tx = Transaction(database.writer, lambda: NOW)
        tx.begin()
        for number in range(3):
            file = uploaded.StoredFile(f"file_{number}", f"{number % 2:064x}", "x", 5, "text/plain")
            uploaded.add(tx, "alice", file, NO_LIMITS)
        yield tx
        tx.rollback()


def send(tx: Transaction, sender: str, receiver: str) -> int:
    one, other = tx.name_user(sender), tx.name_user(receiver)
    seq = say(tx, tx.direct(one, other), one, "look")
    tx.flush()
    return seq


def may_read(tx: Transaction, file_id: str) -> list[str]:
    users = ("alice", "bob", "carol", "nobody")
    return [user for user in users if uploaded.find_readable(tx.db, user, file_id)]


def test_only_ones_own_files_and_each_once(tx: Transaction) -> None:
    seq = send(tx, "bob", "alice")
    bob, alice = tx.name_user("bob"), tx.name_user("alice")
    for uid, files, code in (
        (bob, ["file_0"], Code.NOT_FOUND),
        (alice, ["file_9"], Code.NOT_FOUND),
        (alice, ["file_0", "file_0"], Code.INVALID_REQUEST),
        (alice, [f"file_{number}" for number in range(21)], Code.INVALID_REQUEST),
    ):
        with pytest.raises(ApiError) as refusal:
            uploaded.own_files(tx.db, uid, files)
        assert refusal.value.code is code
    assert uploaded.attachments(tx.db, seq) == []
    uploaded.attach(tx.db, seq, ["file_2", "file_0"])
    found = uploaded.attachments(tx.db, seq)
    assert [file.file_id for file in found] == ["file_2", "file_0"]


def test_a_file_goes_with_the_last_message_that_carries_it(tx: Transaction) -> None:
    first, forwarded = send(tx, "alice", "bob"), send(tx, "bob", "carol")
    assert may_read(tx, "file_0") == ["alice"]
    uploaded.attach(tx.db, first, ["file_0"])
    assert may_read(tx, "file_0") == ["alice", "bob"]
    uploaded.attach(tx.db, forwarded, ["file_0"])
    assert may_read(tx, "file_0") == ["alice", "bob", "carol"]
    uploaded.detach(tx.db, [first])
    assert may_read(tx, "file_0") == ["alice", "bob", "carol"]
    assert uploaded.sweep(tx, 0, 10).digests == []
    removal.remove_older(tx, NOW + 1)
    assert may_read(tx, "file_0") == []
    assert uploaded.sweep(tx, 0, 10).digests == []  # file_2 has the same content
    assert set(uploaded.sweep(tx, NOW + 1, 10).digests) == {f"{number:064x}" for number in (0, 1)}
    assert uploaded.digests(tx.db) == set()


def test_a_sweep_is_done_in_pieces(tx: Transaction) -> None:
    assert uploaded.sweep(tx, NOW, 2) == ([], False)  # they are not old enough
    assert uploaded.sweep(tx, NOW + 1, 2).more
    assert not uploaded.sweep(tx, NOW + 1, 2).more


def test_someone_who_left_reads_what_they_saw(tx: Transaction) -> None:
    alice, bob = tx.name_user("alice"), tx.name_user("bob")
    roster = rosters.create(tx, "group_x", "x", "", False)
    roster = rosters.admit(tx, roster, [("alice", alice, 2), ("bob", bob, 0)], tx.next_seq)
    uploaded.attach(tx.db, say(tx, roster.cid, alice, "one"), ["file_0"])
    rosters.dismiss(tx, roster, "bob", tx.next_seq - 1)
    uploaded.attach(tx.db, say(tx, roster.cid, alice, "two"), ["file_1"])
    tx.flush()
    assert may_read(tx, "file_0") == ["alice", "bob"]
    assert may_read(tx, "file_1") == ["alice"]

"""What a member costs who has left and joined a group very often: steps of SQLite, not seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imserver.domain.model import Level, Role
from imserver.store import acknowledging, queries, reading, rosters
from imserver.store.database import open_database
from imserver.store.transaction import Transaction
from tests.support.writing import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import apsw

STAYS = 1000
STEP = 100  # steps of the virtual machine between two calls


@pytest.fixture
def group(tmp_path: Path) -> Iterator[tuple[Transaction, int, int, int]]:
    """A group whose one member comes and goes; its number, and those of the two."""
    with open_database(str(tmp_path / "imserver.db")) as database:
        tx = Transaction(database.writer, lambda: 1)
        tx.begin()
        ann, bob = tx.name_user("ann"), tx.name_user("bob")
        roster = rosters.create(tx, "group_1", "Often", "", False)
        roster = rosters.admit(tx, roster, [("ann", ann, Role.OWNER)], tx.next_seq)
        for _ in range(STAYS):
            roster = rosters.admit(tx, roster, [("bob", bob, Role.MEMBER)], tx.next_seq)
            say(tx, roster.cid, ann, "welcome")
            roster = rosters.dismiss(tx, roster, "bob", tx.next_seq - 1)
            say(tx, roster.cid, ann, "gone again")
        rosters.admit(tx, roster, [("bob", bob, Role.MEMBER)], tx.next_seq)
        say(tx, roster.cid, ann, "welcome")
        tx.flush()
        yield tx, roster.cid, ann, bob
        tx.rollback()


def steps(db: apsw.Connection, work: Callable[[], Any]) -> int:
    """How much SQLite does for something."""
    count = 0

    def note() -> bool:
        nonlocal count
        count += 1
        return False

    db.set_progress_handler(note, STEP)
    try:
        work()
    finally:
        db.set_progress_handler(None)
    return count * STEP


def test_a_cumulative_ack_is_linear(group: tuple[Transaction, int, int, int]) -> None:
    tx, cid, _, bob = group
    last = tx.next_seq - 1
    news: list[Any] = []
    cost = steps(
        tx.db,
        lambda: news.extend(
            acknowledging.acknowledge_all(tx, cid, bob, last, Level.READ, to_self=False)
        ),
    )
    assert news == [("ann", last)]
    assert cost < 150 * STAYS


def test_one_ack_looks_at_few_intervals(group: tuple[Transaction, int, int, int]) -> None:
    tx, cid, _, bob = group
    assert acknowledging.first_hole(tx.db, cid, bob, 0, Level.READ, to_self=False) == 1
    assert acknowledging.acknowledge(tx, cid, bob, 1, Level.READ, to_self=False)
    for after in (0, STAYS, 2 * STAYS - 2):
        look = lambda after=after: acknowledging.first_hole(  # noqa: E731
            tx.db, cid, bob, after, Level.READ, to_self=False
        )
        assert steps(tx.db, look) < 1000


def test_what_is_seen_is_found_at_once(group: tuple[Transaction, int, int, int]) -> None:
    tx, cid, ann, bob = group
    for seq in (1, STAYS - 1, 2 * STAYS + 1):
        assert reading.covers(tx.db, bob, cid, seq)
        assert seq > STAYS or not reading.covers(tx.db, bob, cid, seq + 1)
        assert steps(tx.db, lambda seq=seq: reading.covers(tx.db, bob, cid, seq)) < 500  # type: ignore[misc]
        present = lambda seq=seq: reading.one(tx.db, queries.PRESENT_OTHERS, cid, ann, seq)  # noqa: E731
        assert steps(tx.db, present) < 500

"""The read pool: beside the writer, at one moment each, and refused when the store fails."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from imserver.domain.errors import ApiError, Code
from imserver.store import reader as store_reader
from imserver.store import reading
from imserver.store.database import open_database
from imserver.store.reader import Reader
from imserver.store.transaction import Transaction
from tests.store.failures import disk_gone
from tests.support.writing import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import apsw

    from imserver.store.database import Database


@pytest.fixture(params=["file", "memory"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    path = str(tmp_path / "imserver.db") if request.param == "file" else ":memory:"
    with open_database(path) as database:
        yield database


@pytest.fixture
def tx(database: Database) -> Transaction:
    return Transaction(database.writer, lambda: 0)


def post(tx: Transaction) -> None:
    """Store a message in a transaction of its own."""
    tx.begin()
    say(tx, tx.direct(tx.name_user("ann"), tx.name_user("bob")), 1, "hi")
    tx.commit()


async def test_it_sees_what_was_committed(database: Database, tx: Transaction) -> None:
    reader = Reader(database, 2)
    assert await reader.ask(reading.newest_seq) == 0
    post(tx)
    assert await reader.ask(reading.newest_seq) == 1


async def test_a_refusal_comes_through_and_the_next_question_is_answered(
    database: Database, tx: Transaction
) -> None:
    reader = Reader(database, 1)
    post(tx)

    def refuse(db: apsw.Connection) -> None:
        db.execute("SELECT seq FROM message")  # not read to its end
        raise ApiError(Code.NOT_FOUND)

    for _ in range(3):
        with pytest.raises(ApiError) as refusal:
            await reader.ask(refuse)
        assert refusal.value.code is Code.NOT_FOUND
    assert await reader.ask(reading.newest_seq) == 1


async def test_a_question_is_answered_at_one_moment(tmp_path: Path) -> None:
    with open_database(str(tmp_path / "imserver.db")) as database:
        reader = Reader(database, 1)
        tx = Transaction(database.writer, lambda: 0)
        post(tx)

        def ask_twice(db: apsw.Connection) -> tuple[int, int]:
            first = reading.newest_seq(db)
            post(tx)
            return first, reading.newest_seq(db)

        assert await reader.ask(ask_twice) == (1, 1)
        assert await reader.ask(reading.newest_seq) == 2


async def test_it_does_not_wait_for_a_transaction_under_way_nor_sees_it(tmp_path: Path) -> None:
    with open_database(str(tmp_path / "imserver.db")) as database:
        reader = Reader(database, 1)
        tx = Transaction(database.writer, lambda: 0)
        tx.begin()
        say(tx, tx.direct(tx.name_user("ann"), tx.name_user("bob")), 1, "hi")
        assert await reader.ask(reading.newest_seq) == 0
        tx.commit()
        assert await reader.ask(reading.newest_seq) == 1


async def test_in_memory_it_takes_turns_with_the_writer() -> None:
    with open_database(":memory:") as database:
        reader = Reader(database, 4)
        tx = Transaction(database.writer, lambda: 0)
        answers: list[int] = []

        async def ask() -> None:
            answers.append(await reader.ask(reading.newest_seq))

        async with trio.open_nursery() as nursery:
            with database.turn:
                nursery.start_soon(ask)
                await trio.testing.wait_all_tasks_blocked()
                post(tx)
                assert answers == []
        assert answers == [1]


async def test_as_many_questions_run_at_once_as_there_are_connections(tmp_path: Path) -> None:
    with open_database(str(tmp_path / "imserver.db")) as database:
        reader = Reader(database, 2)
        both = threading.Barrier(2)
        running: list[int] = []
        most: list[int] = []

        def meet(db: apsw.Connection) -> None:
            running.append(1)
            most.append(len(running))
            both.wait(20)
            reading.newest_seq(db)
            both.wait(20)
            running.pop()

        async with trio.open_nursery() as nursery:
            for _ in range(6):
                nursery.start_soon(reader.ask, meet)
        assert max(most) == 2


async def test_it_cannot_write(tmp_path: Path) -> None:
    with open_database(str(tmp_path / "imserver.db")) as database:
        reader = Reader(database, 1)
        with pytest.raises(ApiError) as refusal:
            await reader.ask(lambda db: db.execute("DELETE FROM message"))
        assert refusal.value.code is Code.UNAVAILABLE


async def test_a_failing_store_refuses_reads_and_heals(tmp_path: Path) -> None:
    with open_database(str(tmp_path / "imserver.db")) as database:
        reader = Reader(database, 1)
        post(Transaction(database.writer, lambda: 0))

        def look(db: apsw.Connection) -> list[tuple[str]]:
            return db.execute("SELECT content FROM message").fetchall()

        with disk_gone(database):
            for _ in range(3):
                with pytest.raises(ApiError) as refusal:
                    await reader.ask(look)
                assert refusal.value.code is Code.UNAVAILABLE
        assert await reader.ask(look) == [("hi",)]


async def test_heavy_questions_of_one_caller_do_not_hold_up_another(
    tmp_path: Path,
) -> None:
    with open_database(str(tmp_path / "imserver.db")) as database:
        reader = Reader(database, 2)
        release = threading.Event()

        async def ask_much() -> None:
            await reader.ask(lambda db: release.wait(20), by="greedy", heavy=True)

        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(ask_much)
            await trio.testing.wait_all_tasks_blocked()
            assert await reader.ask(reading.newest_seq, by="ann") == 0
            assert reader.waiting == 59
            release.set()


async def test_a_question_that_takes_too_long_is_interrupted(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That of a caller; the server's own, and the next one, are answered."""
    monkeypatch.setattr(store_reader, "MOST_SECONDS", 0.05)
    reader = Reader(database, 1)

    def count(most: int) -> Callable[[apsw.Connection], int]:
        sql = f"""
            WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {most})
            SELECT count(*) FROM n
        """
        return lambda db: int(reading.one(db, sql)[0])

    with pytest.raises(ApiError) as refused:
        await reader.ask(count(1_000_000_000), by="ann", heavy=True)
    assert refused.value.code is Code.UNAVAILABLE
    assert await reader.ask(count(1_000), by="ann") == 1_000
    assert await reader.ask(count(1_000_000)) == 1_000_000

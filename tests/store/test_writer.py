"""The writer's laws: order, group commit, refusals, defects, and a store that fails and heals."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, ClassVar

import apsw
import pytest
import trio

from imserver.domain.errors import ApiError, Code
from imserver.store import reading
from imserver.store.database import Database, open_database
from imserver.store.reader import Reader
from imserver.store.writer import MOST_LARGE, Writer
from tests.store.failures import disk_gone, full_disk, locked_by_another
from tests.support.writing import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imserver.store.transaction import Transaction

NOBODY = 0  # the sender of what nobody sent


class Act:
    """A command that does what it is told, and keeps what came of it."""

    appends: ClassVar = False

    def __init__(self, bench: Bench, act: Callable[[Transaction], Any]) -> None:
        self._bench = bench
        self._act = act
        self.transaction = 0  # in which one it ran last, from 1
        self.result: Any = None
        self.done = trio.Event()

    def apply(self, tx: Transaction) -> Any:
        """Do it."""
        self.transaction = tx.now_ms
        return self._act(tx)

    def finish(self, stored: Any) -> None:
        """Keep the result."""
        self.result = stored
        self._bench.finished.append(self)
        self.done.set()

    @property
    def code(self) -> Code:
        """Why it was refused."""
        assert isinstance(self.result, ApiError), self.result
        return self.result.code


class Bench:
    """A writer on a database, whose clock counts its transactions."""

    def __init__(
        self, database: Database, *, max_batch: int = 1000, capacity: int = 10, **options: Any
    ) -> None:
        self.database = database
        self.finished: list[Act] = []
        self.batches = 0
        self.begun = 0
        self.writer = Writer(
            database,
            self._tick,
            capacity=capacity,
            max_batch=max_batch,
            after_batch=self._count,
            **options,
        )

    def _tick(self) -> int:
        self.begun += 1
        return self.begun

    def _count(self) -> None:
        self.batches += 1

    def submit(self, act: Callable[[Transaction], Any]) -> Act:
        """Queue something."""
        command = Act(self, act)
        self.writer.submit(command, command.finish)
        return command

    async def do(self, act: Callable[[Transaction], Any]) -> Act:
        """Do something, and wait for what comes of it."""
        command = self.submit(act)
        with trio.fail_after(20):
            await command.done.wait()
        return command

    async def together(self, *acts: Callable[[Transaction], Any]) -> list[Act]:
        """Do several things that wait at the same time."""
        commands = [self.submit(act) for act in acts]
        with trio.fail_after(20):
            for command in commands:
                await command.done.wait()
        return commands


class Gate:
    """Holds the writer's thread inside a command until it is opened."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def __call__(self, tx: Transaction) -> str:
        self.entered.set()
        assert self._open.wait(20)
        return "held"

    async def wait_entered(self) -> None:
        """Wait until the writer stands in it."""
        assert await trio.to_thread.run_sync(self.entered.wait, 20)

    def open(self) -> None:
        """Let the writer go on."""
        self._open.set()


def post(text: str = "hi") -> Callable[[Transaction], int]:
    """Store a message of ann's to bob; the result is its place."""

    def act(tx: Transaction) -> int:
        cid = tx.direct(tx.name_user("ann"), tx.name_user("bob"))
        return say(tx, cid, tx.name_user("ann"), text)

    return act


def refuse(tx: Transaction) -> None:
    """A refusal."""
    raise ApiError(Code.FORBIDDEN)


def break_down(tx: Transaction) -> None:
    """A defect, when something is written already."""
    say(tx, tx.direct(tx.name_user("eve"), tx.name_user("ann")), NOBODY, "broken")
    raise ZeroDivisionError


def texts(database: Database) -> list[str]:
    """What is on disk, as another process sees it."""
    db = apsw.Connection(database.path, flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return [text for (text,) in db.execute("SELECT content FROM message ORDER BY seq")]
    finally:
        db.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with open_database(str(tmp_path / "imserver.db")) as database:
        yield database


@pytest.fixture
def bench(database: Database, nursery: trio.Nursery) -> Bench:
    bench = Bench(database)
    nursery.start_soon(bench.writer.run)
    return bench


# -- order and group commit -------------------------------------------------------------------


async def test_what_waits_is_one_transaction_and_ends_in_the_order_of_its_coming(
    bench: Bench,
) -> None:
    commands = await bench.together(*[post(str(number)) for number in range(20)])
    assert [command.result for command in commands] == list(range(1, 21))
    assert bench.finished == commands
    assert {command.transaction for command in commands} == {1}
    assert texts(bench.database) == [str(number) for number in range(20)]


async def test_while_one_batch_is_written_the_next_gathers(bench: Bench) -> None:
    gate = Gate()
    first = bench.submit(gate)
    await gate.wait_entered()
    others = [bench.submit(post()) for _ in range(5)]
    assert bench.finished == []
    gate.open()
    await others[-1].done.wait()
    assert bench.finished == [first, *others]
    assert [command.transaction for command in bench.finished] == [1, 2, 2, 2, 2, 2]
    assert bench.batches == 2


async def test_a_batch_has_its_bound(database: Database, nursery: trio.Nursery) -> None:
    bench = Bench(database, max_batch=2)
    nursery.start_soon(bench.writer.run)
    commands = await bench.together(*[post() for _ in range(5)])
    assert [command.transaction for command in commands] == [1, 1, 2, 2, 3]
    assert [command.result for command in commands] == [1, 2, 3, 4, 5]


async def test_nothing_is_finished_before_others_can_read_it(bench: Bench) -> None:
    seen: list[list[str]] = []

    class Look(Act):
        def finish(self, stored: Any) -> None:
            seen.append(texts(bench.database))
            super().finish(stored)

    command = Look(bench, post("durable"))
    bench.writer.submit(command, command.finish)
    await command.done.wait()
    assert seen == [["durable"]]


async def test_who_fills_the_queue_waits_for_room(
    database: Database, nursery: trio.Nursery
) -> None:
    bench = Bench(database, capacity=3)
    nursery.start_soon(bench.writer.run)
    gate = Gate()
    bench.submit(gate)
    await gate.wait_entered()
    assert not bench.writer.full
    waiting = [bench.submit(post()) for _ in range(3)]
    assert bench.writer.full
    with trio.move_on_after(0) as impatient:
        await bench.writer.wait_room()
    assert impatient.cancelled_caught
    gate.open()
    with trio.fail_after(20):
        await bench.writer.wait_room()
    assert not bench.writer.full
    await waiting[-1].done.wait()


# -- refusals and defects ---------------------------------------------------------------------


async def test_a_refusal_leaves_its_neighbours_alone(bench: Bench) -> None:
    before, refused, after = await bench.together(post("before"), refuse, post("after"))
    assert refused.code is Code.FORBIDDEN
    assert (before.result, after.result) == (1, 2)
    assert before.transaction == refused.transaction == after.transaction
    assert texts(bench.database) == ["before", "after"]


@pytest.mark.expects_error_log
async def test_a_defect_fails_alone_and_leaves_nothing_behind(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    before, broken, refused, after = await bench.together(
        post("before"), break_down, refuse, post("after")
    )
    assert broken.code is Code.INTERNAL
    assert refused.code is Code.FORBIDDEN
    assert (before.result, after.result) == (1, 2)
    assert bench.finished == [before, broken, refused, after]
    assert texts(bench.database) == ["before", "after"]
    db = bench.database.writer
    assert db.execute("SELECT user_id FROM user ORDER BY uid").fetchall() == [("ann",), ("bob",)]
    (record,) = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[0] is ZeroDivisionError


@pytest.mark.expects_error_log
async def test_what_a_rolled_back_transaction_had_made_known_is_forgotten(bench: Bench) -> None:
    await bench.do(break_down)

    def name_eve(tx: Transaction) -> tuple[int | None, int, int]:
        return tx.find_user("eve"), tx.name_user("eve"), tx.next_seq

    assert (await bench.do(name_eve)).result == (None, 1, 1)
    row = bench.database.writer.execute("SELECT user_id FROM user WHERE uid = 1").fetchone()
    assert row == ("eve",)


# -- the end ----------------------------------------------------------------------------------


async def test_closed_it_finishes_what_it_accepted_and_takes_no_more(bench: Bench) -> None:
    commands = [bench.submit(post(str(number))) for number in range(3)]
    bench.writer.close()
    with pytest.raises(ApiError) as refusal:
        bench.submit(post("late"))
    assert refusal.value.code is Code.UNAVAILABLE
    with trio.fail_after(20):
        await bench.writer.wait_closed()
    assert bench.finished == commands
    assert texts(bench.database) == ["0", "1", "2"]


async def test_cancelled_it_finishes_the_batch_under_way(database: Database) -> None:
    bench = Bench(database)
    gate = Gate()
    async with trio.open_nursery() as nursery:
        await nursery.start(bench.writer.run)
        held = bench.submit(gate)
        kept = bench.submit(post("kept"))
        await gate.wait_entered()
        nursery.cancel_scope.cancel()
        gate.open()
    assert bench.finished == [held, kept]
    assert texts(database) == ["kept"]


# -- a store that fails -----------------------------------------------------------------------


FAILURES = [
    pytest.param(full_disk, "FullError", id="disk full"),
    pytest.param(locked_by_another, "BusyError", id="locked by another program"),
    pytest.param(disk_gone, "IOError", id="disk gone"),
]


@pytest.mark.expects_error_log
@pytest.mark.parametrize(("failure", "name"), FAILURES)
async def test_a_failing_store_refuses_writes_leaves_nothing_and_heals(
    failure: Any, name: str, bench: Bench
) -> None:
    long = "x" * 50_000
    assert (await bench.do(post("before"))).result == 1
    with failure(bench.database):
        refused = await bench.together(post(long), refuse, post(long))
        assert [command.code for command in refused] == [Code.UNAVAILABLE] * 3
        assert bench.writer.failure == name
        again = await bench.do(post(long))
        assert again.code is Code.UNAVAILABLE
    after = await bench.do(post("after"))
    assert after.result == 2
    assert bench.writer.failure is None
    assert texts(bench.database) == ["before", "after"]


@pytest.mark.expects_error_log
@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        pytest.param(full_disk, "database or disk is full", id="disk full"),
        pytest.param(disk_gone, "disk I/O error", id="disk gone"),
    ],
)
async def test_a_failing_store_is_logged_once_until_it_heals(
    failure: Any, sentence: str, bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    await bench.do(post())
    with failure(bench.database):
        for _ in range(3):
            await bench.do(post("x" * 50_000))
    await bench.do(post())
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"the store refuses writes: {sentence}",
        "the store accepts writes again",
    ]


@pytest.mark.expects_error_log
async def test_reads_go_on_while_writes_are_refused(bench: Bench) -> None:
    reader = Reader(bench.database, 1)
    await bench.do(post("before"))
    for failure in (full_disk, locked_by_another):
        with failure(bench.database):
            refused = await bench.do(post("x" * 50_000))
            assert refused.code is Code.UNAVAILABLE
            assert await reader.ask(reading.newest_seq) == 1


@pytest.mark.expects_error_log
@pytest.mark.parametrize(("failure", "name"), FAILURES)
async def test_a_failing_store_heals_without_anybody_asking_for_anything(
    failure: Any, name: str, database: Database, nursery: trio.Nursery
) -> None:
    bench = Bench(database, retry=0.001)
    nursery.start_soon(bench.writer.run)
    with failure(database):
        assert (await bench.do(post("x" * 50_000))).code is Code.UNAVAILABLE
        for _ in range(3):
            await bench.writer.try_again()
            assert bench.writer.failure == name
    with trio.fail_after(20):
        while bench.writer.failing:
            await trio.lowlevel.checkpoint()
    assert texts(database) == []


# -- folding the WAL into the file ------------------------------------------------------------


def pages(database: Database) -> int:
    """How much of the database is in its file, and not only in the WAL."""
    return os.stat(database.path).st_size // 4096


async def test_the_wal_is_folded_in_when_it_is_long_enough(
    database: Database, nursery: trio.Nursery
) -> None:
    bench = Bench(database, folded_pages=50)
    database.fold()  # what the migrations wrote
    before = pages(database)
    nursery.start_soon(bench.writer.run)
    await bench.do(post("x" * 100_000))
    await bench.do(post())
    assert pages(database) == before
    await bench.do(post("x" * 100_000))
    await bench.do(post())  # it is done behind the batch, before the next
    assert pages(database) > before + 40
    # What is folded in makes room: the WAL is written from its beginning again.
    for _ in range(20):
        await bench.do(post("x" * 100_000))
    assert database.sizes()["wal"] < 100 * 4096


@pytest.mark.expects_error_log
async def test_a_file_that_cannot_be_written_is_noticed_while_the_wal_can(
    database: Database, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    bench = Bench(database, folded_pages=10, retry=0.001)
    nursery.start_soon(bench.writer.run)
    with disk_gone(database, ("",)):
        for _ in range(3):
            assert (await bench.do(post("x" * 50_000))).result
        await bench.writer.try_again()
        assert bench.writer.failing
        assert (bench.writer.failure, bench.writer.folding_failure) == (None, "IOError")
    with trio.fail_after(20):
        while bench.writer.failing:  # by itself
            await trio.lowlevel.checkpoint()
    assert [record.getMessage() for record in caplog.records] == [
        "the WAL cannot be folded into the database and grows: disk I/O error",
        "the WAL is folded into the database again",
    ]
    assert len(texts(database)) == 3


# -- the process dies -------------------------------------------------------------------------

_DYING = """
import os, signal, sys
from imserver.store.database import open_database
from imserver.store.transaction import Transaction
from tests.support.writing import say

with open_database(sys.argv[1]) as database:
    tx = Transaction(database.writer, lambda: 0)
    for text in ("kept 1", "kept 2"):
        tx.begin()
        cid = tx.direct(tx.name_user("ann"), tx.name_user("bob"))
        say(tx, cid, 1, text)
        tx.commit()
    tx.begin()
    database.writer.execute("PRAGMA cache_size = 10")  # so that much of it is in the WAL
    database.writer.execute("PRAGMA cache_spill = 1")
    for number in range(100):
        say(tx, tx.direct(1, tx.name_user(f"user{number}")), 1, "lost" * 1000)
    print(os.path.getsize(sys.argv[1] + "-wal"), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_killed_in_a_transaction_it_keeps_what_was_committed_and_no_more(
    tmp_path: Path, nursery: trio.Nursery
) -> None:
    path = tmp_path / "imserver.db"
    child = await trio.run_process(
        [sys.executable, "-c", _DYING, str(path)], capture_stdout=True, check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert int(child.stdout) > 200_000, "the transaction under way never came to the disk"
    with open_database(str(path)) as database:
        bench = Bench(database)
        assert texts(database) == ["kept 1", "kept 2"]
        assert database.writer.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.writer.execute("SELECT count(*) FROM user").fetchone() == (2,)
        nursery.start_soon(bench.writer.run)
        assert (await bench.do(post("after"))).result == 3
        bench.writer.close()
        await bench.writer.wait_closed()


async def test_large_changes_go_one_a_batch_behind_the_others(
    bench: Bench,
) -> None:
    gate = Gate()
    first = bench.submit(gate)
    await gate.wait_entered()
    large = [Act(bench, post(f"large {number}")) for number in range(3)]
    for act in large:
        bench.writer.submit(act, act.finish, large=True)
    small = [bench.submit(post()) for _ in range(2)]
    gate.open()
    with trio.fail_after(20):
        await large[-1].done.wait()
    assert bench.finished == [first, *small, *large]
    assert [act.transaction for act in bench.finished] == [1, 2, 2, 2, 3, 4]


async def test_too_many_large_changes_are_refused(bench: Bench) -> None:
    act = Act(bench, post())
    for _ in range(MOST_LARGE):
        bench.writer.submit(act, act.finish, large=True)
    with pytest.raises(ApiError) as refused:
        bench.writer.submit(act, act.finish, large=True)
    assert refused.value.code is Code.UNAVAILABLE
    bench.submit(post())  # others are taken

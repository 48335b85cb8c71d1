"""Retention without a transport: its pace, its failures, what it takes for old."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from imserver.domain.errors import ApiError, Code
from imserver.service.engine import Caller
from imserver.service.upkeep import retention
from imserver.service.upkeep.retention import Kept, Retention
from imserver.store import audit
from imserver.store.retention import removal
from imserver.store.tools.check import check
from imserver.store.transaction import Transaction
from tests.service.engines import Engines
from tests.store.failures import disk_gone, full_disk

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from trio.testing import MockClock

DAY = 86_400_000
ANN = Caller("ann")
BOB = Caller("bob")


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    engines = Engines(tmp_path)
    yield engines
    engines.stop()


def limited(engines: Engines, *, days: float = 1, most_bytes: int = 0) -> Retention:
    return Retention(engines.engine, Kept(round(days * DAY), most_bytes), every=60)


async def say(engines: Engines, count: int = 1) -> None:
    for _ in range(count):
        await engines.write("send_message", ANN, {"receiver_id": "bob", "content": "hi"})


def left(engines: Engines) -> list[int]:
    rows = engines.database.writer.execute("SELECT seq FROM message ORDER BY seq").fetchall()
    return [seq for (seq,) in rows]


async def test_a_message_goes_only_when_all_before_it_are_old(engines: Engines) -> None:
    """A clock that was ahead for a while takes nothing from anybody too early."""

    async def live() -> None:
        await say(engines, 2)
        engines.now_ms += 300 * DAY  # ahead
        await say(engines)
        engines.now_ms -= 300 * DAY
        await say(engines)
        engines.now_ms += 2 * DAY
        await limited(engines).sweep()

    await beside(engines, live)
    assert left(engines) == [3, 4]


async def beside(engines: Engines, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` beside the writer, in this loop."""
    async with trio.open_nursery() as nursery:
        await nursery.start(engines.writer.run)
        await work()
        nursery.cancel_scope.cancel()


async def test_the_share_follows_what_others_write(engines: Engines) -> None:
    limit = limited(engines)

    async def live() -> None:
        await say(engines, 3)
        assert limit._share() == (retention._LEAST, retention._REST)  # three since the start
        # Now the piece itself would be written; nobody else wrote anything.
        await say(engines)
        assert limit._share() == (retention._ALONE, retention._REST_ALONE)
        await say(engines, 101)
        assert limit._share()[0] == round(100 * retention._SHARE)
        await say(engines, 1001)
        assert limit._share()[0] == removal.MOST

    await beside(engines, live)


async def test_many_pieces_make_one_sweep_and_what_is_left_is_sound(engines: Engines) -> None:
    async def live() -> None:
        await say(engines, 450)
        engines.now_ms += 2 * DAY
        await say(engines, 7)
        await limited(engines).sweep()
        page = await engines.ask("sync_offline", BOB, {"last_message_id": "msg_3", "limit": 200})
        assert [message["id"] for message in page["messages"]] == [
            f"msg_{seq}" for seq in range(451, 458)
        ]
        assert page["gap"] is True
        # No more of what failed is remembered than there should be, and the newest of it.
        page = await engines.ask("sync_offline", ANN, {})
        assert page["failed"] == [f"msg_{seq}" for seq in range(1, 451)]

    await beside(engines, live)
    removals = engines.engine.removals
    assert (removals.messages, removals.failed) == (450, 450)
    assert removals.ended_ms == engines.now_ms
    assert [found for found in check(Path(engines.path)) if found.problems] == []


async def test_what_was_noted_of_removed_messages_goes_with_them(engines: Engines) -> None:
    async def live() -> None:
        await say(engines, 150)  # long enough in a row to be noted
        for seq in (3, 5, 140):
            await engines.write("ack", BOB, {"message_id": f"msg_{seq}", "status": "read"})
        assert count(engines, "selective_ack") == 3
        assert count(engines, "run") > 0
        engines.now_ms += 2 * DAY
        await limited(engines).sweep()

    await beside(engines, live)
    assert [count(engines, table) for table in ("message", "selective_ack", "run")] == [0, 0, 0]


def count(engines: Engines, table: str) -> int:
    [(rows,)] = engines.database.writer.execute(f"SELECT count(*) FROM {table}").fetchall()
    return rows


async def test_no_more_failures_are_remembered_than_there_should_be(
    engines: Engines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "MOST_FAILED", 5)

    async def live() -> None:
        await say(engines, 20)
        engines.now_ms += 2 * DAY
        await limited(engines).sweep()
        page = await engines.ask("sync_offline", ANN, {})
        assert page["failed"] == [f"msg_{seq}" for seq in range(16, 21)]

    await beside(engines, live)


@pytest.mark.expects_error_log
@pytest.mark.parametrize("failure", [full_disk, disk_gone])
async def test_a_store_that_fails_interrupts_it_and_nothing_is_half_gone(
    engines: Engines, failure, caplog: pytest.LogCaptureFixture
) -> None:
    async def live() -> None:
        await say(engines, 50)
        engines.now_ms += 2 * DAY
        with failure(engines.database):
            with pytest.raises(ApiError) as refused:
                await engines.engine.write(retention.RemovePiece(_grow))
            assert refused.value.code is Code.UNAVAILABLE
        await limited(engines).sweep()

    await beside(engines, live)
    assert left(engines) == []


def _grow(tx, **_: object) -> removal.Piece:
    """Remove, and then need more room than there is."""
    piece = removal.remove_older(tx, tx.now_ms)
    tx.try_out()
    return piece


async def test_after_a_failure_it_goes_on_by_itself(
    engines: Engines, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever went wrong: the next round comes."""
    asked: list[str] = []

    class Flaky(Retention):
        async def report(self) -> None: ...  # the clock would jump while the reader's thread works

        async def sweep(self) -> None:
            asked.append("sweep")
            if len(asked) == 1:
                raise ApiError(Code.UNAVAILABLE)
            if len(asked) == 2:
                raise RuntimeError("a defect")

    flaky = Flaky(engines.engine, Kept(keep_ms=1), every=3600)
    with trio.move_on_after(3 * 60 + 1):
        await flaky.run()
    assert asked == ["sweep"] * 3
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert caplog.records[1].exc_info is not None


async def test_old_entries_of_the_audit_log_go_in_pieces(engines: Engines) -> None:
    """The newest stays, and a limit of 0 keeps all."""

    async def live() -> None:
        for kept, left in ((Kept(), 251), (Kept(audit_ms=DAY), 1)):
            await Retention(engines.engine, kept, every=60).sweep()
            assert engines.engine.removals.audit_entries == left

    author = audit.Author(None)
    tx = Transaction(engines.database.writer, lambda: engines.now_ms)
    tx.begin()
    for _ in range(251):
        audit.record(tx, author, audit.Action.LOGGED_IN, "ann")
    tx.commit()
    engines.now_ms += 2 * DAY
    await beside(engines, live)
    assert [found for found in check(Path(engines.path)) if found.problems] == []

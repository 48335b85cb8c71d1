"""Scheduled backups: when they are made, what is kept, and that nothing about them disturbs."""

from __future__ import annotations

import logging
import os
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from imserver.config import Backup
from imserver.store import schema
from imserver.store.tools import rotation
from imserver.store.tools.rotation import Rotation, backup_name
from tests.store import life
from tests.store.fixtures import fixture
from tests.support import rest, running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from trio.testing import MockClock

START = datetime(2026, 1, 31, 23, 30, tzinfo=UTC)
PATIENCE = 20  # seconds of real time


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "imserver.db"
    life.load(fixture(schema.VERSION).read_text("utf-8"), path)
    return path


def spoil(path: Path) -> None:
    """Leave no database."""
    path.write_bytes(b"no database any more")


def name(*, hours: float, suffix: str = ".db") -> str:
    """What a backup is called that is made so long after the start."""
    time = datetime.fromtimestamp(START.timestamp() + hours * 3600, UTC)
    return f"imserver-{time:%Y%m%dT%H%M%SZ}{suffix}"


class Log(logging.Handler):
    """What is logged, and a way to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._more = trio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.getMessage()}")
        self._more.set()

    async def wait(self, count: int) -> None:
        """Wait until so many lines are there."""
        while len(self.lines) < count:
            self._more = trio.Event()
            await self._more.wait()


@contextmanager
def listening() -> Iterator[Log]:
    """What scheduled backups log meanwhile."""
    log = Log()
    logger = logging.getLogger("imserver.store.tools.rotation")
    level = logger.level
    logger.setLevel(logging.INFO)
    logger.addHandler(log)
    try:
        yield log
    finally:
        logger.removeHandler(log)
        logger.setLevel(level)


@asynccontextmanager
async def rotating(
    path: Path, clock: Callable[[], int], **options: Any
) -> AsyncIterator[tuple[Path, Log]]:
    """Scheduled backups of a database, hourly unless told otherwise."""
    folder = path.parent / "backups"
    settings: dict[str, Any] = {"every": 3600.0, "keep": 3, "compressed": False}
    with listening() as log:
        async with trio.open_nursery() as nursery:
            made = Rotation(path, folder, clock=clock, **(settings | options))
            nursery.start_soon(made.run)
            yield folder, log
            nursery.cancel_scope.cancel()


def ticking(clock: MockClock) -> Callable[[], int]:
    """The wall clock that goes with a mock clock, which stands at any number at the start."""
    begun = clock.current_time()
    return lambda: int((START.timestamp() + clock.current_time() - begun) * 1000)


async def test_one_every_so_often_and_the_oldest_go(path: Path, autojump_clock: MockClock) -> None:
    async with rotating(path, ticking(autojump_clock)) as (folder, log):
        await log.wait(1)
        assert os.listdir(folder) == [name(hours=0)]  # at once
        await log.wait(5)
        assert sorted(os.listdir(folder)) == [name(hours=hours) for hours in (2, 3, 4)]
    assert log.lines[4] == f"INFO backed up to {folder / name(hours=4)}"
    assert life.dump(folder / name(hours=4)) == life.dump(path)


async def test_a_restart_does_not_change_when_the_next_is_due(
    path: Path, autojump_clock: MockClock
) -> None:
    folder = path.parent / "backups"
    folder.mkdir()
    (folder / name(hours=-0.75)).touch()
    (folder / name(hours=-5)).touch()
    async with rotating(path, ticking(autojump_clock)) as (_, log):
        await log.wait(1)
    assert max(os.listdir(folder)) == name(hours=0.25)


async def test_one_that_is_overdue_is_made_at_once(path: Path, autojump_clock: MockClock) -> None:
    folder = path.parent / "backups"
    folder.mkdir()
    (folder / name(hours=-50)).touch()
    async with rotating(path, ticking(autojump_clock)) as (_, log):
        await log.wait(1)
        assert max(os.listdir(folder)) == name(hours=0)


async def test_what_the_clock_says_is_doubted(path: Path, autojump_clock: MockClock) -> None:
    """Backups from the future are no reason to make none, and go before the newest does."""
    folder = path.parent / "backups"
    folder.mkdir()
    (folder / name(hours=1000)).touch()
    async with rotating(path, ticking(autojump_clock), keep=1) as (_, log):
        await log.wait(2)
        assert os.listdir(folder) == [name(hours=1)]


async def test_only_what_is_named_as_a_backup_is_ever_deleted(
    path: Path, autojump_clock: MockClock
) -> None:
    folder = path.parent / "backups"
    folder.mkdir()
    ours = [
        name(hours=-9),
        name(hours=-8, suffix=".db.gz"),
        name(hours=-7) + ".0123abcd.partial",  # of a process that was killed
        name(hours=-7, suffix=".db.gz") + ".0123abcd.db.partial",
        name(hours=-7, suffix=".db.gz") + ".0123abcd.db.partial-journal",
    ]
    theirs = ["imserver.db", "notes.txt", "imserver-2026.db", name(hours=-9) + ".keep", "x.partial"]
    for each in ours + theirs:
        (folder / each).touch()
    async with rotating(path, ticking(autojump_clock), keep=1, compressed=True) as (_, log):
        await log.wait(1)
        assert sorted(os.listdir(folder)) == sorted([*theirs, name(hours=0, suffix=".db.gz")])


async def test_a_failure_is_a_warning_and_tried_again(
    path: Path, autojump_clock: MockClock
) -> None:
    folder = path.parent / "backups"
    folder.touch()  # a file in its place
    async with rotating(path, ticking(autojump_clock)) as (_, log):
        await log.wait(2)
        folder.unlink()
        await log.wait(3)
        assert os.listdir(folder) == [name(hours=2 / 6)]  # every ten minutes
    for line in log.lines[:2]:
        assert line.startswith("WARNING the scheduled backup failed: ")
    assert log.lines[2].startswith("INFO ")


async def test_a_failure_deletes_nothing(path: Path, autojump_clock: MockClock) -> None:
    async with rotating(path, ticking(autojump_clock), keep=1) as (folder, log):
        await log.wait(1)
        spoil(path)
        await log.wait(4)
        assert os.listdir(folder) == [name(hours=0)]
    assert [line.split()[0] for line in log.lines] == ["INFO", "WARNING", "WARNING", "WARNING"]


async def test_a_defect_is_logged_with_where_it_is_and_ends_nothing(
    path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*args: object, **options: object) -> None:
        monkeypatch.undo()
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(rotation, "back_up", defect)
    async with rotating(path, ticking(autojump_clock)) as (_, log):
        await log.wait(2)
    assert log.lines[0] == "WARNING the scheduled backup failed: a defect"
    assert log.lines[1].startswith("INFO backed up")


@pytest.mark.parametrize("step", ["copying", "verifying", "compressing"])
async def test_a_stop_gives_up_the_one_under_way(
    path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    reached = trio.Event()

    def hang(doing: str, done: int, total: int) -> None:
        trio.from_thread.check_cancelled()
        if doing == step:
            trio.from_thread.run_sync(reached.set)
            while True:
                trio.from_thread.check_cancelled()

    monkeypatch.setattr(rotation, "_check_cancelled", hang)
    monkeypatch.setattr("imserver.store.tools.backup._INSTRUCTIONS", 100)
    with trio.fail_after(PATIENCE):
        async with rotating(path, lambda: 10**12, compressed=True) as (folder, log):
            await reached.wait()
            assert os.listdir(folder)
    assert os.listdir(folder) == []
    assert log.lines == []


# -- in a server ------------------------------------------------------------------------------


async def test_a_server_backs_itself_up(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    with listening() as log, trio.fail_after(PATIENCE):
        async with (
            running_server(data=data, backup=Backup(every=1, keep=2)) as server,
            rest(server, "alice") as alice,
        ):
            await log.wait(1)
            await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": "hello"})
            await log.wait(4)
    made = sorted((tmp_path / "data" / "backups").iterdir())
    assert len(made) == 2
    assert "'hello'" in life.dump(made[-1])


async def test_a_server_does_not_mind_when_its_backups_fail(tmp_path: Path) -> None:
    (tmp_path / "backups").touch()
    with listening() as log, trio.fail_after(PATIENCE):
        async with (
            running_server(data=str(tmp_path), backup=Backup(every=1)) as server,
            rest(server, "alice") as alice,
        ):
            await log.wait(2)
            body = {"receiver_id": "bob", "content": "hello"}
            assert (await alice.post("/api/v1/messages", body))["success"]
    assert {line.split()[0] for line in log.lines} == {"WARNING"}


async def test_without_the_setting_there_are_none(tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path)):
        pass
    assert not (tmp_path / "backups").exists()


def test_names_sort_by_time_and_are_in_utc() -> None:
    assert backup_name(0, compressed=False) == "imserver-19700101T000000Z.db"
    assert backup_name(1_769_902_200_999, compressed=True) == "imserver-20260131T233000Z.db.gz"


async def test_the_contents_of_files_are_copied_too(tmp_path: Path) -> None:
    settings = {
        "data": str(tmp_path / "data"),
        "backup": Backup(every=1, folder=str(tmp_path / "b")),
    }
    async with running_server(**settings) as server, httpx.AsyncClient() as client:
        answer = await client.post(
            f"{server.url}/api/v1/files", content=b"hello", headers={"X-User-ID": "alice"}
        )
        digest = answer.json()["file"]["sha256"]
        copy = tmp_path / "b" / "files" / digest[:2] / digest
        with trio.fail_after(PATIENCE):
            while not copy.exists():  # noqa: ASYNC110 - the disk tells nobody
                await trio.sleep(0.05)
        assert copy.read_bytes() == b"hello"

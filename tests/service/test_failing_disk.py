"""The disk fails at the first call, at the second, at the third, ... until a whole life passes.

As SQLite tests itself: for each kind of fault, a scripted life is lived once for each call at
which it can strike, for once or until it is healed. Whatever happens:

- what was acknowledged is there, in order, once, also after a power cut;
- what was refused is not there, or is stored exactly once when it is sent again;
- whoever was connected all the while got every message that there is, once and in order;
- what is answered is the truth or `unavailable`; nothing else fails, and nothing hangs;
- `health` says that it is degraded, until all is well again.

`TEST_FAULTS` says at how many of the calls, spread over the life, each fault strikes (default 5;
0: at every one, which takes a quarter of an hour).
"""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING, Any

import apsw
import pytest
import trio

from imserver.domain.errors import ApiError
from imserver.store.database import StoreError, open_database
from imserver.store.tools.check import check
from tests.service.engines import Caller, Code, Engines, MemoryLink, answered
from tests.support.disk import FAULTS, Disk, Fault, mounted

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator
    from pathlib import Path

STRIKES = int(os.environ.get("TEST_FAULTS", "5"))
BURSTS = 5
LONG = "x" * 9_000  # more than two pages of the file


class Life:
    """What clients do, and all they know."""

    def __init__(self, folder: Path) -> None:
        (folder / "0").mkdir(parents=True)
        # The WAL is folded in all the time, and the cache is too small to spare any reading.
        self.engines = Engines(folder, synchronous="FULL", folded_pages=12, retry=0.001)
        self.acknowledged: dict[str, str] = {}  # message ids by client_msg_id
        self.refused: dict[str, Code] = {}
        self.offered: dict[str, dict[str, Any]] = {}  # sends by client_msg_id
        self.group = self.engines.run(
            self.engines.write, "create_group", Caller("ann"), {"name": "g", "members": ["bob"]}
        )["group"]["id"]
        link = self.engines.connect("bob").link
        assert isinstance(link, MemoryLink)
        self.link = link
        self.engines.database.writer.execute("PRAGMA cache_size = 4")

    def offer(self, number: int) -> None:
        """A burst: three sends in one transaction, one of them new to the database."""
        targets = [
            {"receiver_id": "bob"},
            {"group_id": self.group},
            {"receiver_id": "bob"},
        ]
        keys = []
        for place, target in enumerate(targets):
            key = f"{number}-{place}"
            text = key if place else key + LONG
            self.offered[key] = target | {"content": text, "client_msg_id": key}
            keys.append(key)
        self.send(keys)

    def send(self, keys: list[str]) -> None:
        """Send, all at one moment, and note what comes of it."""
        engines = self.engines
        ann = Caller("ann")
        commands = [engines.command("send_message", ann, self.offered[key]) for key in keys]
        for key, answer in zip(keys, engines.run(engines.burst, commands), strict=True):
            said = answered("send_message", answer)
            if isinstance(answer, ApiError):
                assert said is Code.UNAVAILABLE, said
                self.refused[key] = said
                assert self.health() == "degraded"
            else:
                assert self.acknowledged.setdefault(key, said["message_id"]) == said["message_id"]
                self.refused.pop(key, None)

    def health(self) -> str:
        """What the server says of itself."""
        status: str = self.engines.immediate("health", Caller(""), {})["status"]
        return status

    def acknowledge(self) -> None:
        """The reader has something; that may be refused too."""
        if self.acknowledged:
            request = {"message_id": next(iter(self.acknowledged.values())), "status": "read"}
            answer = self.engines.run(self.engines.write, "ack", Caller("bob"), request)
            assert answer in ({"success": True}, Code.UNAVAILABLE), answer

    def look(self) -> None:
        """Everything is read; where that is possible, it is the truth."""
        page = self.page()
        if page is not Code.UNAVAILABLE:
            self.hold_against(page)

    def page(self) -> Any:
        """What bob has, or why he cannot have it."""
        request = {"last_message_id": "msg_0", "limit": 200, "include_own": True}
        engines = self.engines
        page = engines.run(engines.ask, "sync_offline", Caller("bob"), request)
        return page if page is Code.UNAVAILABLE else page["messages"]

    def hold_against(self, messages: list[dict[str, Any]]) -> None:
        """What was acknowledged is there in its place, and nothing twice."""
        seqs = [int(message["id"].removeprefix("msg_")) for message in messages]
        assert seqs == sorted(set(seqs))
        contents = [message["content"] for message in messages]
        by_id = {message["id"]: message["content"] for message in messages}
        for key, message_id in self.acknowledged.items():
            assert by_id[message_id] == self.offered[key]["content"]
        for offer in self.offered.values():
            assert contents.count(offer["content"]) <= 1, "stored twice"

    def live(self) -> None:
        """The whole script."""
        for number in range(BURSTS):
            self.offer(number)
            self.acknowledge()
            self.look()

    def mend(self) -> None:
        """All is well: it is noticed, what was refused is sent again, everybody has everything."""
        self.engines.run(self._healed)
        self.look()
        for key in list(self.refused):
            self.send([key])
        assert not self.refused
        assert self.acknowledged.keys() == self.offered.keys()
        messages = self.page()
        self.hold_against(messages)
        pushed = [
            frame["data"]
            for frame in self.link.received()
            if frame["type"] in ("new_message", "new_group_message")
        ]
        contents = [message["content"] for message in messages if message["sender_id"] == "ann"]
        assert [message["content"] for message in pushed] == contents, "not what was pushed"
        self.offer(99)
        assert not self.refused

    async def _healed(self) -> None:
        while self.health() != "ok":  # nobody asks for anything
            await trio.lowlevel.checkpoint()

    def after_power_cut(self, disk: Disk, folder: Path, luck: random.Random | None) -> None:
        """What is left on the disk now is whole, and has what was acknowledged."""
        (folder / "0").mkdir(parents=True)
        disk.power_cut(folder / "0", luck)
        before, self.engines = self.engines, Engines(folder, synchronous="FULL")
        try:
            self.hold_against(self.page())
            assert_sound(folder)
        finally:
            self.engines.stop()
            self.engines = before


def assert_sound(folder: Path) -> None:
    """The file keeps its laws; looked at past the disk."""
    apsw.set_default_vfs("unix")
    try:
        findings = check(folder / "0" / "imserver.db")
        assert not [finding for finding in findings if finding.problems]
    finally:
        apsw.set_default_vfs(Disk.NAME)


@pytest.fixture
def disk() -> Iterator[Disk]:
    with mounted() as disk:
        yield disk


def live_through(folder: Path, disk: Disk, fault: Fault, after: int, *, lasting: bool) -> None:
    """One life, in which a fault strikes when so many calls were made."""
    life = Life(folder)
    try:
        disk.arm(fault, after=after, lasting=lasting)
        life.live()
        assert disk.struck
        disk.heal()
        life.after_power_cut(disk, folder / "cut", None)
        life.after_power_cut(disk, folder / "lucky", random.Random(after))
        life.mend()
    finally:
        disk.heal()
        life.engines.stop()
    assert_sound(folder)


def calls_of_a_life(folder: Path, disk: Disk) -> Counter[str]:
    """How often each method is called while nothing fails."""
    life = Life(folder)
    before = disk.calls.copy()
    life.live()
    calls = disk.calls - before
    assert not life.refused
    life.mend()
    life.engines.stop()
    return calls


def spread(calls: int) -> list[int]:
    """Which of so many calls fail, the first and the last among them."""
    if not STRIKES or calls <= STRIKES:
        return list(range(calls))
    return sorted({round(place * (calls - 1) / (STRIKES - 1)) for place in range(STRIKES)})


@pytest.mark.expects_error_log
@pytest.mark.parametrize("lasting", [False, True], ids=["once", "lasting"])
@pytest.mark.parametrize("name", ["write", "full", "short write", "sync", "read", "size"])
def test_whatever_call_fails_nothing_acknowledged_is_lost_and_it_heals(
    name: str, lasting: bool, disk: Disk, tmp_path: Path
) -> None:
    fault = FAULTS[name]
    calls = calls_of_a_life(tmp_path / "sound", disk)[fault.call]
    for after in spread(calls):
        live_through(tmp_path / str(after), disk, fault, after, lasting=lasting)


# What the VFS raises where SQLite goes on, or closes, apsw tells Python's hook for such things.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["open", "lock", "read", "write", "sync", "size"])
def test_a_server_starts_as_it_should_or_says_in_a_sentence_that_it_cannot(
    name: str, disk: Disk, tmp_path: Path
) -> None:
    sentences: list[str] = []
    struck = True
    after = 0
    while struck:
        path = tmp_path / str(after) / "imserver.db"
        disk.arm(FAULTS[name], after=after, lasting=False)
        try:
            with open_database(str(path)) as database:
                struck = disk.struck > 0
                disk.heal()
                assert database.writer.execute("PRAGMA journal_mode").get == "wal"
        except StoreError as error:
            sentences.append(str(error))
        disk.heal()
        with open_database(str(path)) as database:  # the next start finds nothing odd
            assert database.writer.execute("PRAGMA integrity_check").get == "ok"
        after += 1
    assert sentences
    assert all(sentence.startswith("cannot use the database ") for sentence in sentences)

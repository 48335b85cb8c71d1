"""The search index: what is in its file, what is not any more, and how it comes back."""

from __future__ import annotations

import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import apsw
import pytest

from imserver.store import reading
from imserver.store.database import open_database
from imserver.store.files import uploaded
from imserver.store.retention import removal
from imserver.store.search import parts
from imserver.store.search.finding import Finder, Wanted
from imserver.store.search.handover import HandOver
from imserver.store.search.indexing import Indexer
from imserver.store.search.terms import parse
from imserver.store.transaction import Transaction
from tests.support.writing import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from imserver.store.database import Database


class Bench:
    """A database and its index, step by step; the index's thread does not run."""

    def __init__(self, database: Database, hand_over: HandOver) -> None:
        self.database = database
        self.indexer = Indexer(database, hand_over, piece=3)
        self.tx = Transaction(database.writer, lambda: 1_700_000_000_000)
        self.tx.hand_over = hand_over
        self.reader = database.reader()

    def send(self, *texts: str) -> list[int]:
        tx = self.tx
        tx.begin()
        cid = tx.direct(tx.name_user("alice"), tx.name_user("bob"))
        seqs = [say(tx, cid, tx.name_user("alice"), text) for text in texts]
        tx.commit()
        return seqs

    def edit(self, seq: int, text: str) -> None:
        self.tx.begin()
        self.tx.before_change([seq])
        self.tx.db.execute("UPDATE message SET content = ? WHERE seq = ?", (text, seq))
        self.tx.commit()

    def catch_up(self) -> None:
        while self.indexer.work():
            pass

    def find(self, query: str, user: str = "bob") -> list[str]:
        finder = Finder(self.indexer)
        found: list[str] = []
        below = None
        while True:
            self.reader.execute("BEGIN")
            uid = reading.find_uid(self.reader, user)
            assert uid is not None
            page = finder.find(
                self.reader, uid, Wanted(parse(query)), below=below, limit=2, max_bytes=1 << 20
            )
            self.reader.execute("ROLLBACK")
            found += [view.content for view, _ in page.hits]
            below = page.following
            if below is None:
                return found

    def named_by_index(self, query: str) -> int:
        """How many messages the index itself says have a word."""
        with apsw.Connection(str(self.indexer.path)) as db:
            return sum(
                len(db.execute(f"SELECT rowid FROM words_{number}(?)", (query,)).fetchall())
                for (number,) in db.execute("SELECT number FROM part").fetchall()
            )

    def in_bytes(self, text: str) -> bool:
        folder = self.indexer.path.parent
        files = folder.glob(f"{self.indexer.path.name}*")
        return any(text.encode() in file.read_bytes() for file in files)


@contextmanager
def opened(folder: Path, *, clean: bool = True) -> Iterator[Bench]:
    with open_database(str(folder / "imserver.db"), synchronous="NORMAL") as database:
        bench = Bench(database, HandOver())
        yield bench
        bench.indexer.close(clean=clean)


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART", 10)


def test_what_is_not_indexed_yet_is_found_too(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        texts = [f"needle {number}" for number in range(35)]
        bench.send(*texts)
        more = True
        while more:
            assert bench.find("needle") == texts[::-1]
            assert bench.find("needle 17") == ["needle 17"]
            more = bench.indexer.work()
        assert bench.named_by_index("needle") == 35
        assert bench.find("needle") == texts[::-1]
        bench.send("needle new")
        assert bench.find("needle")[0] == "needle new"


def test_an_edit_takes_the_old_word_out_of_the_file(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        first, second = bench.send("oldsecretword stays", "other")
        bench.catch_up()
        assert bench.in_bytes("oldsecretword")
        bench.edit(first, "between")
        bench.edit(first, "fresh")
        bench.edit(second, "")  # recalled
        assert bench.find("oldsecretword") == []
        assert bench.find("fresh") == ["fresh"]  # before the index knows
        bench.catch_up()
        assert bench.find("fresh") == ["fresh"]
        assert bench.find("between") == bench.find("other") == []
        assert bench.named_by_index("oldsecretword") == bench.named_by_index("between") == 0
        for word in ("oldsecretword", "between", "other"):
            assert not bench.in_bytes(word)


def test_removed_messages_leave_the_file_and_their_parts_go(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        bench.send(*(f"verysecretword{number}" for number in range(25)))
        bench.catch_up()
        bench.tx.begin()
        removal.remove_older(bench.tx, 1_800_000_000_000, most=14)
        bench.tx.commit()
        bench.catch_up()
        assert len(bench.find("verysecretword")) == 11
        assert not bench.in_bytes("verysecretword13")
        assert set(bench.indexer.file.parts) == {1, 2}


def test_a_change_that_is_rolled_back_leaves_the_index_as_it_was(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        (seq,) = bench.send("firm")
        bench.catch_up()
        bench.tx.begin()
        bench.tx.before_change([seq])
        bench.tx.db.execute("UPDATE message SET content = 'loose'")
        bench.tx.rollback()
        bench.catch_up()
        assert bench.find("firm") == ["firm"]
        assert bench.named_by_index("firm") == 1


@pytest.mark.parametrize(
    ("bound", "value"),
    [("MOST", 2), ("MOST_CHARACTERS", 25)],  # there are 11 characters in each message
)
def test_more_changes_than_may_wait(
    bound: str, value: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"imserver.store.search.handover.{bound}", value)
    with opened(tmp_path) as bench:
        seqs = bench.send(*(f"secretword{number}" for number in range(8)))
        bench.catch_up()
        for seq in seqs:
            bench.edit(seq, "gone")
        with bench.indexer.hand_over.snapshot() as outgoing:
            assert len(outgoing.documents) == 2
        assert bench.find("secretword") == []
        assert len(bench.find("gone")) == 8
        bench.catch_up()
        assert bench.named_by_index("gone") == 8
        assert not bench.in_bytes("secretword")
        bench.edit(seqs[0], "changed")  # there is room again
        with bench.indexer.hand_over.snapshot() as outgoing:
            assert list(outgoing.documents) == seqs[:1]


def test_long_messages_go_in_piece_by_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imserver.store.search.indexing.PIECE_CHARACTERS", 1)
    with opened(tmp_path) as bench:
        bench.send(*(f"needle {number}" for number in range(25)))
        named = 0
        while named < 25:  # and never more than one at once
            bench.indexer.work()
            named += 1
            assert bench.named_by_index("needle") == named
        assert not bench.indexer.work()
        assert len(bench.find("needle")) == 25


def test_after_a_kill_what_went_unnoticed_is_found_out(tmp_path: Path) -> None:
    with opened(tmp_path, clean=False) as bench:
        bench.send(*(f"verysecretword{number}" for number in range(12)))
        bench.catch_up()
        bench.tx.hand_over = None  # the process dies before the index is told
        bench.tx.begin()
        removal.remove_older(bench.tx, 1_800_000_000_000, most=3)
        bench.tx.commit()
    with opened(tmp_path) as bench:
        bench.catch_up()
        assert len(bench.find("verysecretword")) == 9
        assert not bench.in_bytes("verysecretword2 ")
        assert bench.named_by_index("verysecretword2") == 0
        assert bench.named_by_index("verysecretword3") == 1


@pytest.mark.parametrize("harm", ["deleted", "damaged", "truncated", "no database", "old version"])
def test_it_builds_itself_again(tmp_path: Path, harm: str) -> None:
    with opened(tmp_path) as bench:
        bench.send("needle one", "needle two")
        bench.catch_up()
        path = bench.indexer.path
    match harm:
        case "deleted":
            path.unlink()
        case "damaged":
            data = bytearray(path.read_bytes())
            data[4096:] = bytes(len(data) - 4096)
            path.write_bytes(data)
        case "truncated":
            path.write_bytes(path.read_bytes()[:5000])
        case "no database":
            path.write_bytes(b"no database at all" * 100)
        case "old version":
            with apsw.Connection(str(path)) as db:
                db.execute("PRAGMA user_version = 1")
    with opened(tmp_path) as bench:
        for _ in range(3):
            try:
                bench.catch_up()
            except apsw.Error as error:
                bench.indexer._fail(error)
        assert bench.find("needle") == ["needle two", "needle one"]
        assert bench.named_by_index("needle") == 2


def test_it_is_deleted_under_a_running_server(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        bench.send("needle one")
        bench.catch_up()
        bench.indexer.path.unlink()
        assert bench.find("needle") == ["needle one"]
        bench.send("needle two")
        bench.catch_up()
        assert bench.named_by_index("needle") == 2


def test_the_index_of_another_database_does_not_count(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        with opened(tmp_path / name) as bench:
            bench.send(f"needle {name}")
            bench.catch_up()
    shutil.copy(tmp_path / "one" / "search.db", tmp_path / "two" / "search.db")
    with opened(tmp_path / "two") as bench:
        bench.catch_up()
        assert bench.find("needle two") == ["needle two"]
        assert bench.named_by_index("one") == 0


def test_the_thread_catches_up_and_ends(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        bench.send(*(f"needle {number}" for number in range(20)))
        bench.indexer.start()
        for _ in range(100):
            if bench.indexer.file is not None and bench.indexer.file.as_of == 20:
                break
            bench.indexer._stop.wait(0.05)
        bench.indexer.stop()
        assert bench.named_by_index("needle") > 0


def test_the_file_is_for_one_account(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        bench.send("needle")
        bench.catch_up()
        for file in tmp_path.glob("search.db*"):
            assert file.stat().st_mode & 0o777 == 0o600


def test_a_file_is_found_by_its_name_until_it_is_gone(tmp_path: Path) -> None:
    with opened(tmp_path) as bench:
        (seq,) = bench.send("look")
        tx = bench.tx
        tx.begin()
        file = uploaded.StoredFile("file_1", "0" * 64, "年度报告 final.pdf", 3, "application/pdf")
        uploaded.add(tx, "alice", file, uploaded.FileLimits(0, 0, 0))
        tx.before_change([seq])
        uploaded.attach(tx.db, seq, ["file_1"])
        tx.commit()
        for _ in range(2):
            assert bench.find("报告") == bench.find("look fin") == ["look"]
            bench.catch_up()
        assert bench.named_by_index("告") == bench.named_by_index("h1") == 1
        tx.begin()
        tx.before_change([seq])
        uploaded.detach(tx.db, [seq])
        tx.commit()
        assert bench.find("报告") == []
        bench.catch_up()
        assert bench.named_by_index("告") == bench.named_by_index("h1") == 0
        assert bench.find("look") == ["look"]

"""Keeping the index up with the database, behind the commits.

Laws:

- No write waits for the index. It works in a thread of its own at low priority, in small pieces
  with a rest behind each; what is not in it yet is scanned by whoever searches. While messages keep
  coming it rests longer, until it is too far behind.
- A piece is one transaction of the index, and all of it is as of one snapshot of the database: what
  changed since the last one goes first, then come new messages, the newest part first.
- A thread that cannot work says so once, rests and tries again. An index that is damaged or does
  not fit on the disk is deleted, and built again later.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Final

import apsw

from imserver.store import reading
from imserver.store.search import documents
from imserver.store.search.handover import HandOver
from imserver.store.search.parts import IndexFile, empty_part, index_beside, part_of, remove_index

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imserver.store.database import Database
    from imserver.store.search.documents import Document
    from imserver.store.search.handover import Outgoing

logger = logging.getLogger(__name__)

PIECE: Final = 400  # messages put into the index at once, at the most
PIECE_CHARACTERS: Final = 1 << 20  # of their contents; the message that exceeds it is the last
_NICENESS: Final = 10
_BUSY_REST: Final = 9.0  # rests behind a piece while messages come, each as long as the piece took
_FAR_BEHIND: Final = 100_000  # places; beyond, it rests no longer than it works
_GATHER: Final = 0.3  # seconds in which news gather before they are looked at
_RETRY: Final = 2.0  # seconds until it tries again; doubled each time, up to:
_LONGEST_RETRY: Final = 600.0

_CHANGED: Final = "SELECT DISTINCT target_seq FROM change WHERE seq > ?"
_HAS_CHANGES: Final = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'change'"
_SEQS: Final = "SELECT seq FROM message WHERE seq BETWEEN ? AND ?"
_OLDEST: Final = "SELECT min(seq) FROM message"


@contextmanager
def indexing(database: Database) -> Iterator[Indexer]:
    """Keep an index beside a database while the context lasts."""
    indexer = Indexer(database, HandOver())
    indexer.start()
    try:
        yield indexer
    finally:
        indexer.stop()


class Indexer:
    """Owner of the index's file, of the thread that writes it and of that thread's connection."""

    def __init__(self, database: Database, hand_over: HandOver, *, piece: int = PIECE) -> None:
        self.hand_over = hand_over
        self.path = index_beside(database.path)
        self._database = Path(database.path)
        self._main = database.reader()
        self._piece = piece
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="search index", daemon=True)
        self._retry = _RETRY
        self._suspect = False  # a search could not read it
        self._behind = 0  # places that are not in it yet, of the newest part
        self.file: IndexFile | None = None  # None: there is none at the moment
        self.failure: str | None = None  # why it cannot be kept, or None

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def stop(self) -> None:
        """End the work under way; returns when nothing of it is open any more."""
        self._stop.set()
        self.hand_over.news.set()
        self._thread.join()

    def suspect(self) -> None:
        """A search could not read the index: it is built again."""
        self._suspect = True
        self.hand_over.news.set()

    def work(self) -> bool:
        """Do one piece; says whether there is more to do.

        Raises:
            apsw.Error: the index or the database fails.
            OSError: its file cannot be made.
        """
        if self.file is not None and (self._suspect or not self.file.is_there):
            self._discard()
        self._suspect = False
        if self.file is None:
            file = IndexFile(self.path, self._database)
            try:
                self._look_through(file)
            except BaseException:
                file.close(clean=False)
                raise
            self.file = file
        file = self.file
        with self.hand_over.snapshot() as outgoing:
            self._main.execute("BEGIN")
            newest = reading.newest_seq(self._main)
        removed = False
        try:
            with file.writing(newest):
                removed = self._take_out(file, outgoing)
                self._drop_empty(file)
                more = self._put_in(file, newest)
        finally:
            if not self._main.get_autocommit():
                self._main.execute("ROLLBACK")
        self.hand_over.done(outgoing)
        file.fold(truncate=removed)
        return more

    def close(self, *, clean: bool) -> None:
        """Close the file; `clean` says that all of it is as of one snapshot."""
        file, self.file = self.file, None
        if file is not None:
            file.close(clean=clean)

    def _run(self) -> None:
        if sys.platform == "linux":  # elsewhere a thread has no priority of its own
            with suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while not self._stop.is_set():
            self.hand_over.news.clear()
            begun = perf_counter()
            try:
                more = self.work()
            except Exception as error:
                self._fail(error)
                self._stop.wait(self._retry)
                continue
            self._retry, self.failure = _RETRY, None
            if more:
                busy = self.hand_over.news.is_set() and self._behind < _FAR_BEHIND
                self._stop.wait((perf_counter() - begun) * (_BUSY_REST if busy else 1))
            else:
                self.hand_over.news.wait()
                self._stop.wait(_GATHER)
        self.close(clean=self.failure is None)

    def _fail(self, error: Exception) -> None:
        if self.failure is None:
            known = isinstance(error, (apsw.Error, OSError))
            logger.warning("the search index cannot be kept: %s", error, exc_info=not known)
        self.failure = type(error).__name__
        if not isinstance(error, apsw.BusyError):
            self._discard()
        self._retry = min(2 * self._retry, _LONGEST_RETRY)

    def _discard(self) -> None:
        self.close(clean=False)
        with suppress(OSError):
            remove_index(self.path)

    def _look_through(self, file: IndexFile) -> None:
        """After an end without order: drop the parts in which something changed unnoticed."""
        stale = set()
        if file.as_of > reading.newest_seq(self._main):
            stale = set(file.parts)
        elif not file.clean:
            if reading.one(self._main, _HAS_CHANGES) is not None:
                changed = reading.every(self._main, _CHANGED, (file.as_of,))
                stale = {part_of(seq) for (seq,) in changed}
            for number, part in file.parts.items():
                there = reading.every(self._main, _SEQS, (part.first, part.upto))
                if number not in stale and file.seqs(number) - {seq for (seq,) in there}:
                    stale.add(number)
        for number in stale & set(file.parts):
            with file.writing(file.as_of):
                file.drop(number)
        file.fold(truncate=bool(stale))

    def _take_out(self, file: IndexFile, outgoing: Outgoing) -> bool:
        """What changed or went since the last piece; says whether there was such."""
        for number in {part_of(seq) for seq in outgoing.unknown if file.holds(seq)}:
            file.drop(number)
        old = [document for seq, document in outgoing.documents.items() if file.holds(seq)]
        file.remove(old)
        by_part: dict[int, list[Document]] = {}
        for document in documents.read_each(self._main, (document.seq for document in old)):
            by_part.setdefault(part_of(document.seq), []).append(document)
        for number, present in by_part.items():
            file.add(number, present)
        return bool(old or outgoing.unknown)

    def _drop_empty(self, file: IndexFile) -> None:
        oldest = reading.one(self._main, _OLDEST)[0]
        for number, part in list(file.parts.items()):
            if oldest is None or part.last < oldest:
                file.drop(number)

    def _put_in(self, file: IndexFile, newest: int) -> bool:
        """New messages, of the newest part that lacks some; says whether there may be more."""
        oldest = reading.one(self._main, _OLDEST)[0]
        if oldest is None:
            return False
        for number in range(part_of(newest), part_of(oldest) - 1, -1):
            part = file.parts.get(number) or empty_part(number)
            end = min(part.last, newest)
            if part.upto >= end:
                continue
            found, whole = self._next_piece(part.upto, end)
            upto = end if whole else found[-1].seq
            file.add(number, found, upto)
            self._behind = newest - upto if number == part_of(newest) else 0
            if whole and end == part.last:
                file.optimize(number)
            return not whole or number > part_of(oldest)
        return False

    def _next_piece(self, after: int, end: int) -> tuple[list[Document], bool]:
        """As many messages as go in at once, and whether no more are left up to `end`."""
        found: list[Document] = []
        characters = 0
        place = (after, end, self._piece)
        for document in documents.iterate(self._main, documents.FORWARDS, place):
            found.append(document)
            characters += len(document.content)
            if characters > PIECE_CHARACTERS:
                return found, document.seq == end
        return found, len(found) < self._piece or found[-1].seq == end

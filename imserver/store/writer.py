"""The one writer: group commit.

Laws:

- Changes run in the order in which they were submitted. All that wait run in one transaction, in a
  worker thread. Large changes wait apart: one runs at the end of each batch. While one batch is
  synced to disk, the next one gathers. There is no timer.
- A change checks before it writes: if it raises `ApiError`, it has changed nothing, and the others
  are not affected. Any other exception is a defect: the batch is rolled back and run again one by
  one, so that only the faulty change fails.
- `done` is called in the trio thread, in commit order, and only when the commit is on disk.
- Nothing is promised for a change whose `done` was called with an `ApiError`.
- The WAL is checkpointed here, between batches, and not by SQLite within a commit: no write waits
  for it, and a failure is noticed (SQLite would not report it while the WAL grows).
- After a failure the writer tries again by itself, so that it recovers without any request.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

import trio

from imserver.domain.errors import ApiError, Code
from imserver.store.database import STORAGE_FAILURES, STORE_FAILURES, StoreGoneError
from imserver.store.transaction import Transaction
from imserver.store.writer_thread import Worker
from imserver.tally import SECONDS, WRITES, Histogram

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from imserver.store.database import Database
    from imserver.store.search.handover import HandOver

logger = logging.getLogger(__name__)

Done = Callable[[Any], None]

MOST_LARGE: Final = 256  # large changes that may wait
FOLDED_PAGES: Final = 1000  # in the WAL until it is folded in; SQLite's own measure
RETRY: Final = 2.0  # seconds until what failed is tried again


class Applied(Protocol):
    """One write."""

    appends: ClassVar[bool]  # it reads no messages, so earlier ones need not be flushed before it

    def apply(self, tx: Transaction) -> Any:
        """Check and write, in the writer's thread.

        Raises:
            ApiError: a refusal; nothing may have been written before it.
        """


class _Trial:
    """A write that changes nothing, to test whether the store accepts writes."""

    appends: ClassVar = False

    def apply(self, tx: Transaction) -> None:
        """Write, and take it back."""
        tx.try_out()


class Writer:
    """Owner of the queue of writes and of the only connection that writes."""

    def __init__(
        self,
        database: Database,
        clock: Callable[[], int],
        *,
        capacity: int,
        max_batch: int,
        after_batch: Callable[[], None],
        accounts_only: bool = False,
        hand_over: HandOver | None = None,
        folded_pages: int = FOLDED_PAGES,
        retry: float = RETRY,
    ) -> None:
        self._turn = database.turn if database.in_memory else None
        self._tx = Transaction(database.writer, clock, accounts_only=accounts_only)
        self._tx.hand_over = hand_over
        self._capacity = capacity
        self._max_batch = max_batch
        self._after_batch = after_batch
        self._queue: deque[tuple[Applied, Done]] = deque()
        self._large: deque[tuple[Applied, Done]] = deque()  # one of them goes with each batch
        self._wake = trio.Event()
        self._room = trio.Event()
        self._closing = False
        self._closed = trio.Event()
        self._waiting_since = 0.0  # when the oldest of the queue came, by `perf_counter`
        self._sync_seconds: float | None = None  # of the last commit; None: there was none
        self.batches = Histogram(WRITES)  # writes in each
        self.commits = Histogram(SECONDS)  # how long each took to be on disk
        self.waits = Histogram(SECONDS)  # how long each write took at the most, queueing included
        self.failure: str | None = None  # why the last transaction could not be kept, or None
        self.folding_failure: str | None = None  # why the WAL could not be folded in, or None
        self._database = database
        self._folded_pages = folded_pages
        self._retry = retry
        self._wal_pages = 0  # in the WAL after the last commit
        self._fold_again = 0.0  # not before, by `perf_counter`
        if not database.in_memory:
            database.writer.set_wal_hook(self._note_wal)  # in place of SQLite's own folding

    @property
    def queued(self) -> int:
        """How many writes wait for the next batch."""
        return len(self._queue) + len(self._large)

    @property
    def stored(self) -> dict[str, int]:
        """How many messages of each type were stored since the start."""
        return self._tx.stored

    @property
    def closing(self) -> bool:
        """Whether nothing more is accepted."""
        return self._closing

    @property
    def full(self) -> bool:
        """Whether those who submit should first `wait_room`."""
        return len(self._queue) >= self._capacity

    async def wait_room(self) -> None:
        """Wait until the queue is no longer full."""
        while self.full:
            await self._room.wait()

    def submit(self, change: Applied, done: Done, *, large: bool = False) -> None:
        """Queue a write; `done` is called later, in this thread.

        A `large` one waits apart, so that many of them do not hold up the others. Whoever submits
        one submits nothing else of the same client before it is done.

        It gets what `apply` returned, once that is on disk, or an `ApiError` instead.

        The bound is kept by the callers, who `wait_room` before they take the next request.

        Raises:
            ApiError: `unavailable`, while shutting down, or if too many large ones wait.
        """
        if self._closing:
            raise ApiError(Code.UNAVAILABLE, "The server is shutting down")
        if large and len(self._large) >= MOST_LARGE:
            raise ApiError(
                Code.UNAVAILABLE, "Too many large changes are waiting", retry_after_ms=1000
            )
        if not self._queue and not self._large:
            self._waiting_since = perf_counter()
        (self._large if large else self._queue).append((change, done))
        self._wake.set()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until closed; returns when everything accepted before was answered."""
        with Worker("imserver-writer") as worker:
            task_status.started()
            await self._write_until_closed(worker)

    async def _write_until_closed(self, worker: Worker) -> None:
        while True:
            if not self._queue and not self._large:
                if self._closing:
                    self._closed.set()
                    return
                self._wake = trio.Event()
                looks = self.failing or not self._database.in_memory
                with trio.move_on_after(self._retry if looks else inf) as patience:
                    await self._wake.wait()
                if patience.cancelled_caught and (self.failure is not None or self._is_gone()):
                    self.submit(_Trial(), _ignore)
                elif patience.cancelled_caught and self.folding_failure is not None:
                    await worker.run(self._fold)
                continue
            batch = [self._queue.popleft() for _ in range(min(len(self._queue), self._max_batch))]
            if self._large:
                batch.append(self._large.popleft())
            since = self._waiting_since  # what stays behind is no older, so it may stay as it is
            # What was accepted is finished: a cancelled server waits for the batch under way.
            results = await worker.run(partial(self._write, [change for change, _ in batch]))
            for (_, done), result in zip(batch, results, strict=True):
                done(result)
            self._after_batch()
            self._measure(len(batch), perf_counter() - since)
            if not self.full:
                self._room.set()
                self._room = trio.Event()
            if self._wal_pages >= self._folded_pages or self.folding_failure is not None:
                await worker.run(self._fold)

    def _measure(self, writes: int, seconds: float) -> None:
        # Nobody looks at the clock for each write: the oldest of a batch stands for all of it.
        self.batches.observe(writes)
        self.waits.observe(seconds, writes)
        if self._sync_seconds is not None:
            self.commits.observe(self._sync_seconds)

    @property
    def failing(self) -> bool:
        """Whether something is wrong with the store."""
        return self.failure is not None or self.folding_failure is not None

    def _is_gone(self) -> bool:
        try:
            self._database.require_there()
        except StoreGoneError:
            return True
        return False

    async def try_again(self) -> None:
        """See whether the store takes writes; `failure` says it afterwards.

        Raises:
            ApiError: `unavailable`, while shutting down.
        """
        ended = trio.Event()
        self.submit(_Trial(), lambda _: ended.set())
        await ended.wait()

    def close(self) -> None:
        """Accept nothing more; `run` returns when the queue is empty."""
        self._closing = True
        self._wake.set()

    async def wait_closed(self) -> None:
        """Wait until everything accepted before `close` is answered."""
        await self._closed.wait()

    # -- in the worker thread -----------------------------------------------------------------

    def _write(self, batch: Sequence[Applied]) -> list[Any]:
        if self._turn is None:
            return self._commit(batch)
        with self._turn:
            return self._commit(batch)

    def _commit(self, batch: Sequence[Applied]) -> list[Any]:
        self._sync_seconds = None
        try:
            self._tx.begin()
            results = [self._apply(change) for change in batch]
            self._database.require_there()
            begun = perf_counter()
            self._tx.commit()
            self._sync_seconds = perf_counter() - begun
        except STORE_FAILURES as error:
            return self._refuse(batch, error)
        except Exception:
            self._rollback()
            if len(batch) > 1:
                return [self._commit([change])[0] for change in batch]
            logger.exception("a write failed")
            return [ApiError(Code.INTERNAL)]
        if self.failure is not None:
            logger.warning("the store accepts writes again")
            self.failure = None
        return results

    def _apply(self, change: Applied) -> Any:
        if not change.appends:
            self._tx.flush()
        try:
            return change.apply(self._tx)
        except ApiError as refusal:
            return refusal

    def _refuse(self, batch: Sequence[Applied], error: Exception) -> list[Any]:
        if self.failure is None:
            logger.error("the store refuses writes: %s", error)
        self.failure = type(error).__name__
        self._rollback()
        return [ApiError(Code.UNAVAILABLE) for _ in batch]

    def _note_wal(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._wal_pages = pages
        return 0

    def _fold(self) -> None:
        now = perf_counter()
        if self.folding_failure is not None and now < self._fold_again:
            return
        try:
            self._database.fold()
        except STORAGE_FAILURES as error:
            if self.folding_failure is None:
                logger.error("the WAL cannot be folded into the database and grows: %s", error)
            self.folding_failure = type(error).__name__
            self._fold_again = now + self._retry
            return
        if self.folding_failure is not None:
            logger.warning("the WAL is folded into the database again")
            self.folding_failure = None

    def _rollback(self) -> None:
        try:
            self._tx.rollback()
        except STORAGE_FAILURES:
            logger.exception("a transaction could not be rolled back")


def _ignore(stored: Any) -> None:
    """What came of a trial is the writer's `failure`."""

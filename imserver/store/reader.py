"""The read pool: a few connections, each used by one worker thread at a time.

In WAL mode they read while the writer writes. A database in memory has one connection, which the
readers and the writer share in turns. Callers take turns too: many reads of one caller delay
another by one read, and heavy reads leave one connection for light ones. No caller's read takes
longer than `MOST_SECONDS`.
"""

from __future__ import annotations

from contextlib import contextmanager
from time import monotonic
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from apsw import InterruptError

from imserver.domain.errors import ApiError, Code
from imserver.store.database import STORAGE_FAILURES
from imserver.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import apsw

    from imserver.store.database import Database

T = TypeVar("T")

MOST_SECONDS: Final = 10.0  # of one question of a caller; the server's own take as long as they do
_STEPS: Final = 10_000  # of SQLite's machine, some 1 ms, between two looks at the clock
_MOST_WAITING: Final = 10_000  # questions
_MOST_OF_ONE: Final = 200  # questions of one caller; a user may have 50 WebSockets


class Reader:
    """Runs questions in worker threads. Owner of the idle connections."""

    def __init__(self, database: Database, connections: int) -> None:
        self._turn = database.turn if database.in_memory else None
        count = 1 if database.in_memory else connections
        self._idle = [database.reader() for _ in range(count)]
        self._limiter = trio.CapacityLimiter(count)  # never full: `_turns` admits as many
        self._turns = Turns(
            count,
            for_light=1 if count > 1 else 0,
            most_waiting=_MOST_WAITING,
            most_of_one=_MOST_OF_ONE,
        )

    @property
    def waiting(self) -> int:
        """How many questions wait for a connection."""
        return self._turns.waiting

    async def ask(
        self, question: Callable[[apsw.Connection], T], *, by: str = "", heavy: bool = False
    ) -> T:
        """Run `question` on a connection of its own, inside one read transaction.

        `by` is the caller, whose questions take turns with those of others; "" is the server.
        `heavy` is a question whose answer may be long.

        Raises:
            ApiError: what `question` raises; `unavailable` where the store fails or the
                question takes too long; `rate_limited`
                if too many questions of the caller wait.
        """
        async with self._turns.turn(by, heavy=heavy):
            return await trio.to_thread.run_sync(
                self._run, question, bool(by), limiter=self._limiter
            )

    def _run(self, question: Callable[[apsw.Connection], T], bounded: bool) -> T:
        if self._turn is not None:
            with self._turn, _bounded(self._idle[0], bounded):
                return question(self._idle[0])
        db = self._idle.pop()
        try:
            db.execute("BEGIN")
            try:
                with _bounded(db, bounded):
                    return question(db)
            finally:
                if not db.get_autocommit():  # a failing disk ends the transaction by itself
                    db.execute("ROLLBACK")
        except STORAGE_FAILURES as error:
            raise ApiError(Code.UNAVAILABLE, "The store cannot be read at the moment") from error
        finally:
            self._idle.append(db)


@contextmanager
def _bounded(db: apsw.Connection, bounded: bool) -> Iterator[None]:
    """Interrupt the statement that runs when `MOST_SECONDS` are over."""
    if not bounded:
        yield
        return
    until = monotonic() + MOST_SECONDS
    db.set_progress_handler(lambda: monotonic() > until, _STEPS)
    try:
        yield
    except InterruptError:
        raise ApiError(Code.UNAVAILABLE, "The answer would take too long to find") from None
    finally:
        db.set_progress_handler(None)

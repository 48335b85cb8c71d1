"""What the index is told by the writer: messages as they stood before they changed or went.

To take words out of the index one has to know them, and the database does not have them any more.
Laws:

- What was handed over is committed, and whoever holds the lock sees all of it: a snapshot that is
  begun under the lock and what is waiting then belong together.
- It is bounded: when more waits than `MOST` or `MOST_CHARACTERS`, only the places are kept, and the
  index builds the parts that they are in again.
"""

from __future__ import annotations

from contextlib import contextmanager
from threading import Event, Lock
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imserver.store.search.documents import Document

MOST: Final = 20_000  # documents that wait
MOST_CHARACTERS: Final = 8 << 20  # of their contents


class Outgoing(NamedTuple):
    """What waited at one moment."""

    documents: dict[int, Document]  # by place, as they stood before the first change
    unknown: set[int]  # places of which nothing more is known
    waiting: int  # of what waited, for `done`


class HandOver:
    """From the writer's thread to the index's. Owner of what waits between them."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: list[Document] = []
        self._characters = 0  # of the contents of what waits
        self._unknown: set[int] = set()
        self.news = Event()  # set when something was committed

    @contextmanager
    def committing(self, documents: Sequence[Document]) -> Iterator[None]:
        """Commit what changes messages that stood like this; nothing waits if that fails."""
        with self._lock:
            yield
            characters = self._characters + _characters(documents)
            if len(self._waiting) + len(documents) > MOST or characters > MOST_CHARACTERS:
                self._unknown.update(document.seq for document in documents)
            else:
                self._waiting += documents
                self._characters = characters
        self.news.set()

    @contextmanager
    def snapshot(self) -> Iterator[Outgoing]:
        """Hold commits back, for as long as it takes to begin to read the database."""
        with self._lock:
            first: dict[int, Document] = {}
            for document in self._waiting:
                first.setdefault(document.seq, document)
            yield Outgoing(first, set(self._unknown), len(self._waiting))

    def done(self, outgoing: Outgoing) -> None:
        """What waited then is in the index."""
        with self._lock:
            self._characters -= _characters(self._waiting[: outgoing.waiting])
            del self._waiting[: outgoing.waiting]
            self._unknown -= outgoing.unknown

    def places(self) -> list[int]:
        """The places of all that waits: there the index says what was."""
        with self._lock:
            return sorted({document.seq for document in self._waiting} | self._unknown)


def _characters(documents: Sequence[Document]) -> int:
    return sum(len(document.content) for document in documents)

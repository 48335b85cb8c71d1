"""A search: newest first, through the index and through what is not in it yet.

Laws:

- The index only says where to look. Whether a message is the user's to see, and has what is looked
  for, is seen in the database; so whatever the index has late or wrong, no hit is.
- One search looks at so many messages and for so long at the most. Then it says where to go on.
"""

from __future__ import annotations

from heapq import merge
from time import perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw
import msgspec

from imserver.store import message_rows, reading, viewing
from imserver.store.search import documents
from imserver.store.search.parts import empty_part, matching, part_of
from imserver.store.search.terms import expression, find_ranges

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from imserver.domain.model import Message
    from imserver.store.search.documents import Document
    from imserver.store.search.indexing import Indexer
    from imserver.store.search.parts import Part, View
    from imserver.store.search.terms import Range, Term

_SCANNED: Final = 5000  # messages that are not in the index, a search
_CANDIDATES: Final = 5000  # messages that the index names, a search
_SECONDS: Final = 0.1
_STEP: Final = 64  # messages between two looks at the clock
_NAMED: Final = 600  # conversations of a user that an expression names; of more it names none
_CHEAP: Final = 32  # conversations that cost nothing to name
_TRIED: Final = 200  # messages of a part that are looked at before many conversations are named

_INTERVALS: Final = "SELECT cid, from_seq, to_seq FROM membership WHERE uid = ?"
_OLDEST: Final = "SELECT min(seq) FROM message"


class Wanted(NamedTuple):
    """What is looked for."""

    terms: Sequence[Term]
    cid: int | None = None
    sender_uid: int | None = None
    type: int | None = None  # index into MESSAGE_TYPES
    has: str | None = None
    before_ms: int | None = None
    after_ms: int | None = None


class Found(NamedTuple):
    """A page of hits; with `following`, it goes on below that place."""

    hits: list[tuple[Message, list[Range]]]
    following: int | None


class Finder:
    """Runs searches. Without an index everything is scanned."""

    def __init__(self, indexer: Indexer | None = None) -> None:
        self._indexer = indexer

    def find(
        self,
        db: apsw.Connection,
        uid: int,
        wanted: Wanted,
        *,
        below: int | None,
        limit: int,
        max_bytes: int,
    ) -> Found:
        """The hits of a user below a place, or from the newest on; run in a reader's thread."""
        indexer = self._indexer
        file = None if indexer is None else indexer.file
        if indexer is None or file is None:
            return _Search(db, uid, wanted, None, ()).page(below, limit, max_bytes)
        stale = indexer.hand_over.places()  # before the index is: it may be ahead of them
        try:
            with file.reading() as view:
                return _Search(db, uid, wanted, view, stale).page(below, limit, max_bytes)
        except _IndexError:
            indexer.suspect()
        except apsw.Error:  # it was closed or deleted meanwhile, or is damaged
            pass
        return _Search(db, uid, wanted, None, ()).page(below, limit, max_bytes)


class _IndexError(Exception):
    """The index cannot be read."""


class _Search:
    def __init__(
        self,
        db: apsw.Connection,
        uid: int,
        wanted: Wanted,
        view: View | None,
        stale: Sequence[int],
    ) -> None:
        self._db = db
        self._uid = uid
        self._wanted = wanted
        self._view = view
        self._stale = stale
        self._intervals: dict[int, list[tuple[int, int | None]]] = {}
        for cid, first, last in reading.every(db, _INTERVALS, (uid,)):
            if wanted.cid in (None, cid):
                self._intervals.setdefault(cid, []).append((first, last))
        self._broad = ""  # the expression without the conversations
        self._expression = self._in_words()
        self._scanned = 0
        self._candidates = 0
        self._deadline = perf_counter() + _SECONDS

    def _in_words(self) -> str:
        wanted = self._wanted
        facets = []
        if wanted.sender_uid is not None:
            facets.append([documents.sender_word(wanted.sender_uid)])
        if wanted.type:
            facets.append([documents.type_word(wanted.type)])
        if wanted.has is not None:
            facets.append([documents.has_word(wanted.has)])
        terms = expression(wanted.terms)
        if terms or facets:
            self._broad = matching(terms, facets)
        if len(self._intervals) <= _NAMED or not (terms or facets):
            facets.append([documents.conversation_word(cid) for cid in self._intervals])
        return matching(terms, facets)

    def page(self, below: int | None, limit: int, max_bytes: int) -> Found:
        """One page."""
        newest = reading.newest_seq(self._db)
        top = newest if below is None else min(below - 1, newest)
        hits: list[tuple[int, list[Range]]] = []
        size = 0
        following: int | None = None
        for seq, document in self._looked_at(top):
            if document is None:  # it has looked at enough
                following = seq
                break
            ranges = self._judge(document)
            if ranges is None:
                continue
            size += len(msgspec.json.encode(document.content))
            if len(hits) == limit or (hits and size > max_bytes):
                following = hits[-1][0]
                break
            hits.append((seq, ranges))
        rows = [
            message_rows.Row(*reading.one(self._db, message_rows.BY_SEQ, seq)) for seq, _ in hits
        ]
        views = viewing.views_within(self._db, self._uid, rows, max_bytes)
        if len(views) < len(rows):
            hits = hits[: len(views)]
            following = hits[-1][0]
        return Found(
            [(view, ranges) for view, (_, ranges) in zip(views, hits, strict=True)], following
        )

    def _judge(self, document: Document) -> list[Range] | None:
        wanted = self._wanted
        fits = (
            self._may_see(document)
            and wanted.sender_uid in (None, document.sender_uid)
            and wanted.type in (None, document.type)
            and (wanted.has is None or document.has(wanted.has))
            and (wanted.before_ms is None or document.sent_ms < wanted.before_ms)
            and (wanted.after_ms is None or document.sent_ms > wanted.after_ms)
        )
        return find_ranges(wanted.terms, document.content, document.names) if fits else None

    def _may_see(self, document: Document) -> bool:
        return any(
            first <= document.seq and (last is None or document.seq <= last)
            for first, last in self._intervals.get(document.cid, ())
        )

    def _looked_at(self, top: int) -> Iterator[tuple[int, Document | None]]:
        """Messages from a place down that may be hits; a place without one: it stops here."""
        oldest = reading.one(self._db, _OLDEST)[0]
        if oldest is None or not self._intervals:
            return
        oldest = max(oldest, min(first for spans in self._intervals.values() for first, _ in spans))
        for number in range(part_of(top), part_of(oldest) - 1, -1):
            known = None if self._view is None else self._view.parts.get(number)
            part = known or empty_part(number)
            end = min(top, part.last)
            yield from self._scan(max(part.upto, oldest - 1), end)
            if known is not None and known.first <= known.upto and not self._out_of_time(known):
                yield from self._ask(number, max(part.first, oldest), min(part.upto, end))
            if perf_counter() > self._deadline and part.first > oldest:
                yield part.first, None

    def _out_of_time(self, part: Part) -> bool:
        wanted = self._wanted
        earliest, latest = part.earliest_ms, part.latest_ms
        return (wanted.before_ms is not None and earliest >= wanted.before_ms) or (
            wanted.after_ms is not None and latest <= wanted.after_ms
        )

    def _scan(self, after: int, upto: int) -> Iterator[tuple[int, Document | None]]:
        sql = documents.BACKWARDS
        more: tuple[int, ...] = ()
        if self._wanted.cid is not None:
            sql, more = documents.BACKWARDS_IN, (self._wanted.cid,)
        while upto > after:
            found = documents.read(self._db, sql, (after, upto, _STEP, *more))
            for document in found:
                yield document.seq, document
            if len(found) < _STEP:
                return
            upto = found[-1].seq - 1
            self._scanned += len(found)
            if self._scanned >= _SCANNED or perf_counter() > self._deadline:
                yield found[-1].seq, None

    def _ask(self, number: int, lowest: int, highest: int) -> Iterator[tuple[int, Document | None]]:
        assert self._view is not None
        stale = [seq for seq in reversed(self._stale) if lowest <= seq <= highest]
        named = self._named(self._view, number, lowest, highest)
        last = None
        for seq in merge(_guarded(named), stale, reverse=True):
            if seq == last:
                continue
            last = seq
            for document in documents.read_each(self._db, (seq,)):
                yield seq, document
            self._candidates += 1
            if not self._candidates % _STEP and (
                self._candidates >= _CANDIDATES or perf_counter() > self._deadline
            ):
                yield seq, None

    def _named(self, view: View, number: int, lowest: int, highest: int) -> Iterator[int]:
        if self._broad and len(self._intervals) > _CHEAP:
            # What is rare on the whole server is found before so many words are looked up.
            broad = view.matches(number, self._broad, lowest, highest)
            for tried, seq in enumerate(broad, start=1):
                yield seq
                highest = seq - 1
                if tried == _TRIED:
                    break
            else:
                return
        yield from view.matches(number, self._expression, lowest, highest)


def _guarded(named: Iterator[int]) -> Iterator[int]:
    try:
        yield from named
    except apsw.Error as error:
        raise _IndexError from error

"""A conversation's history: a page before, after or around a place in the order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from imserver.domain.model import MAX_SEQ
from imserver.store import queries
from imserver.store.message_rows import ENVELOPE_BYTES, Row
from imserver.store.reading import every, one
from imserver.store.viewing import views, weight

if TYPE_CHECKING:
    import apsw

    from imserver.domain.model import Message


class HistoryWanted(NamedTuple):
    """What a page of history is to hold. At most one of the places is given."""

    before: int | None
    after: int | None
    around: int | None
    type: int | None  # an index into MESSAGE_TYPES; None: all
    limit: int


class Stretch(NamedTuple):
    """Messages of one conversation, oldest first."""

    messages: list[Message]
    has_older: bool
    has_newer: bool


def stretch(
    db: apsw.Connection, uid: int, cid: int, wanted: HistoryWanted, *, max_bytes: int
) -> Stretch:
    """The messages of a conversation that user `uid` may see, around the place that is wanted.

    A place need not be that of a message which still exists. The work is one search in the index
    for each membership interval that the page touches, and the page's rows.
    """
    before, after, around = wanted.before, wanted.after, wanted.around
    grown: tuple[str, ...]  # the sides that the page takes from
    if around is not None:
        split, grown = around, (_NEWER, _OLDER)
    elif after is not None:
        split, grown = after + 1, (_NEWER,)
    else:
        split, grown = MAX_SEQ if before is None else before, (_OLDER,)
    room = wanted.limit // len(grown) + 2
    sides = {
        name: _Side(
            db,
            {"uid": uid, "cid": cid, "type": wanted.type, "limit": room if name in grown else 1},
            split,
            older=name == _OLDER,
        )
        for name in (_OLDER, _NEWER)
    }
    taken: dict[str, list[Row]] = {_OLDER: [], _NEWER: []}
    turns = list(grown)
    count = size = 0
    while turns and count < wanted.limit:
        name = turns[count % len(turns)]
        row = sides[name].peek()
        if row is None:
            turns.remove(name)
            continue
        size += _size(row)
        if count and size > max_bytes:
            break
        sides[name].take()
        taken[name].append(row)
        count += 1
    rows = [*reversed(taken[_OLDER]), *taken[_NEWER]]
    has_older, has_newer = (sides[name].peek() is not None for name in (_OLDER, _NEWER))
    messages = views(db, uid, rows)
    weights = [weight(message) for message in messages]
    if not any(weights):
        return Stretch(messages, has_older, has_newer)
    # What they carry was not counted. The furthest from the wanted place go until it fits.
    older, newer = (len(taken[name]) for name in (_OLDER, _NEWER))
    size = sum(weights) + sum(_size(row) for row in rows)
    first, end = 0, len(messages)
    while size > max_bytes and end - first > 1:
        if older >= newer:
            dropped, first, older, has_older = first, first + 1, older - 1, True
        else:
            dropped, end, newer, has_newer = end - 1, end - 1, newer - 1, True
        size -= weights[dropped] + _size(rows[dropped])
    return Stretch(messages[first:end], has_older, has_newer)


def _size(row: Row) -> int:
    return len(msgspec.json.encode(row.content)) + ENVELOPE_BYTES


def newest_visible(db: apsw.Connection, uid: int, cid: int) -> int | None:
    """The place of the newest message of a conversation that the user may see."""
    args = {"uid": uid, "cid": cid, "type": None, "limit": 1}
    row = _Side(db, args, MAX_SEQ, older=True).peek()
    return None if row is None else row.seq


_OLDER: Final = "older"
_NEWER: Final = "newer"


class _Side:
    """The visible messages on one side of a place, the nearest first, read in pieces."""

    def __init__(
        self, db: apsw.Connection, args: dict[str, Any], split: int, *, older: bool
    ) -> None:
        self._db = db
        self._args = args  # of each piece; `limit` is how many it may have
        self._older = older
        self._rows: list[Row] = []  # read already, the next one last
        # Where to read on; None: there is nothing more.
        self._place: int | None = split - 1 if older else split if split <= MAX_SEQ else None

    def peek(self) -> Row | None:
        """The next message, which stays there."""
        while not self._rows and self._place is not None:
            self._read(self._place)
        return self._rows[-1] if self._rows else None

    def take(self) -> None:
        """Step over the next message."""
        self._rows.pop()

    def _read(self, place: int) -> None:
        """The next piece of the interval at `place`, or of the nearest beyond it."""
        interval = self._interval(place)
        if interval is None:
            self._place = None
            return
        first, last = interval
        if self._older:
            upto = min(place, last)
            bounds = {"first": first, "upto": upto}
            found = every(self._db, queries.HISTORY_BACK, self._args | bounds)
        else:
            bounds = {"first": max(place, first), "upto": last}
            found = every(self._db, queries.HISTORY_ON, self._args | bounds)
        self._rows = [Row(*row) for row in reversed(found)]
        if len(found) == self._args["limit"]:
            end = self._rows[0].seq
        else:
            end = first if self._older else last
        self._place = end - 1 if self._older else None if end >= MAX_SEQ else end + 1

    def _interval(self, place: int) -> tuple[int, int] | None:
        args = self._args["uid"], self._args["cid"], place
        row = one(self._db, queries.INTERVAL_AT_OR_BEFORE, *args)
        if not self._older and (row is None or row[1] < place):
            row = one(self._db, queries.INTERVAL_AFTER, *args)
        return None if row is None else (row[0], row[1])

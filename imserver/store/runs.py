"""Long runs: many messages of one sender, with nobody else's of the conversation between them.

Whoever wants the others' messages steps over a run at once. Without that, a page of sync of a user
who wrote a million messages and got one reads all of them: 300 ms instead of 0.1.

- A run is noted when it has `LONG` messages, and again each time it has as many more. So not all
  messages of a run need be between its noted ends, and short runs are not noted at all.
- Between the ends nobody else has a message. In notes to oneself there are no runs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.store import remembered

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

LONG: Final = 64  # messages

NOTE: Final = """
    INSERT INTO run (cid, uid, from_seq, to_seq)
    SELECT cid, ?2, ?3, ?4 FROM conversation
    WHERE cid = ?1 AND (low_uid IS NULL OR low_uid < high_uid)
    ON CONFLICT (cid, uid, from_seq) DO UPDATE SET to_seq = excluded.to_seq
"""
# All runs afresh, for messages that were not appended one by one: those of a run are as far
# from each other in the conversation as among their sender's.
_NOTE_ALL: Final = """
    INSERT INTO run (cid, uid, from_seq, to_seq)
    SELECT n.cid, n.sender_uid, min(n.seq), max(n.seq)
    FROM (SELECT seq, cid, sender_uid,
                 row_number() OVER (PARTITION BY cid ORDER BY seq)
                 - row_number() OVER (PARTITION BY cid, sender_uid ORDER BY seq) AS ahead
          FROM message) n
    JOIN conversation c ON c.cid = n.cid
    WHERE c.low_uid IS NULL OR c.low_uid < c.high_uid
    GROUP BY n.cid, n.sender_uid, n.ahead
    HAVING count(*) >= :least
"""
# Whether the user `:uid` has some in the conversation of a row `i`.
ANY: Final = "EXISTS (SELECT 1 FROM run r WHERE r.cid = i.cid AND r.uid = :uid)"
# The run of a user's messages that a place is in, or the next behind it.
NEXT: Final = """
    SELECT from_seq, to_seq FROM run
    WHERE cid = ?1 AND uid = ?2 AND to_seq >= ?3
      AND from_seq >= ifnull((SELECT from_seq FROM run WHERE cid = ?1 AND uid = ?2
                              AND from_seq <= ?3 ORDER BY from_seq DESC LIMIT 1), 0)
    ORDER BY from_seq LIMIT 1
"""
DROP_EMPTY: Final = """
    DELETE FROM run
    WHERE cid = ?1 AND to_seq <= ?2
      AND NOT EXISTS (SELECT 1 FROM message m
                      WHERE m.cid = run.cid AND m.seq BETWEEN run.from_seq AND run.to_seq)
"""
DROP_OF: Final = "DELETE FROM run WHERE cid = ? AND uid = ?"


class Runs:
    """The runs that go on, for the writer."""

    def __init__(self) -> None:
        # By conversation: the sender, the first place, and how many there are.
        self._current: dict[int, list[int]] = {}

    def forget(self) -> None:
        """Forget them; runs begin anew."""
        self._current.clear()

    def note(self, db: apsw.Connection, cid: int, uid: int, seq: int) -> None:
        """A message was appended."""
        run = self._current.get(cid)
        if run is None:
            if len(self._current) >= remembered.MOST:
                self._current.clear()
            self._current[cid] = [uid, seq, 1]
        elif run[0] != uid:
            run[0], run[1], run[2] = uid, seq, 1
        else:
            run[2] += 1
            if not run[2] % LONG:
                db.execute(NOTE, (cid, uid, run[1], seq))


def stretches(
    db: apsw.Connection, cid: int, uid: int, first: int, last: int
) -> Iterator[tuple[int, int]]:
    """What lies between a user's runs, from one place to another: the ends of each stretch."""
    while True:
        run = db.execute(NEXT, (cid, uid, first)).fetchone()
        if run is None or run[0] > last:
            yield first, last
            return
        if run[0] > first:
            yield first, run[0] - 1
        first = run[1] + 1


def note_all(db: apsw.Connection) -> None:
    """Note the runs of a database that has messages and no runs."""
    db.execute(_NOTE_ALL, {"least": LONG})


def drop_empty(db: apsw.Connection, cid: int, upto: int) -> None:
    """Drop the runs of a conversation that have no message any more, up to a place."""
    db.execute(DROP_EMPTY, (cid, upto))


def drop_of(db: apsw.Connection, cid: int, uid: int) -> None:
    """Drop the runs of a user in a conversation."""
    db.execute(DROP_OF, (cid, uid))

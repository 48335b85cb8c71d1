"""Fills a database with as much as a server may have gathered over the years.

`python -m tests.bench.generate FOLDER --messages 1000000` writes straight into the file, through
the product's own schema and under its laws; what comes out can be served. The same seed gives the
same content. Who is in it is the same for every number of messages:

- 10,000 users, `user_0` to `user_9999`; each is in two direct conversations with neighbours;
- 500 groups, `group_0` to `group_499`; `user_0` is in all of them; `group_0` has all users, the
  others twenty each;
- one message in twenty is from `user_9998` to `user_1`, who never answers, and one is to `user_2`
  from one of twenty others;
- users of odd number have read everything but the last hundred places, the others nothing.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final

import click

from imserver.domain.model import MESSAGE_TYPES, Role
from imserver.store import runs
from imserver.store.database import open_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

USERS: Final = 10_000
GROUPS: Final = 500
GROUP_SIZE: Final = 20  # of all but the first one, which has all users
SILENT: Final = 1
POPULAR: Final = 2
WRITER: Final = 9_998
UNREAD: Final = 100  # places that users of odd number have not read yet
_BEGIN_MS: Final = 1_700_000_000_000
_STEP_MS: Final = 10  # between two messages
_SIZE: Final = 60  # characters of a content
_LETTERS: Final = "abcdefghijklmnopqrst     "
_TEXTS: Final = 97  # different ones
_ROWS: Final = 100_000  # messages generated at once
_NEIGHBOURS: Final = (1, 7)  # each user writes to those so many places on
_FANS: Final = range(5_000, 5_020)  # who write to the popular user
_SHARES: Final = {"direct": 13, "group": 5, "popular": 1, "silent": 1}  # of 20 messages
_TEXT: Final = MESSAGE_TYPES.index("text")
_SYSTEM: Final = MESSAGE_TYPES.index("system")


# Statements of its own, with the columns named: those of the server change more often than the
# schema, which grows by columns that have defaults.
_CONVERSATION: Final = "INSERT INTO conversation (low_uid, high_uid) VALUES (?, ?) RETURNING cid"
_GROUP: Final = """
    INSERT INTO "group" (cid, group_id, name, description, created_ms, updated_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?5)
"""
_MEMBER: Final = """
    INSERT INTO member (cid, uid, active, role, joined_ms, joined_seq, ordinal,
                        delivered_seq, read_seq)
    VALUES (?1, ?2, 1, ?3, ?4, ?5, ?6, ?5 - 1, ?5 - 1)
"""
_MEMBERSHIP: Final = "INSERT INTO membership (uid, cid, from_seq) VALUES (?, ?, ?)"
_MESSAGE: Final = """
    INSERT INTO message (seq, cid, sender_uid, type, content, sent_ms, event)
    VALUES (?, ?, ?, ?, ?, ?, ?)
"""

Roster = tuple[int, list[int]]  # a conversation's cid, and the uids of who is in it
Slot = tuple[int, int]  # a conversation's cid, and the uid of one who writes there


@dataclass(frozen=True, slots=True)
class Filled:
    """What was written."""

    database: Path
    messages: int
    size: int  # bytes
    seconds: float


def user(number: int) -> str:
    """The id of a user."""
    return f"user_{number}"


def group(number: int) -> str:
    """The id of a group."""
    return f"group_{number}"


def generate(folder: Path, messages: int, *, seed: int = 1) -> Filled:
    """Write a new database with `messages` messages, those that open the groups included.

    Raises:
        FileExistsError: there is a database already.
        ValueError: `messages` is less than the number of groups.
    """
    if messages < GROUPS:
        raise ValueError(f"{GROUPS} messages open the groups: there cannot be less")
    path = folder / "imserver.db"
    if path.exists():
        raise FileExistsError(f"{path} exists already")
    begin = time.perf_counter()
    random = Random(seed)
    with open_database(str(path)) as database:
        db = database.writer
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -2000000",
                       "foreign_keys = OFF"):  # fmt: skip
            db.execute(f"PRAGMA {pragma}")
        db.execute("BEGIN")
        _add_users(db)
        rosters = _add_groups(db, random)
        neighbours = [(one, (one + step) % USERS) for one in range(USERS) for step in _NEIGHBOURS]
        pairs = _add_pairs(db, neighbours)
        popular = _add_pairs(db, [(POPULAR, fan) for fan in _FANS])
        silent = _add_pairs(db, [(SILENT, WRITER)])
        slots = {
            "direct": [(cid, uid) for cid, uids in pairs for uid in uids],
            "group": [(cid, uid) for cid, uids in rosters for uid in uids[:GROUP_SIZE]],
            "popular": [(cid, fan) for cid, (_, fan) in popular],
            "silent": [(cid, writer) for cid, (_, writer) in silent],
        }
        _add_messages(db, random, messages, slots)
        _mark_as_read(db, messages)
        runs.note_all(db)
        db.execute("COMMIT")
        # Off for speed only: what was written has to keep the law.
        if db.execute("PRAGMA foreign_key_check").fetchall():
            raise AssertionError("a reference leads nowhere")
    return Filled(path, messages, path.stat().st_size, time.perf_counter() - begin)


def _uid(number: int) -> int:
    return number + 1


def _add_users(db: apsw.Connection) -> None:
    db.executemany(
        "INSERT INTO user (uid, user_id, created_ms) VALUES (?, ?, ?)",
        ((_uid(number), user(number), _BEGIN_MS) for number in range(USERS)),
    )


def _conversation(db: apsw.Connection, low: int | None, high: int | None) -> int:
    row = db.execute(_CONVERSATION, (low, high)).fetchone()
    assert row is not None
    return int(row[0])


def _join(db: apsw.Connection, cid: int, uids: list[int], from_seq: int, owner: int) -> None:
    db.executemany(
        _MEMBER,
        (
            (cid, uid, int(Role.OWNER if uid == owner else Role.MEMBER), _BEGIN_MS, from_seq, place)
            for place, uid in enumerate(uids)
        ),
    )
    db.executemany(_MEMBERSHIP, ((uid, cid, from_seq) for uid in uids))


def _add_groups(db: apsw.Connection, random: Random) -> list[Roster]:
    """Groups 0 to 499, opened by messages 1 to 500; each with who is in it."""
    rosters: list[Roster] = []
    owner = _uid(0)
    for number in range(GROUPS):
        others = range(1, USERS) if number == 0 else random.sample(range(1, USERS), GROUP_SIZE - 1)
        uids = [owner, *(_uid(other) for other in others)]
        cid = _conversation(db, None, None)
        db.execute(_GROUP, (cid, group(number), f"Group {number}", "", _BEGIN_MS))
        seq = number + 1
        _join(db, cid, uids, seq, owner)
        event = {"kind": "created", "user_id": user(0), "by": user(0)}
        sentence = f'{user(0)} created the group "Group {number}"'
        db.execute(
            _MESSAGE,
            (seq, cid, 0, _SYSTEM, sentence, _BEGIN_MS, json.dumps(event, separators=(",", ":"))),
        )
        rosters.append((cid, uids))
    return rosters


def _add_pairs(db: apsw.Connection, pairs: list[tuple[int, int]]) -> list[Roster]:
    found: list[Roster] = []
    for one, other in pairs:
        low, high = sorted((_uid(one), _uid(other)))
        cid = _conversation(db, low, high)
        _join(db, cid, [low, high], 1, 0)
        found.append((cid, [_uid(one), _uid(other)]))
    # As the server writes it: in a direct pair both came at the same time.
    db.execute(
        "UPDATE member SET ordinal = 0 WHERE cid IN"
        " (SELECT cid FROM conversation WHERE low_uid IS NOT NULL)"
    )
    return found


def _add_messages(
    db: apsw.Connection, random: Random, messages: int, slots: dict[str, list[Slot]]
) -> None:
    texts = ["".join(random.choices(_LETTERS, k=_SIZE - 1)) + "." for _ in range(_TEXTS)]

    def rows(first: int, last: int) -> Iterator[tuple[int, int, int, int, str, int, None]]:
        count = last - first + 1
        kinds = random.choices(list(_SHARES), list(_SHARES.values()), k=count)
        drawn = {kind: iter(random.choices(slots[kind], k=count)) for kind in _SHARES}
        for seq, kind in enumerate(kinds, first):
            cid, uid = next(drawn[kind])
            yield seq, cid, uid, _TEXT, texts[seq % _TEXTS], _BEGIN_MS + seq * _STEP_MS, None

    for first in range(GROUPS + 1, messages + 1, _ROWS):
        last = min(first + _ROWS - 1, messages)
        db.executemany(_MESSAGE, rows(first, last))
        if sys.stderr.isatty():
            print(f"\r{last:,} of {messages:,} messages", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty():
        print(file=sys.stderr)


def _mark_as_read(db: apsw.Connection, messages: int) -> None:
    # Nobody's mark lies before what they may see, or behind the newest of its conversation.
    db.execute(
        """
        UPDATE member SET delivered_seq = max(delivered_seq, mark), read_seq = max(read_seq, mark)
        FROM (SELECT cid AS of, min(?, max(seq)) AS mark FROM message GROUP BY cid)
        WHERE cid = of AND uid % 2 = 0  -- users of odd number
        """,
        (messages - UNREAD,),
    )


@click.command()
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False))
@click.option("--messages", type=click.IntRange(GROUPS), default=1_000_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
def main(folder: Path, messages: int, seed: int) -> None:
    """Fill a new database in FOLDER."""
    try:
        filled = generate(folder, messages, seed=seed)
    except FileExistsError as error:
        raise click.ClickException(str(error)) from None
    print(
        f"{filled.database}: {filled.messages:,} messages in {filled.size / 1e6:,.1f} MB, "
        f"{filled.size / filled.messages:.0f} bytes each, written in {filled.seconds:.1f} s"
    )


if __name__ == "__main__":
    main(prog_name="python -m tests.bench.generate")

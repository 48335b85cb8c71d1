"""No statement looks at more than it needs: SQLite is asked how it would run each of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from imserver.domain.model import Level, Role
from imserver.service.engine import Caller
from imserver.store import accounts_queries, acknowledging, queries, rosters, runs, syncing
from imserver.store.database import open_database
from imserver.store.retention import removal_queries
from imserver.store.transaction import Transaction
from tests.service.engines import Engines
from tests.support.writing import say

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RUNS = {f"{name}_RUN": sql for name, sql in vars(runs).items() if name.isupper()}
STATEMENTS = {
    name: sql
    for name, sql in (vars(queries) | vars(accounts_queries) | vars(removal_queries) | RUNS).items()
    if name.isupper()
    and not name.startswith("_")
    and isinstance(sql, str)
    and re.match(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b", sql)
}

# Steps that look worse than they are, each with the reason. What stands here is checked to exist.
EXCUSED = {
    ("ALL_ACCOUNTS", "SCAN a"): "at start, once",
    ("LIVE_TOKENS", "SCAN t"): "the same",
    ("OTHER_ADMINISTRATOR", "SCAN account"): "when one is to go, and ends at the first",
    (
        "USERS_BETWEEN",
        "SEARCH u USING INDEX sqlite_autoindex_user_1 (user_id>? AND user_id<?)",
    ): "a page",
    **{
        (name, f"SEARCH audit USING INTEGER PRIMARY KEY (rowid{sign}?)"): "what is not wanted is "
        "passed over: whoever asks for what hardly ever happens can wait"
        for name, sign in (("AUDIT_BEFORE", "<"), ("AUDIT_AFTER", ">"))
    },
    ("OLDEST_AUDIT", "SEARCH audit USING INTEGER PRIMARY KEY (rowid<?)"): "a piece, oldest first",
    ("OLDEST_AUDIT", "SEARCH audit"): "max(entry) is the last row of the table, found at once",
    ("DROP_AUDIT", "SEARCH audit USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"): "that piece",
    ("COUNT_AUDIT", "SCAN CONSTANT ROW"): "no table at all",
    ("COUNT_AUDIT", "SEARCH audit"): "its first and its last row, found at once",
    ("DROP_EXPIRED", "SEARCH token USING INDEX token_by_expiry (expires_ms<?)"): "those it drops",
    ("OLDEST", "SCAN message"): "from the first on, and ends after a piece",
    ("OLDEST_SIZES", "SCAN message"): "the same",
    ("KEEPERS", "SCAN group USING COVERING INDEX group_by_keep"): "only those that it is about",
    **{
        (
            name,
            "SEARCH failed USING COVERING INDEX failed_by_time (removed_ms<?)",
        ): "those it is about"
        for name in ("ANY_FAILED", "DROP_FAILED")
    },
    ("NEWEST_SEQ", "SCAN CONSTANT ROW"): "no table at all",
    ("NEWEST_SEQ", "SEARCH message"): "max(seq) is the last row of the table, found at once",
    **{
        ("UNREAD", step): "no table, but what the limit leaves of one"
        for step in ("CO-ROUTINE (subquery-3)", "SCAN (subquery-3)")
    },
    **{
        ("ADD_USER", step): "see the next test: skipped unless a foreign key is broken already"
        for step in (
            "SCAN selective_ack",
            "SCAN member",
            "SCAN conversation USING COVERING INDEX sqlite_autoindex_conversation_1",
        )
    },
    ("ADD_CONVERSATION", "SCAN membership"): "the same",
}
# A step that narrows a table down by equality on the leading column of a key.
_GOOD = re.compile(
    r"SEARCH \w+ (EXISTS )?USING (PRIMARY KEY|INTEGER PRIMARY KEY|(COVERING )?INDEX \w+)"
    r" \(\w+=\?"
)
# Keys that only the server's own bookkeeping is under: a handful of rows.
_SMALL = re.compile(r"SEARCH meta USING PRIMARY KEY ")
_NO_TABLE = re.compile(
    r"(CORRELATED )?(SCALAR|LIST) SUBQUERY \d+$|USE TEMP B-TREE FOR (GROUP|ORDER) BY$"
)


def _plan(db: apsw.Connection, sql: str) -> list[str]:
    bare = re.sub(r"'[^']*'", "", sql)
    names = re.findall(r":(\w+)", bare)
    numbers = [int(number) for number in re.findall(r"\?(\d+)", bare)]
    count = max(numbers) if numbers else bare.count("?")
    args: Any = dict.fromkeys(names) if names else (None,) * count
    return [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", args).fetchall()]


@pytest.fixture(scope="module")
def db() -> Iterator[apsw.Connection]:
    with open_database(":memory:") as database:
        yield database.writer


def test_there_are_statements() -> None:
    assert len(STATEMENTS) > 30


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_statement_searches_by_key(name: str, db: apsw.Connection) -> None:
    for step in _plan(db, STATEMENTS[name]):
        if (name, step) in EXCUSED:
            continue
        assert _GOOD.match(step) or _SMALL.match(step) or _NO_TABLE.match(step), step


def test_every_excuse_is_needed(db: apsw.Connection) -> None:
    for name, step in EXCUSED:
        assert step in _plan(db, STATEMENTS[name])


def test_a_page_is_read_by_conversation_and_place(db: apsw.Connection) -> None:
    """Not by place alone: that would read everybody's messages; nor by conversation alone."""
    for name in ("HEADS_AFTER", "HEADS_UNACKED", "PIECE_AFTER", "PIECE_UNACKED", "FIRST_HOLE",
                 "NEWLY_COVERED", "HISTORY_BACK", "HISTORY_ON", "UNREAD"):  # fmt: skip
        of_messages = [step for step in _plan(db, STATEMENTS[name]) if step.startswith("SEARCH m ")]
        assert of_messages
        for step in of_messages:
            assert "message_by_conversation (cid=? AND rowid>?" in step


def test_nothing_is_scanned_when_it_runs(tmp_path: Path) -> None:
    """The same from the other side: SQLite counts the rows that it stepped over without a key."""
    engines = Engines(tmp_path)
    ann, bob = Caller("ann"), Caller("bob")
    scanned: dict[str, int] = {}

    def note(event: dict[str, Any]) -> None:
        steps = event["stmt_status"]["SQLITE_STMTSTATUS_FULLSCAN_STEP"]
        if steps:
            scanned[event["sql"]] = steps

    async def use_everything() -> None:
        write, ask = engines.write, engines.ask
        for name in range(50):
            await write("send_message", ann, {"receiver_id": f"user{name}", "content": "hi"})
        group = (await write("create_group", ann, {"name": "g", "members": ["bob", "cy"]}))["group"]
        for caller in (ann, bob, ann):
            request = {"group_id": group["id"], "content": "hi", "client_msg_id": caller.user_id}
            await write("send_message", caller, request)
        await write("ack", bob, {"message_id": "msg_52", "status": "read"})
        await write("ack", bob, {"message_id": "msg_51", "status": "read"})
        await write("ack", ann, {"message_id": "msg_53", "status": "read", "cumulative": True})
        await write("leave_group", ann, {"group_id": group["id"]})
        await write("join_group", ann, {"group_id": group["id"]})
        for caller in (ann, bob):
            for cursor in ({}, {"last_message_id": "msg_51"}):
                await ask("sync_offline", caller, {"include_own": True} | cursor)
            await ask("get_message", caller, {"message_id": "msg_53"})
            await ask("get_members", caller, {"group_id": group["id"]})

    for connection in engines.database._connections:
        connection.trace_v2(apsw.SQLITE_TRACE_PROFILE, note)
    engines.run(use_everything)
    assert scanned == {}
    scan = "SELECT count(*) FROM message WHERE content = 'hi'"
    engines.database.writer.execute(scan).fetchall()
    assert scan in scanned, "the count of steps does not count"
    engines.stop()


def test_a_page_of_own_messages_in_a_large_group_looks_at_its_members_a_few_times() -> None:
    """Not once for each message: one member who lags behind all others is remembered."""
    with open_database(":memory:") as database:
        db = database.writer
        tx = Transaction(db, lambda: 0)
        tx.begin()
        group = rosters.create(tx, "group_x", "large", "", False)
        users = [(name, tx.name_user(name), Role.MEMBER) for name in map(str, range(1000))]
        group = rosters.admit(tx, group, users, tx.next_seq)
        seqs = [say(tx, group.cid, users[0][1], "hi") for _ in range(100)]
        for _, uid, _ in users[1:-1]:
            acknowledging.acknowledge_all(tx, group.cid, uid, seqs[-1], Level.READ, to_self=False)
        tx.commit()
        steps = 0

        def count(event: dict[str, Any]) -> None:
            nonlocal steps
            steps += event["stmt_status"]["SQLITE_STMTSTATUS_VM_STEP"]

        db.trace_v2(apsw.SQLITE_TRACE_PROFILE, count)
        page = syncing.sync_page(db, "0", after=0, limit=200, own=True, max_bytes=1 << 20)
        assert [message.status for message in page.messages] == ["sent"] * 100
        # Some tens of steps a member and some hundreds a message, but no product of the two.
        assert 1000 < steps < 50 * 1000 + 500 * 100

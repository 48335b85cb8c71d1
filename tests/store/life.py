"""A small database in which everything that can be stored has happened, and what clients see of it.

Made by the engine's own operations, so that nothing is in it that no server would write.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import apsw

from imserver.service.engine import Change
from imserver.service.upkeep.retention import RemovePiece
from imserver.store import accounts, carried, runs
from imserver.store.audit import Author
from imserver.store.files import uploaded
from imserver.store.retention import removal
from tests.service.engines import Caller, Engines

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from imserver.store.transaction import Transaction

CONTENTS = [
    "Hello, Bob!",
    "你好，李雷 👋",
    'it\'s "quoted", \\back\\slashed\n\tand on two lines',
    '{"not": "ours to parse"}',
    "x" * 5000,  # more than a page of the file
    "\x00 and \x7f",
]


@contextmanager
def lived_in(folder: Path) -> Iterator[Engines]:
    """An engine on a file in a folder, in which life has happened."""
    engines = Engines(folder)
    try:
        with patch.object(runs, "LONG", 2):  # else nobody here would talk that long
            engines.run(_live, engines)
        yield engines
    finally:
        engines.stop()


async def _live(engines: Engines) -> None:
    async def do(operation: str, caller: str, /, **request: Any) -> Any:
        engines.now_ms += 1000
        answer = await engines.write(operation, Caller(caller), request)
        assert isinstance(answer, dict), answer
        return answer

    async def say(sender: str, content: str, **request: Any) -> str:
        answer = await do("send_message", sender, content=content, **request)
        return answer["message_id"]

    # Two who talk; what was sent twice is there once; acknowledgements with and without holes.
    told = [
        await say("alice", content, receiver_id="bob", client_msg_id=f"a-{number}")
        for number, content in enumerate(CONTENTS)
    ]
    assert await say("alice", CONTENTS[0], receiver_id="bob", client_msg_id="a-0") == told[0]
    await do("ack", "bob", message_id=told[0], status="read")
    await do("ack", "bob", message_id=told[2], status="delivered")
    await do("ack", "bob", message_id=told[4], status="read")
    await say("bob", "https://example.org/a.png", receiver_id="alice", type="image")
    answered = await say("bob", "and?", receiver_id="alice", client_msg_id="ü/1")
    await do("ack", "alice", message_id=answered, status="read", cumulative=True)
    # Notes to oneself, and a user who only ever was written to.
    await do("ack", "李雷", message_id=await say("李雷", "记住", receiver_id="李雷"), status="read")
    await say("carol", "are you there?", receiver_id="nobody")

    # A group that people join, leave, join again and leave to others.
    group = (
        await do("create_group", "alice", name="Lunch", description="", members=["bob", "carol"])
    )["group"]["id"]
    await say("alice", "soup?", group_id=group)
    await do("leave_group", "bob", group_id=group)
    missed = await say("carol", "he is gone", group_id=group, client_msg_id="c")
    await do("ack", "alice", message_id=missed, status="delivered")
    await do("join_group", "dave", group_id=group)
    await do("join_group", "bob", group_id=group)
    back = await say("bob", "back", group_id=group)
    await do("ack", "dave", message_id=back, status="read", cumulative=True)
    await do("leave_group", "alice", group_id=group)
    await say("dave", "who owns this now?", group_id=group)
    # One that everyone has left.
    closed = await do("create_group", "dave", name="夏天", description="☀", members=["李雷"])
    closed = closed["group"]["id"]
    await say("李雷", "bye", group_id=closed)
    await do("leave_group", "dave", group_id=closed)
    await do("leave_group", "李雷", group_id=closed)

    # A private one, with what its owner and admins do; and one that was dissolved.
    group = (
        await do("create_group", "alice", name="Board", members=["bob", "dave"], private=True)
    )["group"]["id"]
    await do("set_role", "alice", group_id=group, user_id="bob", role="admin")
    await do("invite", "bob", group_id=group, user_id="carol")
    await do("invite", "bob", group_id=group, user_id="李雷")
    await do("join_group", "李雷", group_id=group)
    await do("remove_member", "bob", group_id=group, user_id="dave")
    changes = {"name": "The board", "description": "of directors", "retention_days": 30}
    await do("update_group", "bob", group_id=group, **changes)
    await do("transfer_group", "alice", group_id=group, user_id="bob")
    group = (await do("create_group", "carol", name="Gone", members=["dave"]))["group"]["id"]
    await do("dissolve_group", "carol", group_id=group)
    await _accounts(engines)

    # What nobody had got when it was too old, and what somebody had. Last: what is below the
    # highest place that was removed may have been removed too.
    first = await say("carol", "hello?", receiver_id="away", client_msg_id="lost")
    await do("ack", "away", message_id=first, status="delivered")
    await say("carol", "hello??", receiver_id="away", client_msg_id="lost too")
    cid = engines.database.writer.execute("SELECT max(cid) FROM conversation").fetchone()[0]
    piece = partial(removal.remove_older, before_ms=engines.now_ms + 1, cid=cid)
    await engines.engine.write(RemovePiece(piece))


class _Stored(Change[object, object]):
    """Whatever is done in a transaction."""

    def __init__(self, work: Callable[[Transaction], object]) -> None:
        self._work = work

    def apply(self, tx: Transaction) -> object:
        """Do it."""
        return self._work(tx)


async def _accounts(engines: Engines) -> None:
    async def do(work: Callable[[Transaction], object]) -> None:
        engines.now_ms += 1000
        await engines.engine.write(_Stored(work))

    def log_in(user_id: str, number: int) -> Callable[[Transaction], object]:
        return lambda tx: accounts.add_token(
            tx,
            Author(user_id, "192.0.2.7"),
            user_id,
            token_id=f"token_{number}",
            digest=bytes([number]) * 32,
            device="Pixel 9",
            platform="android",
            expires_ms=tx.now_ms + 10_000,
        )

    # The first of all, made by the server; the others by her; one with a password for one login.
    alice = Author("alice", "127.0.0.1")
    await do(lambda tx: accounts.create(tx, Author(None), "alice", HASH, administrator=True))
    await do(lambda tx: accounts.create(tx, alice, "bob", HASH, must_change=True))
    for user in ("carol", "dave", "李雷"):
        await do(lambda tx, user=user: accounts.create(tx, alice, user, HASH))  # type: ignore[misc]
    await do(log_in("alice", 1))
    await do(log_in("alice", 2))
    await do(log_in("dave", 3))
    await do(
        lambda tx: accounts.use_tokens(tx, [accounts.Use("token_2", tx.now_ms, tx.now_ms + 10_000)])
    )
    await do(lambda tx: accounts.revoke(tx, alice, "alice", "token_1"))
    await do(lambda tx: accounts.set_disabled(tx, alice, "dave", True))
    await do(lambda tx: accounts.set_administrator(tx, alice, "carol", True))
    await do(lambda tx: accounts.set_password(tx, Author("李雷"), "李雷", None))
    await do(log_in("carol", 4))

    await do(_files)


def _files(tx: Transaction) -> None:
    for name, size in (("carried", 3), ("unused", 5), ("gone", 7)):
        file = uploaded.StoredFile(
            f"file_{name}", f"{size:064x}", f"{name}.txt", size, "text/plain"
        )
        uploaded.add(tx, "alice", file, uploaded.FileLimits(0, 0, 0))
    alice = tx.find_user("alice")
    sent = "SELECT seq FROM message WHERE sender_uid = ? ORDER BY seq"
    seqs = [seq for (seq,) in tx.db.execute(sent, (alice,))]
    recalled, carries = seqs[0], seqs[-1]
    uploaded.attach(tx.db, carries, ["file_carried"])
    uploaded.attach(tx.db, recalled, ["file_gone"])
    uploaded.detach(tx.db, [recalled])
    # A thread of three, the last of which mentions two users and everyone; another is forwarded.
    first, second, third = (
        seq
        for (seq,) in tx.db.execute("SELECT seq FROM message WHERE cid = 4 AND type = 0 LIMIT 3")
    )
    carried.add_reply(tx.db, second, 4, first, first)
    carried.add_reply(tx.db, third, 4, second, first)
    bob = tx.find_user("bob")
    assert bob is not None
    carried.add_mentions(tx.db, third, 4, [alice, bob, None])
    carried.add_forward(tx.db, first, carried.Origin(bob, "bob", 1))


# No password gives this hash.
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c29tZXNhbHRzb21lc2FsdA$" + "A" * 43
USERS = ["alice", "bob", "carol", "dave", "nobody", "李雷", "away"]


def seen(engines: Engines) -> dict[str, Any]:
    """What every user sees: all their messages, and what a device that knows nothing is given."""
    return engines.run(_see, engines)


async def _see(engines: Engines) -> dict[str, Any]:
    async def page(user_id: str, **request: Any) -> Any:
        return await engines.ask("sync_offline", Caller(user_id), {"limit": 200} | request)

    return {
        user_id: {
            "all": await page(user_id, last_message_id="msg_0", include_own=True),
            "new": await page(user_id),
        }
        for user_id in USERS
    }


def dump(path: Path) -> str:
    """Everything in a database as SQL that makes it again; the same for the same content."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return "".join(f"{statement};\n" for statement in _statements(db))
    finally:
        db.close()


def _statements(db: apsw.Connection) -> Iterator[str]:
    for name in ("application_id", "user_version"):
        yield f"PRAGMA {name} = {db.execute(f'PRAGMA {name}').fetchone()[0]}"
    objects = db.execute(
        "SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL"
        " ORDER BY type <> 'table', name"
    ).fetchall()
    for kind, name, sql in objects:
        yield sql
        if kind != "table":
            continue
        columns = [row[1] for row in db.execute(f'PRAGMA table_info("{name}")')]
        order = ", ".join(str(number + 1) for number in range(len(columns)))
        for row in db.execute(f'SELECT * FROM "{name}" ORDER BY {order}').fetchall():
            values = ", ".join(apsw.format_sql_value(value) for value in row)
            yield f'INSERT INTO "{name}" VALUES ({values})'


def load(sql: str, path: Path) -> None:
    """Make the database that `dump` wrote down, as a server that was stopped leaves it."""
    db = apsw.Connection(str(path))
    try:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")
        with db:
            db.execute(sql)
    finally:
        db.close()

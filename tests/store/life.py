"""A small database in which everything that can be stored has happened, and what clients see of it.

Made by the engine's own operations, so that nothing is in it that no server would write.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import apsw

from tests.service.engines import Caller, Engines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    await do("update_group", "bob", group_id=group, name="The board", description="of directors")
    await do("transfer_group", "alice", group_id=group, user_id="bob")
    group = (await do("create_group", "carol", name="Gone", members=["dave"]))["group"]["id"]
    await do("dissolve_group", "carol", group_id=group)


USERS = ["alice", "bob", "carol", "dave", "nobody", "李雷"]


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

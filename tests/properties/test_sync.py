"""Sync alone: pages merged out of many conversations, against the oracle's plain list."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from imserver.store import rosters, syncing
from imserver.store.retention import removal
from imserver.store.transaction import Transaction
from tests.properties.oracle import LABELS, Oracle, Post
from tests.service.engines import Engines

if TYPE_CHECKING:
    import apsw

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "60"))
USERS = ["ann", "bob", "cy"]
GROUPS = 4
users = st.sampled_from(USERS)
groups = st.integers(0, GROUPS - 1)
sizes = st.sampled_from([1, 1, 1, 400, 2000])
steps = st.one_of(
    st.tuples(st.just("post"), users, groups, sizes),
    st.tuples(st.just("post"), users, groups, sizes),
    st.tuples(st.just("tell"), users, users, sizes),
    st.tuples(st.just("ack"), users, st.integers(0, 20), st.booleans()),
    st.tuples(st.sampled_from(["join", "leave"]), users, groups),
    st.tuples(st.just("remove"), st.integers(0, 20), st.one_of(st.none(), groups)),
)


@given(
    plan=st.lists(steps, min_size=20, max_size=60),
    limit=st.sampled_from([1, 2, 5, 50]),
    max_bytes=st.sampled_from([1, 1200, 4000, 512 * 1024]),
)
@settings(
    max_examples=EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_pages_are_what_is_there_after_the_cursor(
    plan: list[Any], limit: int, max_bytes: int
) -> None:
    engines = Engines(None)
    oracle = Oracle(100)
    db = engines.database.writer
    tx = Transaction(db, lambda: 0)
    try:
        names = []
        for _ in range(GROUPS):
            created = engines.apply(tx, "create_group", "ann", {"name": "g", "members": ["bob"]})
            names.append(created.group.id)
            oracle.create("ann", names[-1], name="g", description="", members=["bob"])
        for step in plan:
            _take(engines, tx, oracle, names, step)
        for user in USERS:
            for own in (False, True):
                for after in (None, 0, oracle.newest // 2):
                    _read_all(db, oracle, user, after, limit, own, max_bytes)
    finally:
        engines.stop()


def _take(engines: Engines, tx: Transaction, oracle: Oracle, names: list[str], step: Any) -> None:
    match step:
        case ("post", user, number, size):
            target = {"group_id": names[number]}
        case ("tell", user, receiver, size):
            target = {"receiver_id": receiver}
        case ("ack", user, back, cumulative):
            received = [post for post in oracle.posts if oracle.is_for(user, post)]
            if received:
                seq = received[-1 - back % len(received)].seq
                request = {"message_id": f"msg_{seq}", "status": LABELS[1]}
                engines.apply(tx, "ack", user, request | {"cumulative": cumulative})
                oracle.ack(user, None, seq=seq, level=1, cumulative=cumulative)
            return
        case ("remove", count, number):
            # The clock stands still, so that all are as old as each other.
            where = None if number is None else names[number]
            kept = [post for post in oracle.kept if where in (None, post.group)][:count]
            if kept:
                _remove(tx, oracle, where, len(kept))
            return
        case ("join" | "leave" as what, user, number):
            engines.apply(tx, f"{what}_group", user, {"group_id": names[number]})
            getattr(oracle, what)(user, group=names[number])
            return
    engines.apply(tx, "send_message", user, target | {"content": "x" * size})
    oracle.send(
        user,
        None,
        receiver=target.get("receiver_id"),
        group=target.get("group_id"),
        kind="text",
        content="x" * size,
        key=None,
    )


def _remove(tx: Transaction, oracle: Oracle, where: str | None, count: int) -> None:
    tx.begin()
    cid = None if where is None else rosters.conversation_of(tx, where)
    with pytest.MonkeyPatch.context() as patches:
        patches.setattr(removal, "MOST_SECONDS", float("inf"))
        removed = removal.remove_older(tx, 1, cid, most=count)
    tx.commit()
    assert removed == oracle.expire(1, where, count)


def _read_all(
    db: apsw.Connection,
    oracle: Oracle,
    user: str,
    after: int | None,
    limit: int,
    own: bool,
    max_bytes: int,
) -> None:
    """Page after page, each from the end of the last one."""
    while True:
        backlog = oracle.backlog(user, after, own)
        page = syncing.sync_page(db, user, after=after, limit=limit, own=own, max_bytes=max_bytes)
        got = page.messages
        expected = [_brief(oracle, user, post) for post in backlog[: len(got)]]
        assert [(message.id, message.status) for message in got] == expected
        assert page.has_more is (len(got) < len(backlog))
        assert bool(got) is bool(backlog)
        sizes = [len(msgspec.json.encode(message)) for message in got]
        assert page.gap is oracle.misses(user, after, own)
        oldest = None if page.oldest_seq is None else f"msg_{page.oldest_seq}"
        assert oldest == (oracle.oldest(user) if page.gap else None)
        last = int(got[-1].id[4:]) if page.has_more else None
        failed = [f"msg_{seq}" for seq in page.failed]
        assert failed == oracle.failures(user, after, last)
        assert len(got) <= limit
        assert len(got) <= 1 or sum(sizes) <= max_bytes
        if len(got) < min(limit, len(backlog)):
            # Not cut off much before it had to be: 300 bytes stand for what a message weighs
            # beside its content.
            contents = [len(msgspec.json.encode(post.content)) for post in backlog[: len(got) + 1]]
            assert sum(contents) + 300 * len(contents) > max_bytes
        if not page.has_more:
            return
        after = int(got[-1].id[4:])


def _brief(oracle: Oracle, user: str, post: Post) -> tuple[str, str]:
    return post.id, oracle.status(user, post)

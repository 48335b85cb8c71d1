"""Acknowledgements alone, many and dense: watermarks and selective acks against single acks.

The oracle keeps the level of each message with each recipient. What the store keeps must say the
same of every message, and must be as short as its laws promise.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imserver.store import viewing
from imserver.store.transaction import Transaction
from tests.properties.oracle import LABELS, Oracle
from tests.service.engines import Engines

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "60"))
USERS = ["ann", "bob", "cy"]
users = st.sampled_from(USERS)
# Few of the messages are direct ones, so that the group is dense; "solo" writes to themselves.
posts = st.tuples(st.just("post"), users, st.sampled_from(["group", "group", "pair", "solo"]))
acks = st.tuples(
    st.just("ack"),
    users,
    st.integers(0, 9),  # how far back
    st.integers(1, 2),
    st.sampled_from([False, False, True]),
)
moves = st.tuples(st.sampled_from(["join", "leave"]), users)
steps = st.one_of(posts, posts, acks, acks, acks, moves)


@given(st.lists(steps, min_size=20, max_size=60))
@example([("post", "ann", "group"), ("leave", "bob"), ("post", "ann", "group"), ("join", "bob"),
          ("ack", "cy", 1, 1, True)])  # fmt: skip
@example([("post", "ann", "pair"), ("post", "ann", "pair"), ("ack", "bob", 0, 1, True),
          ("ack", "bob", 0, 2, False)])  # fmt: skip
@settings(
    max_examples=2 * EXAMPLES,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_what_is_kept_of_acks_says_the_same_as_each_of_them(plan: list[Any]) -> None:
    engines = Engines(None)
    oracle = Oracle(100)
    db = engines.database.writer
    tx = Transaction(db, lambda: 0)
    created = engines.apply(tx, "create_group", "ann", {"name": "g", "members": ["bob", "cy"]})
    group = created.group.id
    oracle.create("ann", group, name="g", description="", members=["bob", "cy"])
    try:
        for step in plan:
            _take(engines, tx, oracle, group, step)
        _check_statuses(db, oracle)
        _check_laws(db, oracle)
    finally:
        engines.stop()


def _take(engines: Engines, tx: Transaction, oracle: Oracle, group: str, step: Any) -> None:
    match step:
        case ("post", user, where):
            receiver = user if where == "solo" else "bob" if user == "ann" else "ann"
            target = {"group_id": group} if where == "group" else {"receiver_id": receiver}
            request = target | {"content": "hi"}
            stored = engines.apply(tx, "send_message", user, request)
            told = oracle.send(
                user,
                None,
                receiver=None if where == "group" else receiver,
                group=group if where == "group" else None,
                kind="text",
                content="hi",
                key=None,
            )
            assert (told == "forbidden") == (stored == "forbidden"), step
        case ("ack", user, back, level, cumulative):
            received = [post for post in oracle.posts if oracle.is_for(user, post)]
            if not received:
                return
            seq = received[-1 - back % len(received)].seq
            request = {
                "message_id": f"msg_{seq}",
                "status": LABELS[level],
                "cumulative": cumulative,
            }
            engines.apply(tx, "ack", user, request)
            oracle.ack(user, None, seq=seq, level=level, cumulative=cumulative)
        case ("join" | "leave" as what, user):
            if what == "leave" and list(oracle.circles[group].members) == [user]:
                return  # the last one would close the group
            engines.apply(tx, f"{what}_group", user, {"group_id": group})
            getattr(oracle, what)(user, group=group)


def _check_statuses(db: apsw.Connection, oracle: Oracle) -> None:
    for user in USERS:
        for post in oracle.posts:
            message = viewing.find_message(db, post.seq, user)
            if not oracle.sees(user, post):
                assert message is None
            else:
                assert message is not None
                assert (post.seq, message.status) == (post.seq, oracle.status(user, post))


def _check_laws(db: apsw.Connection, oracle: Oracle) -> None:
    """The watermark is as far as it can be, and no note stands that it makes superfluous."""
    rows = db.execute(
        "SELECT user_id, cid, delivered_seq, read_seq FROM member JOIN user USING (uid)"
    ).fetchall()
    for user, cid, delivered, read in rows:
        received = [post for post in oracle.posts if oracle.is_for(user, post)]
        seqs = {
            seq for (seq,) in db.execute("SELECT seq FROM message WHERE cid = ?", (cid,)).fetchall()
        }
        mine = [(post.seq, oracle.level(user, post)) for post in received if post.seq in seqs]
        notes = dict(
            db.execute(
                "SELECT seq, level FROM selective_ack JOIN user USING (uid)"
                " WHERE cid = ? AND user_id = ?",
                (cid, user),
            ).fetchall()
        )
        assert read <= delivered
        for mark, level in ((delivered, 1), (read, 2)):
            reached = _closed(mine, level)
            if reached is None:  # nothing yet: the mark stands before the first message
                assert all(seq > mark for seq, _ in mine)
            else:
                assert mark == reached
        expected = {
            seq: level
            for seq, level in mine
            if level and seq > (delivered if level == 1 else min(delivered, read))
        }
        assert notes == expected


def _closed(received: list[tuple[int, int]], level: int) -> int | None:
    """The last message that has the level, as all before it have."""

    def leading() -> Iterator[int]:
        for seq, reached in received:
            if reached < level:
                return
            yield seq

    return max(leading(), default=None)

"""Who is here, and who gets what."""

from __future__ import annotations

import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from imserver.domain.errors import CloseCode
from imserver.domain.model import Grant
from imserver.live.hub import Hub, Session
from tests.live.links import FakeLink


class Framing:
    """Puts brackets around a payload, and counts how often it was asked to."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, payload: bytes) -> bytes:
        self.calls += 1
        return b"[" + payload + b"]"


def make_hub(*, outbox_bytes: int = 1000) -> Hub:
    return Hub(Framing(), outbox_bytes=outbox_bytes)


def join(hub: Hub, user_id: str | None, link: FakeLink | None = None) -> tuple[Session, FakeLink]:
    link = FakeLink() if link is None else link
    session = hub.open(link)
    if user_id is not None:
        hub.login(session, Grant(user_id))
    return session, link


async def test_every_device_of_every_user_gets_it_and_nobody_else() -> None:
    hub = make_hub()
    _, phone = join(hub, "alice")
    _, laptop = join(hub, "alice")
    _, bob = join(hub, "bob")
    _, carol = join(hub, "carol")
    _, nobody = join(hub, None)
    hub.publish(b"hello", ["alice", "bob", "absent"])
    hub.flush()
    assert [link.sent for link in (phone, laptop, bob)] == [b"[hello]"] * 3
    assert carol.sent == nobody.sent == b""


async def test_the_skipped_session_alone_is_left_out() -> None:
    hub = make_hub()
    sender, phone = join(hub, "alice")
    _, laptop = join(hub, "alice")
    _, bob = join(hub, "bob")
    hub.publish(b"hello", {"alice", "bob"}, sender)
    hub.flush()
    assert phone.sent == b""
    assert laptop.sent == bob.sent == b"[hello]"


async def test_a_payload_is_framed_once_for_all() -> None:
    framing = Framing()
    hub = Hub(framing, outbox_bytes=1000)
    links = [join(hub, f"user{number}")[1] for number in range(10)]
    hub.publish(b"hello", [f"user{number}" for number in range(10)])
    hub.flush()
    assert framing.calls == 1
    assert all(link.sent == b"[hello]" for link in links)


async def test_a_payload_for_nobody_here_is_not_framed() -> None:
    framing = Framing()
    hub = Hub(framing, outbox_bytes=1000)
    hub.publish(b"hello", ["absent"])
    hub.flush()
    assert framing.calls == 0


async def test_a_large_group_reaches_the_few_who_are_here() -> None:
    hub = make_hub()
    _, alice = join(hub, "alice")
    _, bob = join(hub, "bob")
    members = {f"member{number}": number for number in range(100)} | {"bob": 100}
    hub.publish(b"hello", members)
    hub.flush()
    assert bob.sent == b"[hello]"
    assert alice.sent == b""


async def test_what_is_published_together_leaves_in_one_send_and_in_order() -> None:
    hub = make_hub()
    session, link = join(hub, "alice")
    hub.publish(b"1", ["alice"])
    hub.send(session, b"2")
    hub.publish(b"3", ["alice"])
    assert link.sends == []
    hub.flush()
    assert link.sends == [b"[1][2][3]"]


async def test_nobody_waits_for_somebody_elses_network() -> None:
    async with trio.open_nursery() as nursery:
        hub = make_hub(outbox_bytes=50)
        _, slow = join(hub, "slow", FakeLink(nursery, window=0))
        _, fast = join(hub, "fast")
        for _ in range(20):
            hub.publish(b"12345678", ["slow", "fast"])
            hub.flush()
        assert fast.sent == b"[12345678]" * 20
        assert slow.expirations == 1
        slow.open()
        await wait_all_tasks_blocked()
        assert slow.closed == [CloseCode.TOO_SLOW]
        assert fast.closed == []


async def test_presence_counts_connections_and_users() -> None:
    hub = make_hub()
    first, _ = join(hub, "alice")
    second, _ = join(hub, "alice")
    join(hub, "bob")
    stranger, _ = join(hub, None)
    assert (hub.connections, hub.online_users) == (4, 2)
    hub.close(first)
    assert (hub.connections, hub.online_users) == (3, 2)
    hub.close(second)
    assert (hub.connections, hub.online_users) == (2, 1)
    hub.close(stranger)
    assert (hub.connections, hub.online_users) == (1, 1)
    hub.close(second)  # again: no harm
    assert (hub.connections, hub.online_users) == (1, 1)


async def test_a_closed_session_gets_nothing_more() -> None:
    hub = make_hub()
    session, link = join(hub, "alice")
    hub.publish(b"queued", ["alice"])
    hub.close(session)
    hub.publish(b"later", ["alice"])
    hub.send(session, b"answer")  # of a write that was under way
    hub.flush()
    assert link.sent == b""
    assert session.outbox.closed


async def test_a_broken_network_found_while_letting_out_stops_nobody_else() -> None:
    hub = make_hub()
    links = [join(hub, "alice")[1] for _ in range(3)]
    links[1].sever()
    hub.publish(b"hello", ["alice"])
    hub.flush()
    assert links[0].sent == links[2].sent == b"[hello]"


async def test_close_all_sends_what_waits_and_says_goodbye() -> None:
    hub = make_hub()
    _, alice = join(hub, "alice")
    _, nobody = join(hub, None)
    hub.publish(b"last words", ["alice"])
    hub.close_all(CloseCode.GOING_AWAY)
    assert alice.sent == b"[last words]"
    assert alice.closed == nobody.closed == [CloseCode.GOING_AWAY]


LARGE = {f"user{number}" for number in range(20)} | {"alice", "bob"}
OTHERS = {f"user{number}" for number in range(20)} | {"bob", "carol"}
deeds = st.one_of(
    st.tuples(st.just("large"), st.sampled_from([None, "alice", "bob"])),
    st.tuples(st.just("others"), st.sampled_from([None, "bob"])),
    st.tuples(st.just("small"), st.sampled_from([None, "alice"])),
    st.tuples(st.just("send"), st.sampled_from(["alice", "bob", "carol"])),
    st.tuples(st.just("come"), st.sampled_from(["alice", "bob", "carol"])),
    st.tuples(st.just("go"), st.sampled_from(["alice", "bob", "carol"])),
    st.tuples(st.just("flush"), st.none()),
)


@given(st.lists(deeds, max_size=30))
def test_each_session_gets_what_is_its_own_in_the_order_in_which_it_was_queued(
    plan: list[tuple[str, str | None]],
) -> None:
    """Whatever is held back to be put into outboxes in one piece, nobody can tell."""
    hub = make_hub(outbox_bytes=100_000)
    first = {user: join(hub, user) for user in ("alice", "bob", "carol")}
    here = list(first.items())
    expected: dict[FakeLink, bytes] = {link: b"" for _, (_, link) in here}
    for number, (deed, user) in enumerate(plan):
        payload = b"%d" % number
        audience = {"large": LARGE, "others": OTHERS, "small": {"alice", "carol"}}.get(deed)
        if audience is not None:
            skip = None if user is None else first[user][0]
            hub.publish(payload, audience, skip)
            for name, (session, link) in here:
                if name in audience and session is not skip:
                    expected[link] += b"[" + payload + b"]"
        elif deed == "send":
            session, link = first[user]
            hub.send(session, payload)
            if (user, first[user]) in here:
                expected[link] += b"[" + payload + b"]"
        elif deed == "come":
            session, link = join(hub, user)
            here.append((user, (session, link)))
            expected[link] = b""
        elif deed == "go":
            leaving = [entry for entry in here if entry[0] == user]
            if leaving:
                here.remove(leaving[-1])
                hub.flush()
                hub.close(leaving[-1][1][0])
        else:
            hub.flush()
    hub.flush()
    assert {link: link.sent for link in expected} == expected


async def test_a_run_for_a_large_audience_is_put_into_each_outbox_in_one_piece() -> None:
    hub = make_hub()
    sender, _ = join(hub, "alice")
    _, bob = join(hub, "bob")
    for number in range(3):
        hub.send(sender, b"stored")
        hub.publish(b"%d" % number, LARGE, sender)
    outbox = next(iter(hub.of_user("bob"))).outbox
    assert outbox.size == 0
    hub.flush()
    assert bob.sends == [b"[0][1][2]"]


async def test_a_run_is_not_longer_than_an_outbox_may_be() -> None:
    hub = make_hub(outbox_bytes=1_000_000)
    _, bob = join(hub, "bob")
    for _ in range(100):
        hub.publish(b"x" * 50_000, LARGE)
    hub.flush()
    assert bob.sent == (b"[" + b"x" * 50_000 + b"]") * 100

"""Connections that die at chosen moments: nothing lost, nothing twice, everything in order."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import trio
import trio.testing

from imserver.client import (
    Code,
    ConnectionLost,
    Disconnected,
    Gap,
    Message,
    Patience,
    Reconnected,
    Refused,
    open_client,
)
from imserver.config import Admission, Limits
from tests.client.proxy import proxy_to
from tests.client.support import (
    BRISK,
    LONG,
    hosted,
    in_process,
    messages,
    quiet,
    refusing,
    stored,
    until,
)
from tests.support import running_server

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.proxy import Wire

IMPATIENT = Patience(heartbeat=0.05, answer=0.3, first_delay=0.01, most_delay=0.05)


async def test_a_send_whose_answer_was_lost_is_stored_once() -> None:
    async with (
        running_server() as server,
        proxy_to(server.address[1]) as proxy,
        open_client(server.url, "bob") as bob,
        open_client(proxy.url, "alice", patience=BRISK) as alice,
        trio.open_nursery() as nursery,
    ):
        results: list[Message] = []

        async def send() -> None:
            results.append(await alice.send("once", to="bob"))

        proxy.wire.down.shut()
        nursery.start_soon(send)
        assert await messages(bob, 1) == ["once"]  # so it is committed
        with trio.fail_after(LONG):
            await proxy.wire.down.held.wait()
        assert not results
        proxy.wire.cut()
        await until(alice, Reconnected)
        await quiet(alice)  # its own message is the result of send, and no event
        await quiet(bob)
        assert [message.id for message in results] == ["msg_1"]
        assert await stored(server.url, "bob") == ["once"]


async def test_requests_that_never_arrived_are_sent_again_in_their_order() -> None:
    async with (
        running_server() as server,
        proxy_to(server.address[1]) as proxy,
        open_client(server.url, "bob") as bob,
        open_client(proxy.url, "alice", patience=BRISK) as alice,
    ):
        proxy.wire.up.shut()
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(partial(alice.send, str(number), to="bob"))
                await trio.testing.wait_all_tasks_blocked()
            await proxy.wire.up.held.wait()
            proxy.wire.cut()
        assert await messages(bob, 20) == [str(number) for number in range(20)]
        await quiet(bob)


async def test_a_send_that_arrives_after_the_client_gave_up_is_not_told() -> None:
    """The server stores it for the old connection, and pushes it to the new one."""
    async with (
        running_server() as server,
        proxy_to(server.address[1]) as proxy,
        open_client(server.url, "bob") as bob,
        open_client(proxy.url, "alice", patience=IMPATIENT) as alice,
        trio.open_nursery() as nursery,
    ):
        results: list[Message] = []
        returned = trio.Event()

        async def send() -> None:
            results.append(await alice.send("late", to="bob"))
            returned.set()

        def hold_answers(wire: Wire) -> None:
            wire.down.shut(after=1)  # the handshake

        old = proxy.wire
        old.up.shut()
        proxy.prepare = hold_answers
        nursery.start_soon(send)
        with trio.fail_after(LONG):
            await proxy.connected(2)
            await proxy.wire.down.held.wait()  # the answer to the new login
            old.up.open()
            assert await messages(bob, 1) == ["late"]
            proxy.prepare = lambda wire: None
            proxy.wire.down.open()
            await until(alice, Reconnected)
            await returned.wait()
        await quiet(alice)
        await quiet(bob)
        assert [message.content for message in results] == ["late"]
        assert await stored(server.url, "alice") == ["late"]


@pytest.mark.parametrize("answered", [True, False])
async def test_a_cancelled_send_that_was_stored_comes_as_an_event(answered: bool) -> None:
    async with (
        running_server() as server,
        proxy_to(server.address[1]) as proxy,
        open_client(proxy.url, "alice", patience=BRISK) as alice,
    ):
        proxy.wire.down.shut()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(alice.send, "perhaps", to="bob"))
            await proxy.wire.down.held.wait()
            nursery.cancel_scope.cancel()
        if answered:
            proxy.wire.down.open()
        else:
            proxy.wire.cut()
        assert await messages(alice, 1) == ["perhaps"]
        await quiet(alice)


async def test_a_group_is_not_created_twice() -> None:
    async with (
        running_server() as server,
        proxy_to(server.address[1]) as proxy,
        open_client(proxy.url, "alice", patience=BRISK) as alice,
    ):
        proxy.wire.down.shut()
        async with trio.open_nursery() as nursery:

            async def create() -> None:
                with pytest.raises(ConnectionLost, match="create_group"):
                    await alice.create_group("team")

            nursery.start_soon(create)
            await proxy.wire.down.held.wait()
            proxy.wire.cut()
        created = await until(alice, Message)
        assert isinstance(created, Message)
        assert created.content == 'alice created the group "team"'
        assert len(await alice.groups()) == 1


async def test_calls_wait_for_the_connection() -> None:
    async with (
        running_server() as server,
        proxy_to(server.address[1]) as proxy,
        open_client(proxy.url, "alice", patience=BRISK) as alice,
    ):
        proxy.accepts = False
        proxy.wire.cut()
        await until(alice, Disconnected)
        assert not alice.connected
        with trio.move_on_after(0.1) as patience:
            await alice.send("never sent", to="bob")
        assert patience.cancelled_caught
        async with trio.open_nursery() as nursery:
            nursery.start_soon(partial(alice.send, "sent later", to="bob"))
            nursery.start_soon(alice.create_group, "team")  # it never left: no harm in waiting
            await trio.testing.wait_all_tasks_blocked()
            proxy.accepts = True
        assert await stored(server.url, "bob") == ["sent later"]


async def test_cuts_while_a_backlog_is_fetched_and_more_comes() -> None:
    async with (
        running_server() as server,
        proxy_to(server.address[1]) as proxy,
        open_client(server.url, "alice", events=False) as alice,
        trio.open_nursery() as nursery,
    ):
        for number in range(150):
            await alice.send(str(number), to="bob")

        async def go_on() -> None:
            for number in range(150, 300):
                await alice.send(str(number), to="bob")

        options: dict[str, Any] = {"buffer": 7, "patience": BRISK}
        async with open_client(proxy.url, "bob", cursor="msg_0", **options) as bob:
            nursery.start_soon(go_on)
            found: list[str] = []
            while len(found) < 300:
                found += await messages(bob, min(11, 300 - len(found)))
                proxy.wire.cut()
            assert found == [str(number) for number in range(300)]
            await until(bob, Reconnected)
            await quiet(bob)
        assert len(proxy.wires) > 3


async def test_a_program_that_restarts_goes_on_at_its_cursor() -> None:
    async with running_server() as server, open_client(server.url, "alice") as alice:
        found: list[str] = []
        cursor: str | None = None
        for number in range(60):
            await alice.send(str(number), to="bob")
            if number % 7 == 0:
                async with open_client(server.url, "bob", cursor=cursor, buffer=5) as bob:
                    found += await messages(bob, 2 if cursor else 1)
                    cursor = bob.cursor
        async with open_client(server.url, "bob", cursor=cursor) as bob:
            found += await messages(bob, 60 - len(found))
            await quiet(bob)
        assert found == [str(number) for number in range(60)]


async def test_a_dead_connection_is_noticed() -> None:
    async with (
        running_server() as server,
        proxy_to(server.address[1]) as proxy,
        open_client(server.url, "bob") as bob,
        open_client(proxy.url, "alice", patience=IMPATIENT) as alice,
    ):
        proxy.wire.down.shut()  # and nothing else: no reset, no end
        await bob.send("are you there?", to="alice")
        lost = await until(alice, Disconnected)
        assert lost == Disconnected("the server does not answer")
        assert isinstance(await anext(alice), Reconnected)
        assert await messages(alice, 1) == ["are you there?"]
        await quiet(alice)


async def test_a_quiet_connection_is_kept() -> None:
    async with (
        running_server() as server,
        proxy_to(server.address[1]) as proxy,
        open_client(proxy.url, "alice", patience=IMPATIENT) as alice,
    ):
        with trio.move_on_after(4 * IMPATIENT.answer):
            raise AssertionError(await anext(alice))
        assert len(proxy.wires) == 1


async def test_too_slow_for_the_server() -> None:
    """4008 means: reconnect and sync."""
    limits = Limits(outbox_bytes=64 * 1024)
    async with (
        running_server(limits=limits) as server,
        proxy_to(server.address[1]) as proxy,
        open_client(server.url, "alice") as alice,
        open_client(proxy.url, "bob", patience=BRISK) as bob,
    ):
        proxy.wire.down.shut()
        # What the kernels, the proxy and the outbox hold together is less than this.
        with trio.fail_after(LONG):
            for number in range(400):
                await alice.send(f"{number} " + "x" * 60_000, to="bob")
        proxy.wire.down.open()
        found = await messages(bob, 400)
        assert [text.split()[0] for text in found] == [str(number) for number in range(400)]
        assert len(proxy.wires) > 1


async def test_a_restart_in_the_middle_of_everything(tmp_path: Path) -> None:
    """Several senders, several readers, three restarts: all see one order, once."""
    names = ("alice", "carol", "dave")
    each = 40
    found: dict[str, list[str]] = {}
    progress = trio.Event()  # replaced when a quarter of everything was read

    async def send(name: str) -> None:
        async with open_client(host.url, name, patience=BRISK) as client:
            for number in range(each):
                await client.send(f"{name} {number}", to="bob")

    async def read(key: str, user_id: str, count: int) -> None:
        nonlocal progress
        options: dict[str, Any] = {"cursor": "msg_0", "buffer": 9, "patience": BRISK}
        async with open_client(host.url, user_id, **options) as client:
            found[key] = []
            while len(found[key]) < count:
                found[key] += await messages(client, 1)
                if key == "bob" and len(found[key]) % (count // 4) == 0:
                    progress.set()
            await quiet(client)

    async with hosted(tmp_path) as host:
        async with trio.open_nursery() as programs:
            programs.start_soon(read, "bob", "bob", len(names) * each)
            programs.start_soon(read, "bob too", "bob", len(names) * each)
            programs.start_soon(read, "alice's other", "alice", each)
            for name in names:
                programs.start_soon(send, name)
            for _ in range(3):
                await progress.wait()
                progress = trio.Event()
                await host.stop()
                await host.start()
        order = await stored(host.url, "bob")
    assert found["bob"] == found["bob too"] == order
    assert found["alice's other"] == [text for text in order if text.startswith("alice")]
    for name in names:
        assert [text for text in order if text.startswith(name)] == [
            f"{name} {number}" for number in range(each)
        ]


async def test_going_away_and_coming_back_is_told(tmp_path: Path) -> None:
    async with (
        hosted(tmp_path) as host,
        open_client(host.url, "bob", patience=BRISK) as bob,
    ):
        await host.stop()
        assert await anext(bob) == Disconnected("server is shutting down", 1001)
        await host.start()
        async with open_client(host.url, "alice") as alice:
            await alice.send("back", to="bob")
        assert await anext(bob) == Reconnected()
        assert await messages(bob, 1) == ["back"]


async def test_a_server_restored_from_an_older_copy(tmp_path: Path) -> None:
    after = tmp_path / "after"
    async with hosted(after) as host:
        async with open_client(host.url, "alice") as alice:
            await alice.send("not read there", to="bob")
        await host.stop()
        await host.start(in_process(host.port, tmp_path / "before"))
        async with (
            open_client(host.url, "alice", patience=BRISK) as alice,
            open_client(host.url, "bob", patience=BRISK) as bob,
        ):
            for number in range(5):
                await alice.send(str(number), to="bob")
            assert await messages(bob, 5) == ["0", "1", "2", "3", "4"]
            await host.stop()
            await host.start(in_process(host.port, after))
            assert isinstance(await anext(bob), Disconnected)
            assert await anext(bob) == Reconnected()
            assert await anext(bob) == Gap(restored=True)
            await alice.send("and on", to="bob")
            assert await messages(bob, 2) == ["not read there", "and on"]


async def test_a_login_that_is_refused_on_reconnecting_is_final(tmp_path: Path) -> None:
    async with hosted(tmp_path) as host, open_client(host.url, "bob", patience=BRISK) as bob:
        await host.stop()
        await until(bob, Disconnected)
        async with refusing(host.port, "unauthorized"):
            for attempt in (partial(bob.send, "x", to="alice"), bob.__anext__, bob.heartbeat):
                with pytest.raises(Refused) as refused, trio.fail_after(LONG):
                    await attempt()
                assert refused.value.code == Code.UNAUTHORIZED


async def test_a_login_that_is_refused_for_now_is_tried_again(tmp_path: Path) -> None:
    async with hosted(tmp_path) as host, open_client(host.url, "bob", patience=BRISK) as bob:
        await host.stop()
        async with refusing(host.port, "unavailable") as attempts:
            with trio.fail_after(LONG):
                for _ in range(3):
                    await attempts.receive()
        await host.start()
        await until(bob, Reconnected)


async def test_rate_limits_are_waited_out() -> None:
    admission = Admission(mode="on", messages_per_second=20, messages_burst=3)
    async with (
        running_server(admission=admission) as server,
        open_client(server.url, "alice") as alice,
        open_client(server.url, "bob") as bob,
    ):
        with trio.fail_after(LONG):
            for number in range(8):
                await alice.send(str(number), to="bob")
        assert await messages(bob, 8) == [str(number) for number in range(8)]

"""Leaving `open_server`: who is idle does not delay it, who is stuck is cut off at the deadline."""

from __future__ import annotations

import threading
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from imserver.config import Timeouts
from imserver.store import syncing
from imserver.transport import link
from tests.support import login, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import CLOSE, Raw, open_raw, open_stream, raw_websocket, request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server

HOUR = 3600.0
PATIENT = Timeouts(shutdown=HOUR, request_head=HOUR, rest_idle=HOUR, login=HOUR)
GOING_AWAY = 1001


class Clients(NamedTuple):
    """Connections that outlive the server, and tasks that use them meanwhile."""

    stack: AsyncExitStack
    tasks: trio.Nursery

    async def raw(self, server: Server) -> Raw:
        return await self.stack.enter_async_context(open_raw(server))

    async def websocket(self, server: Server, user_id: str | None = None) -> Raw:
        return await self.stack.enter_async_context(raw_websocket(server, user_id))


@asynccontextmanager
async def stopped_at_once() -> AsyncIterator[tuple[Server, Clients]]:
    """A server that must stop at once, although its deadline is an hour away."""
    async with AsyncExitStack() as stack, trio.open_nursery() as tasks:
        with trio.fail_after(PATIENCE):
            async with running_server(timeouts=PATIENT) as server:
                yield server, Clients(stack, tasks)
                await wait_all_tasks_blocked()


async def test_an_idle_server_stops_at_once() -> None:
    async with stopped_at_once():
        pass


async def test_clients_who_have_said_nothing_do_not_delay_it() -> None:
    async with stopped_at_once() as (server, clients):
        for _ in range(3):
            await clients.raw(server)


@pytest.mark.parametrize(
    "said", [b"GET /he", b"GET /ws HTTP/1.1\r\nHost: localhost\r\n", b"GET / HTTP/1.1\r\n"]
)
async def test_half_a_request_does_not_delay_it(said: bytes) -> None:
    async with stopped_at_once() as (server, clients):
        raw = await clients.raw(server)
        await raw.send(said)
        clients.tasks.start_soon(raw.end)


async def test_idle_rest_connections_do_not_delay_it() -> None:
    async with stopped_at_once() as (server, clients):
        for _ in range(3):
            raw = await clients.raw(server)
            for _ in range(2):
                await raw.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert (await raw.answer())[0] == 200
            clients.tasks.start_soon(raw.end)


async def test_websockets_are_told_that_the_server_goes_away() -> None:
    async def expect_goodbye(raw: Raw) -> None:
        closing = await raw.frame()
        assert closing.opcode == CLOSE
        assert int.from_bytes(closing.payload[:2], "big") == GOING_AWAY
        await raw.stream.aclose()

    async with stopped_at_once() as (server, clients):
        clients.tasks.start_soon(expect_goodbye, await clients.websocket(server, "alice"))
        clients.tasks.start_soon(expect_goodbye, await clients.websocket(server))


async def test_what_was_accepted_is_answered_before_the_goodbye() -> None:
    async def expect_answers(raw: Raw) -> None:
        answers = await raw.frames(100)
        assert all(answer["data"]["success"] for answer in answers)
        assert (await raw.frame()).opcode == CLOSE
        await raw.stream.aclose()

    async with stopped_at_once() as (server, clients):
        raw = await clients.websocket(server, "alice")
        clients.tasks.start_soon(expect_answers, raw)
        sends = (request("send_message", {"receiver_id": "bob", "content": "x"}),) * 100
        await raw.send(b"".join(sends))


async def test_what_is_being_read_is_answered_before_the_goodbye(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reading_now, read_on = threading.Event(), threading.Event()
    sync_page = syncing.sync_page

    def slow(*args: Any, **options: Any) -> Any:
        reading_now.set()
        assert read_on.wait(PATIENCE)
        return sync_page(*args, **options)

    async def expect_goodbye_and_go_on(raw: Raw) -> None:
        assert (await raw.frame()).opcode == CLOSE
        read_on.set()
        await raw.stream.aclose()

    async def expect_answer(raw: Raw) -> None:
        (answer,) = await raw.frames(1)
        assert answer["type"] == "sync_offline"
        assert answer["data"]["messages"] == []
        closing = await raw.frame()
        assert closing.opcode == CLOSE
        assert int.from_bytes(closing.payload[:2], "big") == GOING_AWAY
        await raw.stream.aclose()

    monkeypatch.setattr(syncing, "sync_page", slow)
    async with stopped_at_once() as (server, clients):
        asking = await clients.websocket(server, "alice")
        clients.tasks.start_soon(expect_goodbye_and_go_on, await clients.websocket(server, "bob"))
        clients.tasks.start_soon(expect_answer, asking)
        await asking.send(request("sync_offline", {}))
        assert await trio.to_thread.run_sync(reading_now.wait, PATIENCE)


async def test_who_ignores_the_goodbye_is_cut_off_within_seconds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The server does not wait for its own deadline: a WebSocket has seconds to say goodbye.
    monkeypatch.setattr(link, "LINGER", 0.2)
    async with stopped_at_once() as (server, clients):
        await clients.websocket(server, "alice")


async def test_a_rest_client_who_does_not_take_the_answer_is_cut_off_at_the_deadline() -> None:
    async with AsyncExitStack() as stack:
        with trio.fail_after(PATIENCE):
            async with running_server(timeouts=Timeouts(shutdown=0.5)) as server:
                async with login(server, "alice") as alice:
                    for _ in range(8):
                        await alice.call(
                            "send_message", {"receiver_id": "bob", "content": "x" * 60_000}
                        )
                stuck = await stack.enter_async_context(open_raw(server, receive_buffer=4096))
                call = b"GET /api/v1/messages/offline HTTP/1.1\r\nHost:\r\nX-User-ID: bob\r\n\r\n"
                await stuck.send(call * 3)
                await stuck.head()  # the answer has begun; the rest stays where it is


async def test_half_a_body_is_cut_off_at_the_deadline() -> None:
    async with AsyncExitStack() as stack:
        with trio.fail_after(PATIENCE):
            async with running_server(timeouts=Timeouts(shutdown=0.5)) as server:
                raw = await stack.enter_async_context(open_raw(server))
                await raw.send(
                    b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nX-User-ID: alice\r\n"
                    b'Content-Length: 100\r\n\r\n{"receiver_id"'
                )
                await wait_all_tasks_blocked()


async def test_a_cancelled_server_stops_at_once_and_in_order() -> None:
    with trio.fail_after(PATIENCE):
        async with AsyncExitStack() as stack:
            with trio.CancelScope() as scope:
                async with running_server(timeouts=PATIENT) as server:
                    await stack.enter_async_context(raw_websocket(server, "alice"))
                    await stack.enter_async_context(open_raw(server))
                    idle = await stack.enter_async_context(open_raw(server))
                    await idle.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
                    await idle.answer()
                    scope.cancel()
                    await trio.sleep_forever()
            assert scope.cancelled_caught


async def test_nobody_gets_in_once_it_stops() -> None:
    async with running_server() as server:
        pass
    with pytest.raises(OSError, match=str(server.address[1])):
        await open_stream(server)

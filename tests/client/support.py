"""What the client's tests have in common."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from trio_websocket import ConnectionClosed, serve_websocket

from imserver.client import Client, Event, Message, Patience, open_client
from tests.e2e.process import started
from tests.support import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio_websocket import WebSocketRequest

LONG = 20.0  # seconds of real time before a test gives up
# Reconnects at once; everything else as it comes.
BRISK = Patience(first_delay=0.01, most_delay=0.05)


async def messages(client: Client, count: int) -> list[str]:
    """The contents of the next `count` messages."""
    found: list[str] = []
    with trio.fail_after(LONG):
        while len(found) < count:
            event = await anext(client)
            if isinstance(event, Message) and event.type != "system":
                found.append(event.content)
    return found


async def until(client: Client, wanted: type[Event] | Callable[[Event], bool]) -> Event:
    """The next event of a kind; those before it are passed over."""
    with trio.fail_after(LONG):
        async for event in client:
            if isinstance(event, wanted) if isinstance(wanted, type) else wanted(event):
                return event
    raise AssertionError("the events ended")


async def quiet(client: Client) -> None:
    """Make sure that no event waits: whatever was pushed came before this answer."""
    await client.heartbeat()
    with trio.move_on_after(0.05):
        event = await anext(client)
        raise AssertionError(event)


def free_port() -> int:
    """A port that was free a moment ago, and is known before the server is there."""
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


Serving = Callable[[], AbstractAsyncContextManager[Any]]


class Host:
    """A server that can be stopped and started again on the same port."""

    def __init__(self, port: int, serve: Serving) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._serve = serve
        self._wish = trio.Event()  # set when it is to stop, or to start
        self._done = trio.Event()  # set when it has

    async def run(self) -> None:
        while True:
            await self._wish.wait()
            async with self._serve():
                self._fulfil()
                await self._wish.wait()
            self._fulfil()

    async def start(self, serve: Serving | None = None) -> None:
        """Start it, or from now on another one."""
        self._serve = serve or self._serve
        await self._ask()

    async def stop(self) -> None:
        """Stop it as leaving its context does."""
        await self._ask()

    async def _ask(self) -> None:
        self._done = trio.Event()
        self._wish.set()
        with trio.fail_after(LONG):
            await self._done.wait()

    def _fulfil(self) -> None:
        self._wish = trio.Event()
        self._done.set()


@asynccontextmanager
async def hosted(data: Path) -> AsyncIterator[Host]:
    """A server in this process; stops in good order."""
    port = free_port()
    async with _running(Host(port, in_process(port, data))) as host:
        yield host


@asynccontextmanager
async def hosted_process(folder: Path) -> AsyncIterator[Host]:
    """A server process; stopping kills it with SIGKILL."""
    port = free_port()
    serve = partial(started, folder, "--port", str(port), "--data", "data")
    async with _running(Host(port, serve)) as host:
        yield host


def in_process(port: int, data: Path) -> Serving:
    """What a host runs."""
    return partial(running_server, port=port, data=str(data))


@asynccontextmanager
async def _running(host: Host) -> AsyncIterator[Host]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.run)
        await host.start()
        yield host
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def refusing(port: int, code: str) -> AsyncIterator[trio.MemoryReceiveChannel[None]]:
    """A server that refuses every login, and tells how often."""
    noted, attempts = trio.open_memory_channel[None](1000)

    async def refuse(request: WebSocketRequest) -> None:
        socket = await request.accept()
        with suppress(ConnectionClosed):
            await socket.get_message()
            await socket.send_message(
                '{"type":"login","message_id":"login","timestamp":1,"data":'
                f'{{"success":false,"error":"No","code":"{code}","retry_after_ms":10}}}}'
            )
            noted.send_nowait(None)
            await socket.get_message()

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(serve_websocket, refuse, "127.0.0.1", port, None))
        yield attempts
        nursery.cancel_scope.cancel()


async def stored(url: str, user_id: str) -> list[str]:
    """The contents of everything that a user may see, in the server's order."""
    async with open_client(url, user_id, events=False) as client:
        found: list[str] = []
        cursor, more = "msg_0", True
        while more:
            page = await client.sync(cursor, limit=200, own=True)
            found += [message.content for message in page.messages]
            more = page.has_more
            cursor = page.messages[-1].id if page.messages else cursor
        return found

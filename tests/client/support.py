"""What the client's tests have in common."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

import trio

from imserver.client import Client, Event, Message, Patience

if TYPE_CHECKING:
    from collections.abc import Callable

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

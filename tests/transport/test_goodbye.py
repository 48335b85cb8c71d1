"""When both sides have said goodbye the server closes, whatever the client does with its socket."""

from __future__ import annotations

import trio

from imserver import Config, open_server
from imserver.domain.errors import CloseCode
from tests.support import rest, running_server
from tests.transport.raw import CLOSE, frame, raw_websocket

GOODBYE = frame(int(CloseCode.GOING_AWAY).to_bytes(2, "big"), CLOSE)


async def test_the_server_closes_first_when_the_client_said_goodbye() -> None:
    async with (
        running_server() as server,
        raw_websocket(server) as raw,
        rest(server, None) as anyone,
    ):
        await raw.send(GOODBYE)
        assert await raw.goodbye() == CloseCode.GOING_AWAY
        # Well before the seconds that a client has to take its goodbye.
        with trio.fail_after(3):
            while (await anyone.get("/api/v1/stats"))["connections"]:
                pass


async def test_a_stop_does_not_wait_for_a_client_that_has_answered_the_goodbye() -> None:
    config = Config(port=0, database=":memory:")
    async with trio.open_nursery() as nursery:
        stop = trio.Event()
        stopped = trio.Event()

        async def serve(task_status: trio.TaskStatus) -> None:
            async with open_server(config) as running:
                task_status.started(running)
                await stop.wait()
            stopped.set()

        server = await nursery.start(serve)
        async with raw_websocket(server) as raw:
            stop.set()
            assert await raw.goodbye() == CloseCode.GOING_AWAY
            await raw.send(GOODBYE)
            with trio.fail_after(3):  # the client keeps its socket all the while
                await stopped.wait()

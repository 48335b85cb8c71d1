"""A page in headless Chromium, and its console: as much of the DevTools protocol as that takes."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any

import trio
from trio_websocket import open_websocket_url

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from trio_websocket import WebSocketConnection

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PATIENCE = 60.0  # seconds for a browser to start, on a busy machine


class Console:
    """The console of one page."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self._connection = connection
        self._ids = count(1)
        self._page: dict[str, str] = {}
        self.logged: list[Any] = []  # the first argument of each console.log

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One call of the protocol; events that come before its answer are looked through."""
        number = next(self._ids)
        call = {"id": number, "method": method, "params": params} | self._page
        await self._connection.send_message(json.dumps(call))
        while (message := await self._next()).get("id") != number:
            pass
        assert "error" not in message, message
        return message["result"]

    async def open(self, url: str) -> None:
        """Show a page, and wait until it is loaded."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", flatten=True, **target)
        self._page = {"sessionId": attached["sessionId"]}
        await self.call("Runtime.enable")
        await self.call("Page.enable")
        await self.call("Page.navigate", url=url)
        while (await self._next()).get("method") != "Page.loadEventFired":
            pass

    async def type(self, script: str) -> None:
        """Run a script as if it were typed."""
        result = await self.call("Runtime.evaluate", expression=script, replMode=True)
        assert "exceptionDetails" not in result, result

    async def logs(self, text: str) -> None:
        """Wait until something with this text is logged."""
        while not any(text in str(entry) for entry in self.logged):
            await self._next()

    async def _next(self) -> dict[str, Any]:
        with trio.fail_after(PATIENCE):
            message: dict[str, Any] = json.loads(await self._connection.get_message())
        if message.get("method") == "Runtime.consoleAPICalled":
            self.logged.append(message["params"]["args"][0].get("value"))
        return message


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Console]:
    """A browser whose profile is in `folder`; killed at the end."""
    assert CHROMIUM is not None
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
               "--remote-debugging-port=0", f"--user-data-dir={folder}"]  # fmt: skip
    run = partial(
        trio.run_process, command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    async with trio.open_nursery() as tasks:
        process: trio.Process = await tasks.start(run)
        try:
            said = b""
            with trio.fail_after(PATIENCE):
                while not (found := re.search(rb"listening on (ws://\S+)\n", said)):
                    data = await process.stderr.receive_some()
                    assert data, said
                    said += data
            tasks.start_soon(_drain, process.stderr)
            async with open_websocket_url(found[1].decode()) as connection:
                yield Console(connection)
        finally:
            process.kill()


async def _drain(stream: trio.abc.ReceiveStream) -> None:
    async for _ in stream:
        pass

"""Real servers on real loopback sockets."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import imserver
from tests.support import clients
from tests.support.certificates import Files, trusting

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

everywhere: Files | None = None  # with this certificate every server speaks TLS, unless told else


@asynccontextmanager
async def running_server(**settings: Any) -> AsyncIterator[imserver.Server]:
    """A server in this process, on a free port; in memory unless a `data` folder is given.

    Keyword arguments are those of `imserver.Config`; `clock` is handed to `open_server`.
    """
    extras = {"clock": settings.pop("clock")} if "clock" in settings else {}
    settings.setdefault("port", 0)
    if everywhere is not None:
        settings.setdefault("tls", everywhere.setting)
    if "data" not in settings:
        settings.setdefault("database", ":memory:")
    async with imserver.open_server(imserver.Config(**settings), **extras) as server:
        if "tls" in settings:
            clients.TRUSTED[server.url] = trusting(settings["tls"].certificate)
        yield server

"""Serving until told to stop: what `imserver` without a command does."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import trio

from imserver.cli.options import fail, first_password_sentence
from imserver.cli.service_manager import asking_for_patience, notify
from imserver.cli.signals import Asked, heeded
from imserver.config import Config, ConfigError
from imserver.resources import give_large_blocks_back, raise_file_limit
from imserver.server import open_server
from imserver.store.database import StoreError
from imserver.version import __version__

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver.server import Server

logger = logging.getLogger("imserver")

_GC_THRESHOLD = 50_000  # new containers before the collector looks at the young ones


def serve(config: Config) -> None:
    """Serve until SIGTERM or Ctrl-C; a second one does not wait for clients any more."""
    # What was imported stays: the collector need not look at it again. Connections do make
    # cycles, but few; the default thresholds look for them after every few hundred messages.
    asked = Asked()
    asked.listen()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 50)
    raise_file_limit()
    if config.auth.mode == "token":
        give_large_blocks_back()
    try:
        trio.run(_serve, config, asked)
    except ConfigError as error:
        fail(str(error))
    except StoreError as error:
        fail(str(error))
    except OSError as error:
        fail(str(error))


async def _serve(config: Config, asked: Asked) -> None:
    failure: Exception | None = None
    with trio.open_signal_receiver(*heeded(), signal.SIGHUP) as signals:
        if asked.number is not None:
            return
        async with trio.open_nursery() as nursery:
            try:
                async with AsyncExitStack() as serving:
                    with asking_for_patience():
                        server = await serving.enter_async_context(open_server(config))
                    _say_ready(server)
                    notify("READY=1", f"STATUS=serving on {server.url}")
                    number = await _stop_asked(signals, server)
                    notify("STOPPING=1", "STATUS=letting clients go")
                    logger.info("%s: shutting down", signal.Signals(number).name)
                    nursery.start_soon(_hurry, signals, nursery.cancel_scope)
            except (ConfigError, StoreError, OSError) as error:
                failure = error  # not in a group: it could not start
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


def _say_ready(server: Server) -> None:
    with suppress(OSError):  # nobody reads it any more
        print(
            f"imserver {__version__} ready on {server.url} (database {server.database})",
            flush=True,
        )
        if server.first_password is not None:
            # Nowhere but here, and this once: not in a log either.
            print(first_password_sentence(server.first_password), flush=True)


async def _stop_asked(signals: AsyncIterator[int], server: Server) -> int:
    """Wait for a signal to stop; on SIGHUP files are read again, or the terminal is gone."""
    on_terminal = sys.stdin is not None and sys.stdin.isatty()
    async for number in signals:
        if number != signal.SIGHUP or (on_terminal and not sys.stdin.isatty()):
            return number
        notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
        server.reload()
        notify("READY=1")
    raise AssertionError("signals do not end")


async def _hurry(signals: AsyncIterator[int], stop: trio.CancelScope) -> None:
    # Asked again, it waits for no client any more; the store is closed in order all the same.
    async for number in signals:
        if number == signal.SIGHUP:
            continue
        logger.info("%s again: cutting everyone off", signal.Signals(number).name)
        stop.cancel()

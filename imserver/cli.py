"""The command line: `imserver` serves; the other commands are at hand beside it."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from imserver import Config, ConfigError, StoreError, __version__, open_server
from imserver.commands import fail, first_password_sentence
from imserver.config import CONFIG_VARIABLE, load_config
from imserver.log import set_up_logging
from imserver.notify import notify
from imserver.server import raise_file_limit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server

logger = logging.getLogger("imserver")

_GC_THRESHOLD = 50_000  # new containers before the collector looks at the young ones


_ELSEWHERE = {  # commands by the module and name of what they are
    "audit": ("imserver.administration.audit", "audit"),
    "backup": ("imserver.maintenance", "backup"),
    "cert": ("imserver.cert", "cert"),
    "chat": ("imserver.chat.command", "chat"),
    "check": ("imserver.maintenance", "check"),
    "erase": ("imserver.maintenance", "erase"),
    "export": ("imserver.maintenance", "export"),
    "import": ("imserver.maintenance", "import_"),
    "restore": ("imserver.maintenance", "restore"),
    "user": ("imserver.administration.users", "user"),
}


class Commands(click.Group):
    """Loads a command's module only when it is asked for: a server starts without them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in order."""
        return sorted({*super().list_commands(ctx), *_ELSEWHERE})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of a name, or None."""
        if cmd_name not in _ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        module, name = _ELSEWHERE[cmd_name]
        command: click.Command = getattr(import_module(module), name)
        return command


@click.group(
    cls=Commands,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="imserver %(version)s")
@click.option("--config", type=click.Path(path_type=Path), envvar=CONFIG_VARIABLE,
              help="Settings file.  [default: config.toml, if it is there]")  # fmt: skip
@click.option("--host", help="Address to listen on.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="Port; 0: any free.  [default: 8080]")
@click.option("--data", help="Folder that holds everything.  [default: data]")
@click.option("--log-level", type=click.Choice(["debug", "info", "warning", "error"]),
              help="What is logged.  [default: info]")  # fmt: skip
@click.option("--log-format", type=click.Choice(["auto", "human", "json"]),
              help="How it is logged.  [default: auto, human on a terminal]")  # fmt: skip
@click.pass_context
def main(
    context: click.Context,
    config: Path | None,
    host: str | None,
    port: int | None,
    data: str | None,
    log_level: str | None,
    log_format: str | None,
) -> None:
    """An instant-messaging server in one process and one SQLite file.

    Without a command, serve. Flags win over environment variables (IMSERVER_PORT,
    IMSERVER_LOG_LEVEL, ...), those over the settings file.
    """
    if context.invoked_subcommand is not None:
        return
    flags = {
        "host": host,
        "port": port,
        "data": data,
        "log.level": log_level,
        "log.format": log_format,
    }
    try:
        settings = load_config(config, flags=flags)
    except ConfigError as error:
        fail(str(error))
    set_up_logging(settings.log.level, settings.log.format)
    serve(settings)


def serve(config: Config) -> None:
    """Serve until SIGTERM or Ctrl-C; a second one does not wait for clients any more."""
    # What was imported stays: the collector need not look at it again. Connections do make
    # cycles, but few; the default thresholds look for them after every few hundred messages.
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 50)
    raise_file_limit()
    try:
        trio.run(_serve, config)
    except ConfigError as error:
        fail(str(error))
    except StoreError as error:
        fail(str(error))
    except OSError as error:
        fail(str(error))


async def _serve(config: Config) -> None:
    failure: Exception | None = None
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    with trio.open_signal_receiver(*numbers) as signals:
        async with trio.open_nursery() as nursery:
            try:
                async with open_server(config) as server:
                    print(
                        f"imserver {__version__} ready on {server.url} "
                        f"(database {server.database})",
                        flush=True,
                    )
                    if server.first_password is not None:
                        # Nowhere but here, and this once: not in a log either.
                        print(first_password_sentence(server.first_password), flush=True)
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


# Its options stand in a module that is loaded only here, so that a server starts without it.
@main.command(
    "bench",
    short_help="Measure how fast a server is on this machine.",
    add_help_option=False,
    context_settings={"ignore_unknown_options": True},
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(arguments: tuple[str, ...]) -> None:
    """Measure how fast a server is on this machine."""
    from imserver.bench.command import bench as command

    command.main(list(arguments), prog_name="imserver bench")

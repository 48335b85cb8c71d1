"""The table of commands. Their modules are loaded when they are asked for."""

from __future__ import annotations

import logging
from importlib import import_module
from pathlib import Path

import click

from imserver.cli.options import fail
from imserver.config import ConfigError, load_config
from imserver.environment import CONFIG_VARIABLE, ignored
from imserver.log import set_up_logging
from imserver.version import __version__

logger = logging.getLogger("imserver")

_ELSEWHERE = {  # commands by the module and name of what they are
    "audit": ("imserver.cli.audit_command", "audit"),
    "backup": ("imserver.cli.backup_commands", "backup"),
    "cert": ("imserver.cli.cert_command", "cert"),
    "chat": ("imserver.chat.start", "chat"),
    "check": ("imserver.cli.check_command", "check"),
    "erase": ("imserver.cli.erase_command", "erase"),
    "export": ("imserver.cli.transfer_commands", "export"),
    "import": ("imserver.cli.transfer_commands", "import_"),
    "restore": ("imserver.cli.backup_commands", "restore"),
    "user": ("imserver.cli.user_commands", "user"),
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
def program(
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
    for name in ignored():
        logger.warning("%s is taken for a variable of a Kubernetes Service, and ignored", name)
    from imserver.cli.serving import serve  # not loaded for the other commands

    serve(settings)


# Its options stand in a module that is loaded only here, so that a server starts without it.
@program.command(
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

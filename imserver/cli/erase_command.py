"""`imserver erase`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from imserver.cli.options import examples
from imserver.cli.progress import data_command, database_of, now_ms, working
from imserver.service.upkeep.erasure import erase as take_out
from imserver.transport.listeners import os_user

if TYPE_CHECKING:
    from pathlib import Path


@data_command("erase", examples("imserver erase alice", "imserver erase --yes alice"))
@click.argument("user")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def erase(
    context: click.Context, user: str, yes: bool, config: Path | None, data: str | None, quiet: bool
) -> None:
    """Erase a user and everything they wrote, for good. The server must not run.

    The user leaves all groups. Their messages, acknowledgements, invitations, account and tokens
    are deleted, and the file is rewritten. What others wrote stays, even to or about this user.
    Backups and exports are not changed.
    """
    database = database_of(context, config, data)
    if not yes:
        click.confirm(f"Erase {user} from {database} for ever?", abort=True, err=True)
    with working(quiet) as bar:
        done = take_out(database, user, operator=os_user(os.getuid()), clock=now_ms, progress=bar)
    print(
        f"{user} is erased: {done.messages:,} messages removed, {done.groups:,} groups left; "
        f'what others wrote to them is to "{done.name}" now'
    )

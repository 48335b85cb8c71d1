"""`imserver backup` and `imserver restore`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from imserver.cli.options import PATH, examples
from imserver.cli.progress import (
    OutputFile,
    data_command,
    database_of,
    now_ms,
    refuse_to_replace,
    working,
)
from imserver.domain.model import message_id
from imserver.store.tools.backup import back_up
from imserver.store.tools.restore import MOST_LOST
from imserver.store.tools.restore import restore as put_back
from imserver.store.tools.rotation import backup_name

if TYPE_CHECKING:
    from pathlib import Path


@data_command(
    "backup",
    examples(
        "imserver backup monday.db",
        "imserver backup --compress /mnt/backups/",
        "imserver --data /var/lib/imserver backup monday.db.gz",
    ),
)
@click.argument("file", type=OutputFile())
@click.option("--compress/--no-compress", default=None,
              help="Compress with gzip.  [default: if FILE ends in .gz]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
def backup(
    context: click.Context,
    file: Path,
    compress: bool | None,
    force: bool,
    config: Path | None,
    data: str | None,
    quiet: bool,
) -> None:
    """Copy the database to FILE. The server may run.

    The copy shows one moment, and holds everything that was acknowledged before the command
    started. It gets its name when it is complete, checked, and on disk. If FILE is a folder, the
    copy is named by the time (UTC).
    """
    database = database_of(context, config, data)
    if file.is_dir():
        file /= backup_name(now_ms(), compressed=bool(compress))
    refuse_to_replace(file, force)
    if compress is None:
        compress = file.suffix == ".gz"
    with working(quiet) as bar:
        made = back_up(database, file, compressed=compress, progress=bar)
    newest = f"up to {message_id(made.newest_seq)}" if made.newest_seq else "without messages"
    print(f"{made.path} ({_megabytes(made.size)}, {newest})")


@data_command(
    "restore",
    examples(
        "imserver restore monday.db",
        "imserver restore --data /var/lib/imserver --force /mnt/backups/monday.db.gz",
    ),
)
@click.argument("file", type=PATH)
@click.option("--force", is_flag=True,
              help="Replace the database that is there; it is kept beside it.")  # fmt: skip
@click.option("--lost", type=click.IntRange(0, MOST_LOST),
              help="How many messages were stored after the backup, at the most: their ids are not "
                   "given out again.  [default: what the replaced database says, or a thousand "
                   "million]")  # fmt: skip
def restore(
    context: click.Context,
    file: Path,
    force: bool,
    lost: int | None,
    config: Path | None,
    data: str | None,
    quiet: bool,
) -> None:
    """Replace the database with a backup. The server must not run.

    FILE is a backup, compressed or not, or a database. It is checked first. A backup of an older
    version is upgraded when the server starts. Clients that have seen newer messages than it holds
    are told so (cursor_ahead).
    """
    database = database_of(context, config, data)
    refuse_to_replace(database, force)
    with working(quiet) as bar:
        done = put_back(file, database, replace=force, lost=lost, progress=bar)
    print(f"{database} restored from {file}")
    if done.newest_seq:
        print(f"the newest message in it is {message_id(done.newest_seq)}")
    if done.next_seq > done.newest_seq + 1:
        print(
            f"the next one will be {message_id(done.next_seq)}: "
            "ids that clients may have seen are not given out again"
        )
    if done.kept is not None:
        print(f"the database that was there is kept as {done.kept}")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"

"""`imserver export` and `imserver import`: everything that is kept, as lines of JSON."""

from __future__ import annotations

import gzip
import io
import os
import sys
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

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
from imserver.store.beside import fold_wal, read_beside
from imserver.store.database import StoreError
from imserver.store.tools import export as exporting
from imserver.store.tools import whole_files as files
from imserver.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imserver.cli.progress import Bar
    from imserver.store.tools.export import Moved


@data_command(
    "export",
    examples(
        "imserver export everything.jsonl.gz",
        'imserver export | grep \'"kind":"message"\'',
        "imserver export --user alice alice.jsonl",
    ),
)
@click.argument("file", type=OutputFile(), default=Path("-"))
@click.option("--compress/--no-compress", default=None,
              help="Compress with gzip.  [default: if FILE ends in .gz]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option("--user", help="Export only what is about this user.")
def export(
    context: click.Context,
    file: Path,
    compress: bool | None,
    force: bool,
    user: str | None,
    config: Path | None,
    data: str | None,
    quiet: bool,
) -> None:
    """Write everything as lines of JSON to FILE, or to standard output. The server may run.

    The lines show one moment; docs/operations.md describes them. With --user they are about one
    user: what they sent and could see, their groups, and what they have acknowledged.
    """
    database = database_of(context, config, data)
    to_stdout = str(file) == "-"
    if not to_stdout:
        refuse_to_replace(file, force)
    if compress is None:
        compress = file.suffix == ".gz"
    with working(quiet) as bar:
        if to_stdout:
            moved = _export_to_stdout(database, user, compress, bar)
        else:
            files.must_not_be(file, database)
            with (
                read_beside(database) as db,
                files.making(file) as partial,
                _opened(partial, compress) as out,
            ):
                moved = _export(db, database, user, out, bar)
            fold_wal(database)
    if not to_stdout:
        what = f"{moved.users:,} users" if user is None else f"user {user}"
        print(f"{file} ({what}, {moved.messages:,} messages)")


def _export(db: Any, database: Path, user: str | None, out: IO[bytes], bar: Bar) -> Moved:
    return exporting.export(
        db, database, out, version=__version__, now_ms=now_ms(), user_id=user, progress=bar
    )


def _export_to_stdout(database: Path, user: str | None, compress: bool, bar: Bar) -> Moved:
    stdout = sys.stdout.buffer
    files.must_not_be_descriptor(stdout, database)
    try:
        with (
            # Whoever reads a pipe may pause for hours: the server's WAL would grow all the time.
            exporting.still(database, bar) as db,
            _packed(stdout) if compress else nullcontext(stdout) as out,
        ):
            moved = _export(db, database, user, out, bar)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # Whoever read it has enough. Nothing more can be said there, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None
    except OSError as error:
        raise StoreError(f"cannot write the export: {error.strerror}") from error
    return moved


@contextmanager
def _opened(path: Path, compress: bool) -> Iterator[IO[bytes]]:
    with path.open("wb") as file:
        if compress:
            with _packed(file) as packed:
                yield packed
        else:
            yield file


def _packed(file: IO[bytes]) -> Any:
    return gzip.GzipFile("", "wb", files.GZIP_LEVEL, file, mtime=0)


@data_command(
    "import",
    examples(
        "imserver import --data new everything.jsonl.gz",
        "ssh other imserver export | imserver import -",
    ),
)
@click.argument("file", type=PATH)
def import_(
    context: click.Context, file: Path, config: Path | None, data: str | None, quiet: bool
) -> None:
    """Create a database from an export; - is standard input.

    The server must not run. A database that is there must be empty. The new one appears when every
    line has been read and the result has passed `imserver check`.
    """
    database = database_of(context, config, data)
    with working(quiet) as bar:
        try:
            with _source(file) as source:
                moved = exporting.load(source, str(file), database, progress=bar)
        except OSError as error:
            raise StoreError(f"cannot read {file}: {error.strerror or error}") from error
    print(f"{database} ({moved.users:,} users, {moved.messages:,} messages)")


@contextmanager
def _source(file: Path) -> Iterator[IO[bytes]]:
    opened: Any = nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb")
    with opened as plain:
        buffered = io.BufferedReader(plain)
        try:
            if buffered.peek(2)[:2] == files.GZIP_MAGIC:
                with gzip.GzipFile(fileobj=buffered) as unpacked:
                    yield unpacked  # type: ignore[misc]
            else:
                yield buffered
        finally:
            buffered.detach()  # else it would close what it did not open

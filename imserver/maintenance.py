"""The commands that look after the data: backup, restore, check, export, import, erase."""

from __future__ import annotations

import gzip
import io
import os
import signal
import sys
import time
import zlib
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NoReturn

import click
import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from imserver.commands import PATH, SETTINGS, examples, fail, located, settings_of
from imserver.domain.model import message_id
from imserver.service.upkeep.erasure import erase as take_out
from imserver.store.database import StoreError
from imserver.store.tools import export as exporting
from imserver.store.tools import whole_files as files
from imserver.store.tools.backup import back_up
from imserver.store.tools.check import check as find
from imserver.store.tools.restore import MOST_LOST
from imserver.store.tools.restore import restore as put_back
from imserver.store.tools.rotation import backup_name
from imserver.transport.listeners import os_user
from imserver.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imserver.store.tools.check import Finding
    from imserver.store.tools.export import Moved


class Bar:
    """A progress bar on standard error, if that is a terminal and nobody wants quiet."""

    def __init__(self, quiet: bool) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(show_speed=False),
            TimeElapsedColumn(),
            console=console,
            disable=quiet or not console.is_terminal,
            transient=True,
            redirect_stdout=False,  # it would go to standard error
        )
        self._doing = ""

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, doing: str, done: int, total: int) -> None:
        """See `files.Progress`."""
        if doing != self._doing:
            for task in self._bar.task_ids:
                self._bar.remove_task(task)
            self._bar.add_task(escape(doing), total=total or None)
            self._doing = doing
        self._bar.update(self._bar.task_ids[-1], completed=done, total=total or None)


def _command(name: str, epilog: str) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with what all of them have: where the data is, and quiet."""

    def decorate(function: Callable[..., Any]) -> click.Command:
        quiet = click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
        return click.command(name, context_settings=SETTINGS, epilog=epilog)(
            click.pass_context(located(quiet(function)))
        )

    return decorate


def _database(context: click.Context, config: Path | None, data: str | None) -> Path:
    return Path(settings_of(context, config, data).database_path)


@contextmanager
def _working(quiet: bool) -> Iterator[Bar]:
    """Long work: with a progress bar, cleaned up after when it is ended by a signal."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        with Bar(quiet) as bar:
            yield bar
    except StoreError as error:
        fail(str(error))
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(number: int, frame: object) -> NoReturn:
    raise SystemExit(128 + number)


def _refuse_to_replace(target: Path, force: bool) -> None:
    if target.exists() and not force:
        fail(f"{target} exists already: --force replaces it")


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


@_command(
    "backup",
    examples(
        "imserver backup monday.db",
        "imserver backup --compress /mnt/backups/",
        "imserver --data /var/lib/imserver backup monday.db.gz",
    ),
)
@click.argument("file", type=PATH)
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
    """Copy the database to FILE, whether the server runs or not.

    A running server goes on as if nothing happened. The copy is one moment: everything that was
    acknowledged before the command was given is in it. It appears under its name when it is whole,
    found sound, and on disk. In a folder, it is named by the time (UTC).
    """
    database = _database(context, config, data)
    if file.is_dir():
        file /= backup_name(time.time_ns() // 1_000_000, compressed=bool(compress))
    _refuse_to_replace(file, force)
    if compress is None:
        compress = file.suffix == ".gz"
    with _working(quiet) as bar:
        made = back_up(database, file, compressed=compress, progress=bar)
    newest = f"up to {message_id(made.newest_seq)}" if made.newest_seq else "without messages"
    print(f"{made.path} ({_megabytes(made.size)}, {newest})")


@_command(
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
    """Make a backup the database. The server must not run.

    FILE is what `imserver backup` wrote, compressed or not, or a database. It is checked first; a
    backup of an older version is upgraded when the server starts. Clients that have seen messages
    that are not in it are told so (cursor_ahead).
    """
    database = _database(context, config, data)
    _refuse_to_replace(database, force)
    with _working(quiet) as bar:
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


@_command("check", examples("imserver check", "imserver check --json | jq .sound"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def check(
    context: click.Context, as_json: bool, config: Path | None, data: str | None, quiet: bool
) -> None:
    """See whether the database keeps its laws, whether the server runs or not.

    SQLite looks at the whole file, then the server's own laws are checked: the order of messages,
    who belongs where and when, acknowledgements. Nothing is changed. Exit code 0 if all is well,
    else 1.
    """
    database = _database(context, config, data)
    with _working(quiet) as bar:
        findings = list(find(database, bar))
    sound = not any(finding.problems for finding in findings)
    if as_json:
        report = {
            "database": str(database),
            "sound": sound,
            "checks": [finding._asdict() for finding in findings],
        }
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        for finding in findings:
            print(_describe(finding))
        print(f"{database} is {'sound' if sound else 'not sound'}")
    if not sound:
        raise SystemExit(1)


def _describe(finding: Finding) -> str:
    if not finding.problems:
        return f"ok      {finding.name}: {finding.law}"
    lines = [f"BROKEN  {finding.name}: not so: {finding.law}", *finding.examples]
    if finding.problems > len(finding.examples):
        lines.append(f"and {finding.problems - len(finding.examples):,} more")
    return "\n        ".join(lines)


@_command(
    "export",
    examples(
        "imserver export everything.jsonl.gz",
        'imserver export | grep \'"kind":"message"\'',
        "imserver export --user alice alice.jsonl",
    ),
)
@click.argument("file", type=PATH, default=Path("-"))
@click.option("--compress/--no-compress", default=None,
              help="Compress with gzip.  [default: if FILE ends in .gz]")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.option("--user", help="What concerns this user only.")
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
    """Write everything as lines of JSON to FILE, or to standard output.

    The format is documented in docs/operations.md. The server may run; the lines are one moment.
    With --user it is what concerns one user: what they sent and could see, where they belong, what
    they have acknowledged.
    """
    database = _database(context, config, data)
    to_stdout = str(file) == "-"
    if not to_stdout:
        _refuse_to_replace(file, force)
    if compress is None:
        compress = file.suffix == ".gz"
    with _working(quiet) as bar:
        if to_stdout:
            moved = _export_to_stdout(database, user, compress, bar)
        else:
            with files.making(file) as partial, _opened(partial, compress) as out:
                moved = _export(database, user, out, bar)
    if not to_stdout:
        what = f"{moved.users:,} users" if user is None else f"user {user}"
        print(f"{file} ({what}, {moved.messages:,} messages)")


def _export(database: Path, user: str | None, out: IO[bytes], bar: Bar) -> Moved:
    return exporting.export(
        database, out, version=__version__, now_ms=_now_ms(), user_id=user, progress=bar
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _export_to_stdout(database: Path, user: str | None, compress: bool, bar: Bar) -> Moved:
    try:
        with _packed(sys.stdout.buffer) if compress else nullcontext(sys.stdout.buffer) as out:
            moved = _export(database, user, out, bar)
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


@_command(
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
    """Make the database of what `imserver export` wrote; - is standard input.

    The server must not run, and there must be no database yet, or one with nothing in it. The new
    one appears when every line was read and everything in it keeps the server's laws.
    """
    database = _database(context, config, data)
    with _working(quiet) as bar:
        try:
            with _source(file) as source:
                moved = exporting.load(source, str(file), database, progress=bar)
        except (OSError, EOFError, zlib.error) as error:
            raise StoreError(f"cannot read {file}: {error}") from error
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


@_command("erase", examples("imserver erase alice", "imserver erase --yes alice"))
@click.argument("user")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def erase(
    context: click.Context, user: str, yes: bool, config: Path | None, data: str | None, quiet: bool
) -> None:
    """Erase a user and everything they wrote, for ever. The server must not run.

    They leave their groups; their messages, acknowledgements, invitations, account and tokens are
    deleted, and the file is written afresh. What others wrote stays, also what they wrote to them
    or about them. Backups and exports are not touched.
    """
    database = _database(context, config, data)
    if not yes:
        click.confirm(f"Erase {user} from {database} for ever?", abort=True, err=True)
    with _working(quiet) as bar:
        done = take_out(database, user, operator=os_user(os.getuid()), clock=_now_ms, progress=bar)
    print(
        f"{user} is erased: {done.messages:,} messages removed, {done.groups:,} groups left; "
        f'what others wrote to them is to "{done.name}" now'
    )

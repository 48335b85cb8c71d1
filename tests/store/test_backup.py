"""Backups are whole or not there; a restore refuses what it must, and loses nothing on the way."""

from __future__ import annotations

import gzip
import os
import pty
import re
import signal
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import apsw
import pytest
from click.testing import CliRunner

from imserver.cli.program import program
from imserver.config import Backup, Config, ConfigError
from imserver.store import schema
from imserver.store.database import open_database
from imserver.store.tools.backup import back_up
from imserver.store.tools.check import check
from imserver.store.tools.restore import ASSUMED_LOST
from tests.e2e.process import COMMAND, environment
from tests.store import life
from tests.store.fixtures import fixture

PATIENCE = 30  # seconds for a process


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database in a folder of its own."""
    path = tmp_path / "data" / "imserver.db"
    path.parent.mkdir()
    life.load(fixture(schema.VERSION).read_text("utf-8"), path)
    return path


def newest(path: Path) -> int:
    return life.dump(path).count('INSERT INTO "message" ') + 2  # were removed, the last ones


def names(folder: Path) -> list[str]:
    """What is in a folder, but for what SQLite's readers leave beside a database."""
    return sorted(name for name in os.listdir(folder) if not name.endswith(("db-wal", "db-shm")))


def run(*arguments: str | Path):
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def change(path: Path, sql: str) -> None:
    db = apsw.Connection(str(path))
    db.execute(sql)
    db.close()


def damage(path: Path) -> None:
    """Overwrite the root of a table in the middle of a file."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    [(root,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'client_message'")
    db.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))


def killed_server(path: Path, user: str) -> None:
    """Leave a database as a killed server does: what it wrote last stands in the WAL alone."""
    script = f"""if True:
        import os, signal
        from imserver.store.database import open_database
        with open_database({str(path)!r}) as database:
            database.writer.execute("INSERT INTO user (user_id, created_ms) VALUES ({user!r}, 1)")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    ended = subprocess.run([sys.executable, "-c", script], timeout=PATIENCE)
    assert ended.returncode == -signal.SIGKILL
    assert path.with_name(f"{path.name}-wal").stat().st_size > 0


# -- making one -------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [[], ["--compress"]])
def test_a_backup_is_the_database(path: Path, tmp_path: Path, options: list[str]) -> None:
    target = tmp_path / "monday"
    result = run("backup", "--data", path.parent, target, *options)
    assert result.exit_code == 0, result.stderr
    size = target.stat().st_size
    assert result.stdout == f"{target} ({size / 1e6:,.1f} MB, up to msg_{newest(path)})\n"
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(os.listdir(tmp_path)) == ["data", "monday"]
    if options:
        assert target.read_bytes()[:2] == b"\x1f\x8b"
        plain = tmp_path / "plain"
        plain.write_bytes(gzip.decompress(target.read_bytes()))
        target = plain
    # One file, complete in itself: it can be read where nothing can be written beside it.
    assert target.read_bytes()[18:20] == b"\x01\x01"  # not in WAL mode
    assert life.dump(target) == life.dump(path)


def test_a_name_in_gz_is_compressed_unless_told_otherwise(path: Path, tmp_path: Path) -> None:
    for options, compressed in ([], True), (["--no-compress"], False):
        target = tmp_path / f"{compressed}.db.gz"
        assert run("--data", path.parent, "backup", target, *options).exit_code == 0
        assert (target.read_bytes()[:2] == b"\x1f\x8b") == compressed


def test_in_a_folder_a_backup_is_named_by_the_time(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    folder.mkdir()
    assert run("backup", "--data", path.parent, folder, "--compress").exit_code == 0
    [name] = os.listdir(folder)
    assert re.fullmatch(r"imserver-\d{8}T\d{6}Z\.db\.gz", name)


def test_what_a_killed_server_left_in_the_wal_is_in_the_backup(path: Path, tmp_path: Path) -> None:
    killed_server(path, "late")
    assert run("backup", "--data", path.parent, tmp_path / "b").exit_code == 0
    assert "'late'" in life.dump(tmp_path / "b")


def test_an_existing_file_is_kept_unless_forced(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    result = run("backup", "--data", path.parent, target)
    assert result.exit_code == 1
    assert result.stderr == f"imserver: {target} exists already: --force replaces it\n"
    assert target.read_text() == "precious"
    assert run("backup", "--data", path.parent, target, "--force").exit_code == 0
    assert life.dump(target) == life.dump(path)


def test_a_damaged_database_gives_no_backup_and_keeps_the_old_one(
    path: Path, tmp_path: Path
) -> None:
    target = tmp_path / "b"
    target.write_text("the last good one")
    damage(path)
    result = run("backup", "--data", path.parent, target, "--force")
    assert result.exit_code == 1
    assert re.fullmatch(r"imserver: the database is damaged: .+\n", result.stderr)
    assert target.read_text() == "the last good one"
    assert sorted(os.listdir(tmp_path)) == ["b", "data"]


@pytest.mark.parametrize(
    ("prepare", "sentence"),
    [
        (lambda path: path.unlink(), "there is no database"),
        (lambda path: path.write_bytes(b"something else" * 500), "is not an imserver database"),
        (lambda path: change(path, "PRAGMA application_id = 3"), "is not an imserver database"),
    ],
)
def test_what_is_no_database_is_not_backed_up(
    path: Path, tmp_path: Path, prepare: Any, sentence: str
) -> None:
    prepare(path)
    result = run("backup", "--data", path.parent, tmp_path / "b")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert sentence in result.stderr
    assert os.listdir(tmp_path) == ["data"]


def test_a_place_that_cannot_be_written_to_is_named(path: Path, tmp_path: Path) -> None:
    target = tmp_path / "nowhere" / "b"
    result = run("backup", "--data", path.parent, target)
    assert result.exit_code == 1
    assert result.stderr == f"imserver: cannot write {target}: No such file or directory\n"


@pytest.mark.parametrize("options", [[], ["--compress"]])
def test_when_there_is_no_room_nothing_is_left(
    path: Path, tmp_path: Path, options: list[str]
) -> None:
    ended = subprocess.run(
        ["prlimit", "--fsize=30000", *COMMAND, "backup", "--data", path.parent, tmp_path / "b",
         *options],
        env=environment(), capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert ended.returncode == 1
    assert re.fullmatch(r"imserver: cannot .+\n", ended.stderr)
    assert os.listdir(tmp_path) == ["data"]


def test_a_database_in_memory_cannot_be_backed_up(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('database = ":memory:"')
    result = run("backup", "--config", config, tmp_path / "b")
    assert result.exit_code == 1
    assert result.stderr == "imserver: a database in memory is gone when its server is\n"


# Stops where the first pages have been copied, says so, and waits for a signal.
STOPPING = """
import sys
from imserver.cli import progress

def stop(self, doing, done, total):
    print(doing, flush=True)
    sys.stdin.read()

progress.Bar.__call__ = stop
from imserver.cli import main
main()
"""


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 1), (signal.SIGKILL, -9)]
)
def test_one_that_is_ended_on_the_way_is_not_there(
    path: Path, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    target = tmp_path / "b.gz"
    command = [sys.executable, "-c", STOPPING, "backup", "--data", str(path.parent), str(target)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "copying\n"
        process.send_signal(number)
        assert process.wait(timeout=PATIENCE) == code
    left = [name for name in os.listdir(tmp_path) if name != "data"]
    if number == signal.SIGKILL:
        assert left
        assert all(name.endswith(".partial") for name in left)
    else:
        assert left == []
    assert run("backup", "--data", path.parent, target).exit_code == 0


def test_on_a_terminal_there_is_a_progress_bar(path: Path, tmp_path: Path) -> None:
    for options, seen in ([], True), (["--quiet"], False):
        ours, theirs = pty.openpty()
        command = [*COMMAND, "backup", "--data", path.parent, tmp_path / f"{seen}.gz", *options]
        variables = {"TERM": "xterm", "COLUMNS": "100"}
        ended = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=theirs,
            env=environment(**variables),
            timeout=PATIENCE,
        )
        os.close(theirs)
        shown = b""
        try:
            while data := os.read(ours, 65536):
                shown += data
        except OSError:  # how Linux says that the other end is closed
            pass
        os.close(ours)
        assert ended.returncode == 0
        assert (b"compressing" in shown) == seen
        assert ended.stdout.startswith(str(tmp_path).encode())


# -- putting one back -------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b", "b.gz"])
def test_what_is_restored_is_what_was_backed_up(path: Path, tmp_path: Path, name: str) -> None:
    before = life.dump(path)
    assert run("backup", "--data", path.parent, tmp_path / name).exit_code == 0
    new = tmp_path / "new" / "imserver.db"
    result = run("restore", "--data", new.parent, tmp_path / name, "--lost", "0")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == (
        f"{new} restored from {tmp_path / name}\nthe newest message in it is msg_{newest(path)}\n"
    )
    assert sorted(os.listdir(new.parent)) == ["imserver.db", "imserver.db.lock"]
    assert life.dump(new) == before
    with open_database(str(new)):
        pass
    assert life.dump(new) == before


@pytest.mark.parametrize("version", range(1, schema.VERSION + 1))
def test_a_backup_of_an_older_version_is_restored_and_then_upgraded(
    tmp_path: Path, version: int
) -> None:
    backup = tmp_path / "b"
    life.load(fixture(version).read_text("utf-8"), backup)
    assert run("restore", "--data", tmp_path / "new", backup).exit_code == 0
    new = tmp_path / "new" / "imserver.db"
    with open_database(str(new)):
        pass
    assert [finding for finding in check(new) if finding.problems] == []


def test_a_copied_database_with_its_wal_can_be_restored(path: Path, tmp_path: Path) -> None:
    killed_server(path, "late")
    assert run("restore", "--data", tmp_path / "new", path).exit_code == 0
    assert "'late'" in life.dump(tmp_path / "new" / "imserver.db")


def test_an_existing_database_is_kept_unless_forced_and_then_kept_aside(
    path: Path, tmp_path: Path
) -> None:
    assert run("backup", "--data", path.parent, tmp_path / "b").exit_code == 0
    path.chmod(0o640)
    killed_server(path, "late")
    result = run("restore", "--data", path.parent, tmp_path / "b")
    assert result.exit_code == 1
    assert result.stderr == f"imserver: {path} exists already: --force replaces it\n"
    before = life.dump(path)
    assert "'late'" in before
    result = run("restore", "--data", path.parent, tmp_path / "b", "--force")
    assert result.exit_code == 0, result.stderr
    [aside] = path.parent.glob("imserver.db.replaced-*")
    assert sorted(os.listdir(path.parent)) == ["imserver.db", "imserver.db.lock", aside.name]
    assert result.stdout.endswith(f"the database that was there is kept as {aside}\n")
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert life.dump(path) == life.dump(tmp_path / "b")
    assert life.dump(aside) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_what_root_restores_is_the_folders_owners(path: Path, tmp_path: Path) -> None:
    # Somewhere that every account can reach: pytest keeps its own folders to itself.
    with TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        _restore_in_a_folder_of_another(path, tmp_path, Path(name) / "new")


def _restore_in_a_folder_of_another(path: Path, tmp_path: Path, new: Path) -> None:
    assert run("backup", "--data", path.parent, tmp_path / "b").exit_code == 0
    new.mkdir()
    os.chown(new, 1234, 1234)
    assert run("restore", "--data", new, tmp_path / "b").exit_code == 0
    assert {entry.name: entry.stat().st_uid for entry in os.scandir(new)} == {
        "imserver.db": 1234,
        "imserver.db.lock": 1234,
    }


def test_a_damaged_database_can_be_replaced(path: Path, tmp_path: Path) -> None:
    assert run("backup", "--data", path.parent, tmp_path / "b").exit_code == 0
    path.write_bytes(b"\xff" * 5000)
    (path.parent / "imserver.db-wal").write_bytes(b"of the damaged one")
    assert run("restore", "--data", path.parent, tmp_path / "b", "--force").exit_code == 0
    with open_database(str(path)):
        pass
    assert "seq_floor" in life.dump(path)
    [aside] = path.parent.glob("imserver.db.replaced-*Z")
    assert aside.read_bytes() == b"\xff" * 5000
    assert aside.with_name(f"{aside.name}-wal").read_bytes() == b"of the damaged one"


def test_a_wal_without_its_database_is_not_applied_to_another(path: Path, tmp_path: Path) -> None:
    assert run("backup", "--data", path.parent, tmp_path / "b").exit_code == 0
    killed_server(path, "late")
    path.unlink()
    assert run("restore", "--data", path.parent, tmp_path / "b", "--lost", "0").exit_code == 0
    assert life.dump(path) == life.dump(tmp_path / "b")
    assert len(list(path.parent.glob("imserver.db.replaced-*-wal"))) == 1


def test_a_running_server_is_left_alone(path: Path, tmp_path: Path) -> None:
    assert run("backup", "--data", path.parent, tmp_path / "b").exit_code == 0
    with open_database(str(path)):
        before = life.dump(path)
        result = run("restore", "--data", path.parent, tmp_path / "b", "--force")
        assert result.exit_code == 1
        assert "in use by another" in result.stderr
        assert life.dump(path) == before
    assert not list(path.parent.glob("*replaced*"))


def spoil(backup: Path, how: str) -> None:
    match how:
        case "gone":
            backup.unlink()
        case "a folder":
            backup.unlink()
            backup.mkdir()
        case "empty":
            backup.write_bytes(b"")
        case "another":
            backup.write_bytes(b"not what you think" * 1000)
        case "another's":
            change(backup, "PRAGMA application_id = 3")
        case "newer":
            change(backup, f"PRAGMA user_version = {schema.VERSION + 1}")
        case "damaged":
            damage(backup)
        case "cut short":
            backup.write_bytes(gzip.compress(backup.read_bytes())[:-100])
        case "wrong":
            packed = bytearray(gzip.compress(backup.read_bytes()))
            packed[len(packed) // 2] ^= 1
            backup.write_bytes(packed)
        case "packed damaged":
            damage(backup)
            backup.write_bytes(gzip.compress(backup.read_bytes()))
        case "packed newer":
            change(backup, f"PRAGMA user_version = {schema.VERSION + 1}")
            backup.write_bytes(gzip.compress(backup.read_bytes()))
        case "packed another":
            backup.write_bytes(gzip.compress(b"not what you think" * 1000))


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("gone", "there is no file {backup}"),
        ("a folder", "there is no file {backup}"),
        ("empty", "{backup} is not an imserver database"),
        ("another", "{backup} is not an imserver database"),
        ("another's", "{backup} is not an imserver database"),
        ("newer", "{backup} was written by a newer imserver"),
        ("damaged", "the database is damaged: "),
        ("cut short", "{backup} is damaged or not whole: "),
        ("wrong", "{backup} is damaged or not whole: "),
        ("packed damaged", "the database is damaged: "),
        ("packed newer", "{backup} was written by a newer imserver"),
        ("packed another", "{backup} is not an imserver database"),
    ],
)
def test_what_is_no_sound_backup_is_refused_and_changes_nothing(
    path: Path, tmp_path: Path, how: str, sentence: str
) -> None:
    backup = tmp_path / "b"
    assert run("backup", "--data", path.parent, backup).exit_code == 0
    spoil(backup, how)
    before = life.dump(path)
    result = run("restore", "--data", path.parent, backup, "--force")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"imserver: {sentence.format(backup=backup)}")
    assert result.stderr.count("\n") == 1
    assert life.dump(path) == before
    assert set(names(path.parent)) <= {"imserver.db", "imserver.db.lock"}
    new = tmp_path / "new"
    new.mkdir()
    assert run("restore", "--data", new, backup).exit_code == 1
    assert set(os.listdir(new)) <= {"imserver.db.lock"}


def test_a_restore_without_room_changes_nothing(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "b.gz"
    assert run("backup", "--data", path.parent, backup).exit_code == 0
    before = life.dump(path)
    ended = subprocess.run(
        ["prlimit", "--fsize=30000", *COMMAND, "restore", "--force", "--data", path.parent, backup],
        env=environment(), capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert ended.returncode == 1
    assert re.fullmatch(r"imserver: cannot write .+\n", ended.stderr)
    assert life.dump(path) == before
    assert names(path.parent) == ["imserver.db", "imserver.db.lock"]


# -- the ids that are left out ----------------------------------------------------------------


def floor(path: Path) -> int | None:
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    row = db.execute("SELECT value FROM meta WHERE key = 'seq_floor'").fetchone()
    db.close()
    return None if row is None else row[0]


def test_ids_that_the_replaced_database_has_given_out_are_left_out(
    path: Path, tmp_path: Path
) -> None:
    known = newest(path)
    backup = tmp_path / "b"
    assert run("backup", "--data", path.parent, backup).exit_code == 0
    for seq in range(known + 1, known + 6):
        change(path, f"INSERT INTO message VALUES ({seq}, 1, 1, 0, 'x', 0, NULL)")
    result = run("restore", "--data", path.parent, backup, "--force")
    assert result.exit_code == 0
    assert f"the next one will be msg_{known + 7}: " in result.stdout
    assert floor(path) == known + 6
    assert [finding for finding in check(path) if finding.problems] == []


def test_nothing_is_left_out_where_nothing_was_lost(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "b"
    assert run("backup", "--data", path.parent, backup).exit_code == 0
    before = life.dump(path)
    assert run("restore", "--data", path.parent, backup, "--force").exit_code == 0
    assert life.dump(path) == before


@pytest.mark.parametrize("unreadable", [False, True])
def test_where_nobody_can_say_what_was_lost_much_is_left_out(
    path: Path, tmp_path: Path, unreadable: bool
) -> None:
    backup = tmp_path / "b"
    assert run("backup", "--data", path.parent, backup).exit_code == 0
    new = tmp_path / "new" / "imserver.db"
    if unreadable:
        new.parent.mkdir()
        new.write_bytes(b"\0" * 10_000)
    assert run("restore", "--data", new.parent, backup, "--force").exit_code == 0
    assert floor(new) == newest(path) + ASSUMED_LOST + 1
    assert [finding for finding in check(new) if finding.problems] == []


def test_restored_again_and_again_it_stays_sound(path: Path, tmp_path: Path) -> None:
    backup = tmp_path / "b"
    assert run("backup", "--data", path.parent, backup).exit_code == 0
    floors = []
    for _ in range(3):
        assert (
            run("restore", "--data", path.parent, backup, "--lost", "5", "--force").exit_code == 0
        )
        with open_database(str(path)) as database:
            seq = floor(path) + 1
            database.writer.execute("INSERT INTO message VALUES (?, 1, 1, 0, 'x', 0, NULL)", (seq,))
        assert run("backup", "--data", path.parent, backup, "--force").exit_code == 0
        floors.append(floor(path))
        assert [finding for finding in check(path) if finding.problems] == []
    assert floors == sorted(set(floors))


# -- what else holds --------------------------------------------------------------------------


def test_the_copy_is_one_moment_however_much_is_written_meanwhile(
    path: Path, tmp_path: Path
) -> None:
    """A writer commits between all steps of the copy; the copy is what was there at its start."""
    change(
        path,
        "CREATE TABLE filler (x); INSERT INTO filler SELECT zeroblob(4000) FROM"
        " (WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT 5000) SELECT n"
        " FROM c)",
    )
    steps = 0
    with open_database(str(path)) as database:

        def write(doing: str, done: int, total: int) -> None:
            nonlocal steps
            if doing == "copying":
                steps += 1
                assert steps < 100, "it begins again and again"
                # Both at the file's beginning and at its end.
                database.writer.execute(
                    f"UPDATE user SET created_ms = {steps} WHERE uid = 1;"
                    f"INSERT INTO user (user_id, created_ms) VALUES ('new{steps}', {steps});"
                    "UPDATE filler SET x = randomblob(4000) WHERE rowid % 50 = 0"
                )

        before = life.dump(path)
        back_up(path, tmp_path / "b", compressed=False, progress=write)
        assert steps > 3
        assert life.dump(tmp_path / "b") == before
        assert life.dump(path) != before
        # What gathered in the WAL is in the database already, not left to the server's next commit.
        [(busy, in_wal, moved)] = database.writer.execute("PRAGMA wal_checkpoint(NOOP)")
        assert (busy, in_wal - moved) == (0, 0)


def test_an_error_of_the_progress_ends_the_work_and_leaves_nothing(
    path: Path, tmp_path: Path
) -> None:
    class Enough(Exception):
        pass

    for step in ("copying", "compressing", "verifying what was compressed"):

        def enough(doing: str, done: int, total: int, step: str = step) -> None:
            if doing == step:
                raise Enough

        with pytest.raises(Enough):
            back_up(path, tmp_path / "b", compressed=True, progress=enough)
        assert os.listdir(tmp_path) == ["data"]


@pytest.mark.parametrize("command", ["backup", "restore", "check", "export", "import"])
def test_every_command_helps_with_examples(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Examples:\n    imserver " in result.stdout
    assert run(command, "--no-such-option").exit_code == 2
    assert command in run("--help").stdout


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        (Config(backup=Backup(every=0.5)), "backup.every must be 0"),
        (Config(backup=Backup(every=-1)), "backup.every must be "),
        (Config(backup=Backup(every=5), database=":memory:"), "backup.every must be 0"),
        (Config(backup=Backup(keep=0)), "backup.keep must be "),
        (Config(backup=Backup(folder="")), "backup.folder must be "),
    ],
)
def test_impossible_settings_are_named(config: Config, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}"):
        config.check()

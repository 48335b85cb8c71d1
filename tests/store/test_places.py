"""Whose files are made, where they may not be made, and files that vanish or may only be read."""

from __future__ import annotations

import gzip
import os
import stat
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import apsw
import httpx
import pytest
from click.testing import CliRunner

from imserver.cli.program import program
from imserver.store import schema
from imserver.store.database import StoreError, StoreGoneError, open_database
from tests.e2e.process import COMMAND, PATIENCE, environment, started
from tests.store import life
from tests.store.fixtures import fixture
from tests.support import rest

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER = 1234  # an account that owns nothing else
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database in a folder of its own."""
    path = tmp_path / "data" / "imserver.db"
    path.parent.mkdir()
    life.load(fixture(schema.VERSION).read_text("utf-8"), path)
    return path


@pytest.fixture
def lax() -> Iterator[None]:
    """A umask that lets everybody read and write."""
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def reachable() -> Iterator[Path]:
    """A folder that every account can reach; pytest keeps its own to itself."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder


@pytest.fixture
def theirs(reachable: Path) -> Path:
    """A folder of another account."""
    folder = reachable / "theirs"
    folder.mkdir()
    os.chown(folder, OTHER, OTHER)
    return folder


def run(*arguments: str | Path):
    return CliRunner().invoke(program, [str(argument) for argument in arguments])


def modes(folder: Path) -> dict[str, int]:
    return {entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in os.scandir(folder)}


# -- for one account alone ------------------------------------------------------------------------


@pytest.mark.usefixtures("lax")
def test_what_is_made_in_a_folder_that_is_there_is_for_one_account(tmp_path: Path) -> None:
    with open_database(str(tmp_path / "imserver.db")) as database:
        database.writer.execute("INSERT INTO meta VALUES ('x', 1)")
        found = modes(tmp_path)
    assert set(found) >= {"imserver.db", "imserver.db-wal", "imserver.db-shm", "imserver.db.lock"}
    assert set(found.values()) == {0o600}


@pytest.mark.usefixtures("lax")
def test_folders_that_are_made_are_for_one_account_all_of_them(tmp_path: Path) -> None:
    with open_database(str(tmp_path / "a" / "b" / "imserver.db")):
        assert modes(tmp_path) == {"a": 0o700}
        assert modes(tmp_path / "a") == {"b": 0o700}


@pytest.mark.usefixtures("lax")
def test_the_copy_of_an_upgrade_is_for_one_account(tmp_path: Path) -> None:
    path = tmp_path / "imserver.db"
    life.load(fixture(1).read_text("utf-8"), path)
    with open_database(str(path)):
        assert modes(tmp_path)["imserver.db.v1"] == 0o600


@pytest.mark.usefixtures("lax")
def test_what_commands_write_is_for_one_account(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for arguments in (
        ("backup", out / "b"), ("backup", out / "b.gz"), ("export", out / "e"), ("cert",),
    ):  # fmt: skip
        assert run("--data", path.parent, *arguments).exit_code == 0
    assert set(modes(out).values()) == {0o600}
    assert modes(path.parent)["key.pem"] == 0o600


# -- root in the folder of another account --------------------------------------------------------


@root_only
@pytest.mark.parametrize("link", ["imserver.db.lock", "imserver.db-wal", "imserver.db-shm"])
@pytest.mark.parametrize("command", ["restore", "import", "check", "export", "erase"])
def test_a_link_leads_root_nowhere(
    command: str, link: str, path: Path, theirs: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"of root")
    precious.chmod(0o600)
    backup, lines = tmp_path / "backup", tmp_path / "lines"
    assert run("--data", path.parent, "backup", backup).exit_code == 0
    assert run("--data", path.parent, "export", lines).exit_code == 0
    if command not in ("restore", "import"):
        copy = theirs / "imserver.db"
        copy.write_bytes(backup.read_bytes())
        os.chown(copy, OTHER, OTHER)
    (theirs / link).symlink_to(precious)
    given: dict[str, tuple[str | Path, ...]] = {
        "restore": (backup,), "import": (lines,), "check": (), "export": (tmp_path / "new",),
        "erase": ("--yes", "alice"),
    }  # fmt: skip
    run("--data", theirs, command, *given[command])
    found = precious.stat()
    assert (precious.read_bytes(), found.st_uid, found.st_mode & 0o777) == (b"of root", 0, 0o600)


@root_only
def test_a_certificate_goes_to_the_owner_of_its_folder_and_through_no_link(
    theirs: Path, tmp_path: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"of root")
    (theirs / "cert.pem").symlink_to(precious)
    assert run("--data", theirs, "cert", "--force").exit_code == 0
    assert precious.read_bytes() == b"of root"
    assert precious.stat().st_uid == 0
    assert {entry.stat(follow_symlinks=False).st_uid for entry in os.scandir(theirs)} == {OTHER}


# -- an output that is the input ------------------------------------------------------------------


@pytest.mark.parametrize("name", ["imserver.db", "imserver.db-wal", "imserver.db.lock", "link"])
@pytest.mark.parametrize("command", ["backup", "export", "cert", "restore"])
def test_an_output_is_never_the_database(command: str, name: str, path: Path) -> None:
    path.with_name("link").symlink_to(path)
    path.with_name("imserver.db.lock").touch()
    before = path.read_bytes()
    target = path.with_name(name)
    arguments = ("--key", target) if command == "cert" else (target,)
    result = run("--data", path.parent, command, "--force", *arguments)
    assert result.exit_code == 1
    assert "itself, or belongs to it" in result.stderr or "there is no file" in result.stderr
    assert path.read_bytes() == before


def test_standard_output_is_never_the_database(path: Path) -> None:
    before = path.read_bytes()
    with path.open("ab") as out:
        done = subprocess.run(
            [*COMMAND, "--data", str(path.parent), "export"],
            env=environment(), stdout=out, stderr=subprocess.PIPE, timeout=PATIENCE,
        )  # fmt: skip
    assert done.returncode == 1
    assert b"standard output is the database" in done.stderr
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", ["backup", "export"])
def test_a_folder_that_is_not_there_is_no_file(command: str, path: Path, tmp_path: Path) -> None:
    result = run("--data", path.parent, command, "--compress", f"{tmp_path}/missing/")
    assert result.exit_code == 2
    assert "there is no folder" in result.stderr
    assert not (tmp_path / "missing").exists()


# -- other names ----------------------------------------------------------------------------------


def test_a_database_with_two_names_is_not_served(path: Path) -> None:
    other = path.with_name("other.db")
    other.hardlink_to(path)
    for name in (path, other):
        with pytest.raises(StoreError, match=r"2 names \(hard links\)"), open_database(str(name)):
            pass
    other.unlink()
    with open_database(str(path)):
        pass


def test_a_restore_goes_through_a_link_of_the_database(path: Path, tmp_path: Path) -> None:
    assert run("--data", path.parent, "backup", tmp_path / "b").exit_code == 0
    real = tmp_path / "elsewhere" / "real.db"
    real.parent.mkdir()
    path.rename(real)
    path.symlink_to(real)
    assert run("--data", path.parent, "restore", "--force", tmp_path / "b").exit_code == 0
    assert path.is_symlink()
    assert life.dump(real) == life.dump(tmp_path / "b")


def test_a_backup_with_a_trigger_of_others_is_not_restored(path: Path, tmp_path: Path) -> None:
    assert run("--data", path.parent, "backup", tmp_path / "b").exit_code == 0
    db = apsw.Connection(str(tmp_path / "b"))
    db.execute("CREATE TRIGGER sly AFTER INSERT ON message BEGIN DELETE FROM token; END")
    db.close()
    result = run("--data", tmp_path / "new", "restore", tmp_path / "b")
    assert result.exit_code == 1
    assert "trigger sly" in result.stderr
    assert not (tmp_path / "new" / "imserver.db").exists()


def test_a_damaged_gzip_is_to_blame_and_not_the_target(path: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.gz"
    assert run("--data", path.parent, "export", lines).exit_code == 0
    packed = bytearray(lines.read_bytes())
    packed[-8] ^= 0xFF  # of its checksum
    lines.write_bytes(packed)
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(packed)
    result = run("--data", tmp_path / "new", "import", lines)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"imserver: cannot read {lines}: ")


# -- gone -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_files_that_are_gone_are_noticed_and_heal(path: Path, suffix: str) -> None:
    file = path.with_name(f"{path.name}{suffix}")
    aside = path.with_name("aside")
    with open_database(str(path)) as database:
        database.writer.execute("INSERT INTO meta VALUES ('x', 1)")
        database.require_there()
        file.rename(aside)
        with pytest.raises(StoreGoneError):
            database.require_there()
        file.write_bytes(b"")
        with pytest.raises(StoreGoneError):
            database.require_there()
        aside.rename(file)
        database.require_there()


async def test_a_server_whose_folder_is_gone_acknowledges_nothing(tmp_path: Path) -> None:
    data, aside = tmp_path / "data", tmp_path / "aside"
    message = {"receiver_id": "bob", "content": "hello"}
    async with started(tmp_path) as server, rest(server, "alice") as alice:
        await alice.post("/api/v1/messages", message)
        data.rename(aside)
        async with httpx.AsyncClient(headers={"X-User-ID": "alice"}) as client:
            refused = await client.post(f"{server.url}/api/v1/messages", json=message)
        assert refused.status_code == 503
        assert (await alice.get("/health"))["status"] == "degraded"
        aside.rename(data)
        assert (await alice.request("GET", "/ready")).status_code == 200
        await alice.post("/api/v1/messages", message)
        assert await server.terminated() == 0


# -- only to be read ------------------------------------------------------------------------------

# All modules are loaded first: the other account may not be able to read Python's own.
READ_ONLY = """
import os, urllib.parse
from imserver.cli import backup_commands, check_command, main, program, transfer_commands
os.setgid({other}); os.setuid({other})
main()
"""


@root_only
@pytest.mark.parametrize("command", [("check",), ("backup", "b"), ("export", "e"), ("export",)])
def test_a_database_in_a_place_that_can_only_be_read(
    command: tuple[str, ...], path: Path, theirs: Path
) -> None:
    path = path.parent.rename(theirs.with_name("data")) / path.name
    with open_database(str(path)):
        pass  # in WAL mode now, and closed in order
    path.with_name("imserver.db.lock").unlink()
    path.chmod(0o444)
    path.parent.chmod(0o555)
    script = READ_ONLY.format(other=OTHER)
    done = subprocess.run(
        [sys.executable, "-c", script, "--data", str(path.parent), *command],
        env=environment(), cwd=theirs, capture_output=True, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert os.listdir(path.parent) == ["imserver.db"]


def test_a_user_is_erased_where_no_folder_takes_temporary_files(path: Path) -> None:
    script = """if True:
        import tempfile
        from imserver.store import beside
        before = beside.sort_beside
        def see(db, path):
            before(db, path)
            [(folder,)] = db.execute("PRAGMA temp_store_directory")
            print(folder)
        from imserver.service.upkeep import erasure
        erasure.sort_beside = see
        from imserver.cli import main
        main()
    """
    done = subprocess.run(
        [sys.executable, "-c", script, "--data", str(path.parent), "erase", "--yes", "alice"],
        env=environment(TMPDIR="/nowhere", SQLITE_TMPDIR="/nowhere"),
        capture_output=True, text=True, timeout=PATIENCE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == str(path.parent)
    assert b'it\'s "quoted"' not in path.read_bytes()


def test_a_paused_pipe_of_an_export_keeps_no_servers_wal(path: Path) -> None:
    with open_database(str(path)) as database:
        db = database.writer
        db.execute("CREATE TABLE filler (x)")  # more than a pipe takes, among the messages
        db.execute("DROP TABLE filler")
        db.execute("UPDATE message SET content = hex(zeroblob(100000)) WHERE type <> 5")
        with subprocess.Popen(
            [*COMMAND, "--data", str(path.parent), "export"],
            env=environment(), stdout=subprocess.PIPE,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert process.stdout.read(10)  # it is at it, and stuck
            pages, folded = db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
            assert (pages, folded) == (0, 0)
            assert b'"kind":"end"' in process.stdout.read()
        assert process.returncode == 0
    assert sorted(os.listdir(path.parent)) == ["imserver.db", "imserver.db.lock"]

"""Whatever version a database is of, it becomes this one's, and nobody misses anything.

How a single migration fails, and is gone on with, stands in `test_database`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from textwrap import dedent
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from imserver.store import schema
from imserver.store.database import open_database
from imserver.store.tools.check import check
from tests.e2e.process import environment, started
from tests.service.engines import Engines
from tests.store import life
from tests.store.fixtures import digest, expected, fixture, landed, make
from tests.support import login

if TYPE_CHECKING:
    from pathlib import Path

VERSIONS = range(1, schema.VERSION + 1)
PATIENCE = 30  # seconds for a process to come to where it is to be killed


def lay(folder: Path, version: int = schema.VERSION) -> Path:
    """The fixture of a version, where `Engines` look for it."""
    path = folder / "0" / "imserver.db"
    path.parent.mkdir()
    life.load(fixture(version).read_text("utf-8"), path)
    return path


def shape(path: Path) -> str:
    """A database without what is in it."""
    return re.sub(r"INSERT INTO .+?;\n", "", life.dump(path), flags=re.DOTALL)


def holds(expected: Any, actual: Any) -> bool:
    """Whether all that is expected is there; a later version may say more."""
    if isinstance(expected, dict):
        return all(
            name in actual and holds(value, actual[name]) for name, value in expected.items()
        )
    if isinstance(expected, list):
        return len(expected) == len(actual) and all(map(holds, expected, actual))
    return expected == actual


def test_every_version_that_landed_is_kept_and_its_migration_is_as_it_was() -> None:
    assert landed() == {
        number: digest(migration) for number, migration in enumerate(schema.MIGRATIONS, 1)
    }, "a landed migration is never changed; for a new one: python -m tests.store.fixtures.make"


@pytest.mark.parametrize("version", VERSIONS)
def test_a_database_of_any_version_becomes_this_ones(tmp_path: Path, version: int) -> None:
    path = lay(tmp_path, version)
    before = life.dump(path)
    engines = Engines(tmp_path)
    try:
        assert holds(expected(version), life.seen(engines))
    finally:
        engines.stop()
    assert [finding for finding in check(path) if finding.problems] == []
    with open_database(str(tmp_path / "new.db")):
        pass
    assert shape(path) == shape(tmp_path / "new.db")
    copy = path.with_name(f"imserver.db.v{version}")
    if version < schema.VERSION:
        assert life.dump(copy) == before
    else:
        assert not copy.exists()
        assert life.dump(path) == before


def test_a_skipped_version_is_made_of_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend = (*schema.MIGRATIONS, "CREATE TABLE one (a)", "CREATE TABLE two (a)")
    monkeypatch.setattr(schema, "MIGRATIONS", pretend)
    monkeypatch.setattr(schema, "VERSION", len(pretend))
    folder = tmp_path / "fixtures"
    shutil.copytree(fixture(1).parent, folder)
    monkeypatch.setattr("tests.store.fixtures.HERE", folder)
    monkeypatch.setattr("tests.store.fixtures.LANDED", folder / "landed.txt")
    monkeypatch.setattr(make, "LANDED", folder / "landed.txt")
    make.main([])
    assert list(landed()) == list(range(1, len(pretend) + 1))
    for version in range(len(pretend) - 1, len(pretend) + 1):
        path = tmp_path / f"{version}.db"
        life.load(fixture(version).read_text("utf-8"), path)
        assert f"user_version = {version}" in life.dump(path)
    assert expected(len(pretend) - 1) == expected(len(pretend) - 2)


# -- killed in the middle ---------------------------------------------------------------------

# A server that knows one migration more, which goes through all messages and says when it is in
# the midst of them; with `wait` as its argument it waits there to be killed.
LATER = """
import sys, apsw
from imserver.store import schema

def midst(seq):
    if seq == 13 and "wait" in sys.argv:
        print("in the midst", flush=True)
        sys.stdin.read()
    return seq

apsw.connection_hooks.append(lambda db: db.create_scalar_function("midst", midst))
schema.MIGRATIONS += (
    '''
    CREATE TABLE other (seq INTEGER PRIMARY KEY, content TEXT NOT NULL, length INTEGER) STRICT;
    INSERT INTO other SELECT midst(seq), content, length(content) FROM message ORDER BY seq;
    DROP TABLE message;
    ALTER TABLE other RENAME TO message;
    CREATE INDEX by_length ON message (length);
    ''',
)
schema.VERSION += 1
"""
# One that says when the copy of the database is being written.
COPYING = """
import sys, apsw

def look(db):
    def progress():
        if "wait" in sys.argv and os.path.exists(sys.argv[1] + f".v{schema.VERSION - 1}.partial"):
            print("in the midst", flush=True)
            sys.stdin.read()
        return False
    db.set_progress_handler(progress, 100)

apsw.connection_hooks.append(look)
schema.MIGRATIONS += ("CREATE TABLE more (a)",)
schema.VERSION += 1
"""
OPEN = """
from imserver.store.database import open_database
with open_database(sys.argv[1]) as database:
    print(database.writer.execute("PRAGMA user_version").fetchone()[0])
"""


def later(path: Path, prelude: str, *, killed: bool) -> str:
    """Open a database with a later version; what it says, or, killed in the midst, nothing."""
    script = "import os\nfrom imserver.store import schema\n" + prelude + OPEN
    command = [sys.executable, "-c", dedent(script), str(path), *(["wait"] if killed else [])]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment()
    ) as process:
        try:
            if not killed:
                said, _ = process.communicate(timeout=PATIENCE)
                assert process.returncode == 0
                return said
            assert process.stdout is not None
            assert process.stdout.readline() == "in the midst\n"
            return ""
        finally:
            process.send_signal(signal.SIGKILL)


def test_killed_in_the_midst_of_a_migration_nothing_has_happened(tmp_path: Path) -> None:
    path = lay(tmp_path)
    before = life.dump(path)
    later(path, LATER, killed=True)
    assert life.dump(path.with_name(f"imserver.db.v{schema.VERSION}")) == before
    # This version, which does not know the migration, serves the file as if there had been none.
    engines = Engines(tmp_path)
    try:
        assert holds(expected(schema.VERSION), life.seen(engines))
    finally:
        engines.stop()
    assert life.dump(path) == before


def test_killed_in_the_midst_of_a_migration_the_next_start_repeats_it(tmp_path: Path) -> None:
    path = lay(tmp_path)
    before = life.dump(path)
    for _ in range(2):
        later(path, LATER, killed=True)
    assert later(path, LATER, killed=False) == f"{schema.VERSION + 1}\n"
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    [(count, length)] = db.execute("SELECT count(*), max(length) FROM message")
    db.close()
    assert count == before.count('INSERT INTO "message"')
    assert length == max(map(len, life.CONTENTS))
    assert life.dump(path.with_name(f"imserver.db.v{schema.VERSION}")) == before
    assert not list(path.parent.glob("*.partial"))


def test_killed_while_the_copy_is_made_the_next_start_makes_it(tmp_path: Path) -> None:
    path = lay(tmp_path)
    before = life.dump(path)
    later(path, COPYING, killed=True)
    copy = path.with_name(f"imserver.db.v{schema.VERSION}")
    assert not copy.exists()
    assert life.dump(path) == before
    assert later(path, COPYING, killed=False) == f"{schema.VERSION + 1}\n"
    assert life.dump(copy) == before
    assert sorted(os.listdir(path.parent)) == [path.name, path.name + ".lock", copy.name]


async def test_a_server_started_on_the_first_version_serves_what_is_in_it(tmp_path: Path) -> None:
    life.load(fixture(1).read_text("utf-8"), tmp_path / "imserver.db")
    async with started(tmp_path, "--data", ".", "--port", "0") as server:
        async with login(server, "bob") as bob:
            page = await bob.call("sync_offline", {"last_message_id": "msg_0", "include_own": True})
        assert holds(expected(1)["bob"]["all"]["messages"], page["messages"])
        assert await server.terminated() == 0

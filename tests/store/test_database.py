"""The one file: made, upgraded with a copy kept, refused untouched, locked."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from contextlib import contextmanager
from textwrap import dedent
from typing import TYPE_CHECKING

import apsw
import pytest

from imserver.store import queries, schema
from imserver.store.database import StoreError, open_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NEXT = (*schema.MIGRATIONS, "ALTER TABLE user ADD COLUMN nickname TEXT; CREATE TABLE extra (a)")
BROKEN = (*NEXT, "CREATE TABLE more (a); INSERT INTO nothing VALUES (1)")


def pretend(monkeypatch: pytest.MonkeyPatch, migrations: tuple[str, ...]) -> None:
    """Let this be a server that knows these migrations."""
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    monkeypatch.setattr(schema, "VERSION", len(migrations))


def ask(path: Path, sql: str) -> object:
    """One value out of a file that no server has open."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return db.execute(sql).fetchone()[0]
    finally:
        db.close()


def shape(path: Path) -> list[str]:
    """The schema of a file, as SQLite keeps it."""
    db = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
        return [sql for (sql,) in rows]
    finally:
        db.close()


def make(path: Path, version: int) -> None:
    """A file as a server of that version left it, with two users in it."""
    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode = WAL")
    for script in schema.MIGRATIONS[:version]:
        db.execute(script)
    db.execute(f"PRAGMA user_version = {version}")
    db.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
    db.execute("INSERT INTO user (user_id, created_ms) VALUES ('ann', 1), ('李雷', 2)")
    db.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "imserver.db"


def test_a_new_file_is_ours_durable_and_of_this_version(path: Path) -> None:
    with open_database(str(path)) as database:
        db = database.writer
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
        assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    assert sorted(os.listdir(path.parent)) == ["imserver.db", "imserver.db.lock"]
    assert ask(path, "PRAGMA user_version") == schema.VERSION
    assert ask(path, "PRAGMA application_id") == schema.APPLICATION_ID


def test_folders_on_the_way_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "imserver.db"
    with open_database(str(path)):
        pass
    assert path.exists()


def test_a_folder_that_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    with open_database(str(tmp_path / "made" / "imserver.db")):
        pass
    assert stat.S_IMODE((tmp_path / "made").stat().st_mode) == 0o700
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o750)
    with open_database(str(there / "imserver.db")):
        pass
    assert stat.S_IMODE(there.stat().st_mode) == 0o750


def test_an_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    with open_database(str(path)):
        pass
    assert ask(path, "PRAGMA user_version") == schema.VERSION


def test_a_start_that_was_cut_short_is_begun_again(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.execute("PRAGMA journal_mode = WAL")  # as far as a first start may come before its tables
    db.close()
    with open_database(str(path)):
        pass
    assert ask(path, "SELECT count(*) FROM message") == 0


@pytest.mark.parametrize("version", range(1, schema.VERSION + 1))
def test_a_file_of_any_version_opens_with_what_is_in_it(path: Path, version: int) -> None:
    make(path, version)
    before = shape(path)
    with open_database(str(path)) as database:
        names = database.writer.execute("SELECT user_id FROM user ORDER BY uid").fetchall()
    assert names == [("ann",), ("李雷",)]
    new = path.with_name("new.db")
    with open_database(str(new)):
        pass
    assert shape(path) == shape(new)
    copy = path.with_name(f"imserver.db.v{version}")
    assert copy.exists() == (version < schema.VERSION)
    if copy.exists():
        assert shape(copy) == before


def test_an_upgrade_keeps_a_copy_of_the_file_before_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path, schema.VERSION)
    before = shape(path)
    path.with_name(f"imserver.db.v{schema.VERSION}.partial").write_bytes(b"cut short")
    pretend(monkeypatch, NEXT)
    with open_database(str(path)) as database:
        database.writer.execute("INSERT INTO user (user_id, created_ms) VALUES ('new', 3)")
    copy = path.with_name(f"imserver.db.v{len(NEXT) - 1}")
    assert sorted(os.listdir(path.parent)) == [path.name, path.name + ".lock", copy.name]
    assert ask(path, "SELECT group_concat(nickname IS NULL) FROM user") == "1,1,1"
    assert ask(path, "PRAGMA user_version") == len(NEXT)
    assert shape(copy) == before
    assert ask(copy, "SELECT group_concat(user_id) FROM user") == "ann,李雷"
    assert ask(copy, "PRAGMA user_version") == len(NEXT) - 1
    assert ask(copy, "PRAGMA application_id") == schema.APPLICATION_ID


def test_the_copy_of_an_upgrade_can_be_served_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path, schema.VERSION)
    with monkeypatch.context() as context:
        pretend(context, NEXT)
        with open_database(str(path)):
            pass
    with open_database(f"{path}.v{schema.VERSION}") as database:
        assert database.writer.execute("SELECT count(*) FROM user").fetchone() == (2,)


def test_a_migration_that_fails_leaves_the_last_whole_version(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path, schema.VERSION)
    with monkeypatch.context() as context:
        pretend(context, BROKEN)
        with pytest.raises(StoreError, match="cannot use the database"), open_database(str(path)):
            pass
    assert ask(path, "PRAGMA user_version") == len(NEXT)
    assert ask(path, "SELECT count(*) FROM sqlite_schema WHERE name IN ('extra', 'more')") == 1
    pretend(monkeypatch, NEXT)
    with open_database(str(path)) as database:
        assert database.writer.execute("SELECT count(*) FROM user").fetchone() == (2,)


def test_killed_in_a_migration_it_goes_on_from_the_last_whole_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(path, schema.VERSION)
    with process(
        path,
        """
        import apsw
        from imserver.store import schema
        def die():
            os.kill(os.getpid(), signal.SIGKILL)
        apsw.connection_hooks.append(lambda db: db.create_scalar_function("die", die))
        schema.MIGRATIONS += ("CREATE TABLE one (a)", "CREATE TABLE two (a); SELECT die()")
        schema.VERSION += 2
        """,
    ) as child:
        assert child.wait(timeout=20) == -signal.SIGKILL
    assert shape(path)  # what stands in the WAL is recovered
    assert ask(path, "PRAGMA user_version") == schema.VERSION + 1
    pretend(monkeypatch, (*schema.MIGRATIONS, "CREATE TABLE one (a)", "CREATE TABLE two (a)"))
    with open_database(str(path)) as database:
        assert database.writer.execute("SELECT count(*) FROM two").fetchone() == (0,)
        assert database.writer.execute("SELECT count(*) FROM user").fetchone() == (2,)


def test_a_file_of_a_newer_version_is_refused_and_untouched(path: Path) -> None:
    make(path, schema.VERSION)
    db = apsw.Connection(str(path))
    db.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="newer imserver"), open_database(str(path)):
        pass
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == ["imserver.db", "imserver.db.lock"]


def test_another_programs_database_is_refused_and_untouched(path: Path) -> None:
    db = apsw.Connection(str(path))
    db.execute("CREATE TABLE note (text); INSERT INTO note VALUES ('mine')")
    db.close()
    before = path.read_bytes()
    with pytest.raises(StoreError, match="not an imserver database"), open_database(str(path)):
        pass
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"hello", b"SQLite format 4\0" + bytes(5000), bytes(4096)])
def test_a_file_that_is_no_database_is_refused_and_untouched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(StoreError, match="not an imserver database"), open_database(str(path)):
        pass
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [path.name]


def test_a_broken_database_is_refused_in_one_sentence(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + b"\xff" * 5000)
    with pytest.raises(StoreError, match=r"^[^\n]+$"), open_database(str(path)):
        pass
    with pytest.raises(StoreError), open_database(str(path)):  # the lock was let go
        pass


@pytest.mark.parametrize("make_obstacle", ["file", "folder"])
def test_a_place_that_cannot_hold_a_database_is_refused(tmp_path: Path, make_obstacle: str) -> None:
    if make_obstacle == "file":
        (tmp_path / "data").touch()
        path = tmp_path / "data" / "imserver.db"
    else:
        path = tmp_path / "imserver.db"
        path.mkdir()
    with pytest.raises(StoreError, match="cannot use the database"), open_database(str(path)):
        pass


def test_a_database_in_use_by_another_process_is_refused_until_that_is_gone(path: Path) -> None:
    with process(path) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match="in use by another"), open_database(str(path)):
            pass
        child.kill()
        child.wait(timeout=20)
        with open_database(str(path)):
            pass


def test_a_database_in_use_in_this_process_is_refused_until_it_is_closed(path: Path) -> None:
    with open_database(str(path)):
        with pytest.raises(StoreError, match="in use"), open_database(str(path)):
            pass
        with pytest.raises(StoreError, match="in use"), open_database(str(path)):
            pass
    with open_database(str(path)):
        pass


def test_two_databases_in_memory_share_nothing() -> None:
    with open_database(":memory:") as one, open_database(":memory:") as other:
        one.writer.execute("INSERT INTO user (user_id, created_ms) VALUES ('ann', 1)")
        assert one.reader().execute("SELECT count(*) FROM user").fetchone() == (1,)
        assert other.reader().execute("SELECT count(*) FROM user").fetchone() == (0,)


def test_a_database_in_memory_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with open_database(":memory:"):
        assert os.listdir() == []


@contextmanager
def process(path: Path, prelude: str = "") -> Iterator[subprocess.Popen[str]]:
    """Another process that opens the database, says so, and waits until it is killed."""
    script = "\n".join(
        [
            "import os, signal, sys",
            "from imserver.store.database import open_database",
            dedent(prelude),
            "with open_database(sys.argv[1]):",
            "    print('open', flush=True)",
            "    sys.stdin.read()",
        ]
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with child:
        try:
            yield child
        finally:
            child.kill()


def test_other_parameters_compile_no_statement_anew(tmp_path: Path) -> None:
    compiling = []

    def note(*action: object) -> int:  # SQLite asks the authorizer whenever it compiles
        compiling.append(action)
        return apsw.SQLITE_OK

    with open_database(str(tmp_path / "im.db")) as database:
        for connection in (database.writer, database.reader()):
            connection.authorizer = note
            ask = {"cid": 1, "uid": 1, "level": 1, "self": False, "upto": 9}
            connection.execute(queries.FIRST_HOLE, ask | {"after": 0}).fetchall()
            assert compiling
            compiling.clear()
            for after in range(1, 9):
                connection.execute(queries.FIRST_HOLE, ask | {"after": after}).fetchall()
            assert not compiling

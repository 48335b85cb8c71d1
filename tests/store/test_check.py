"""`imserver check`: what breaks a law is found, and named; what breaks none is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import apsw
import pytest
from click.testing import CliRunner

from imserver.cli.program import program
from imserver.store import schema
from imserver.store.database import StoreError, open_database
from imserver.store.files.contents import Contents
from imserver.store.tools.check import MOST_EXAMPLES, RULES, check
from tests.docs.markdown import Page
from tests.e2e.process import snapshot, started
from tests.store import life
from tests.store.fixtures import fixture
from tests.support import rest

if TYPE_CHECKING:
    from pathlib import Path

# Whom and what `life` has: users 1 alice, 2 bob, 3 李雷, 4 carol, 5 nobody, 6 dave, 7 away;
# conversations 1 alice and bob, 2 李雷 alone, 3 carol and nobody, 4 a group, 5 a closed one, 6 a
# private one, 7 a dissolved one, 8 carol and away, from which everything was removed.
FLOOR_0 = "DELETE FROM meta WHERE key = 'seq_floor'; "
BREAKAGES = [
    ("schema", "CREATE TRIGGER sly AFTER INSERT ON message BEGIN DELETE FROM token; END"),
    ("schema", "CREATE TABLE _litestream_other (id)"),
    ("schema", "CREATE INDEX sly ON message (sent_ms)"),
    ("references", "UPDATE message SET cid = 99 WHERE seq = 1"),
    ("meta", "INSERT OR REPLACE INTO meta VALUES ('seq_floor', 'many')"),
    ("meta", "INSERT OR REPLACE INTO meta VALUES ('seq_floor', -1)"),
    ("meta", f"INSERT OR REPLACE INTO meta VALUES ('lost_after:{7:020d}', 7), ('seq_floor', 9)"),
    ("meta", f"INSERT OR REPLACE INTO meta VALUES ('lost_after:{30:020d}', 40), ('seq_floor', 40)"),
    ("order", FLOOR_0 + "DELETE FROM message WHERE seq = 2"),
    ("order", FLOOR_0 + "DELETE FROM message WHERE seq = 1"),
    (
        "order",
        "INSERT OR REPLACE INTO meta VALUES ('seq_floor', 3); DELETE FROM message WHERE seq = 4",
    ),
    ("order", FLOOR_0 + "UPDATE message SET seq = 999 WHERE seq = 25"),
    ("lost", "INSERT OR REPLACE INTO meta VALUES ('seq_floor', 3)"),
    ("lost", f"INSERT OR REPLACE INTO meta VALUES ('lost_after:{20:020d}', 30), ('seq_floor', 31)"),
    ("users", "UPDATE user SET user_id = 'system' WHERE uid = 5"),
    ("users", "UPDATE user SET user_id = '' WHERE uid = 5"),
    ("accounts", "UPDATE account SET password = 'secret' WHERE uid = 1"),
    ("accounts", "UPDATE account SET disabled = 2 WHERE uid = 1"),
    ("accounts", "UPDATE account SET administrator = -1 WHERE uid = 1"),
    ("files", "UPDATE file SET unused_ms = 1 WHERE file_id = 'file_carried'"),
    ("files", "UPDATE file SET unused_ms = NULL WHERE file_id = 'file_unused'"),
    ("files", "UPDATE file SET digest = 'x' WHERE file_id = 'file_unused'"),
    ("attachments", "UPDATE attachment SET ordinal = 1"),
    ("attachments", "INSERT INTO attachment VALUES (999, 0, 'file_carried')"),
    ("replies", "UPDATE reply SET reply_to = seq"),
    ("replies", "UPDATE reply SET root = 0"),
    ("replies", "UPDATE reply SET root = reply_to WHERE root <> reply_to"),
    ("replies", "UPDATE reply SET cid = 1"),
    ("replies", "INSERT INTO reply VALUES (999, 4, 1, 1)"),
    ("replies", "UPDATE reply SET reply_to = 1, root = 1 WHERE root = reply_to"),
    ("mentions", "UPDATE mention SET cid = 1"),
    ("mentions", "UPDATE mention SET ordinal = -1 WHERE ordinal = 0"),
    ("mentions", "INSERT INTO mention VALUES (999, 0, 4, 1)"),
    ("forwards", "INSERT INTO forward VALUES (999, 1, 0)"),
    ("runs", "UPDATE run SET to_seq = from_seq - 1"),
    ("runs", "UPDATE run SET to_seq = to_seq + 1"),
    (
        "runs",
        "INSERT INTO run VALUES ((SELECT cid FROM conversation WHERE low_uid = high_uid), 3, 9, 9)",
    ),
    ("tokens", "UPDATE token SET digest = CAST('imt_secret' AS BLOB) WHERE token_id = 'token_2'"),
    ("tokens", "UPDATE account SET disabled = 1 WHERE uid = 1"),
    ("tokens", "DELETE FROM account WHERE uid = 1"),
    ("tokens", "UPDATE token SET used_ms = created_ms - 1 WHERE token_id = 'token_2'"),
    ("tokens", "UPDATE token SET expires_ms = used_ms - 1 WHERE token_id = 'token_2'"),
    ("audit", "DROP TRIGGER audit_stays; DELETE FROM audit WHERE entry = 1"),
    ("audit", "DROP TRIGGER audit_stays; DELETE FROM audit WHERE entry = 4"),
    ("audit", "INSERT INTO audit VALUES (999, 0, NULL, 'login', 'bob', '', '{}')"),
    ("audit", "DROP TRIGGER audit_stands; UPDATE audit SET detail = '' WHERE entry = 2"),
    ("conversations", 'DELETE FROM "group" WHERE cid = 5'),
    ("conversations", "UPDATE conversation SET low_uid = NULL WHERE cid = 3"),
    ("conversations", "UPDATE conversation SET low_uid = 2, high_uid = 1 WHERE cid = 1"),
    ("conversations", "UPDATE conversation SET low_uid = 1, high_uid = 6 WHERE cid = 4"),
    ("pairs", "UPDATE member SET active = 0 WHERE cid = 1 AND uid = 2"),
    ("pairs", "DELETE FROM member WHERE cid = 2"),
    ("pairs", "UPDATE member SET role = 2 WHERE cid = 1 AND uid = 2"),
    ("pairs", "UPDATE membership SET from_seq = 2 WHERE cid = 1 AND uid = 1"),
    ("pairs", "INSERT INTO member SELECT 1, 4, 1, 0, 0, 1, 0, 0, 0"),
    ("owners", "UPDATE member SET role = 2 WHERE cid = 4 AND uid = 6"),
    ("owners", "UPDATE member SET role = 0 WHERE cid = 4"),
    ("owners", 'UPDATE "group" SET closed = 0 WHERE cid = 5'),
    ("owners", 'UPDATE "group" SET closed = 1 WHERE cid = 4'),
    ("owners", 'UPDATE "group" SET closed = 2 WHERE cid = 5'),
    ("members", "UPDATE member SET active = 0 WHERE cid = 4 AND uid = 6"),
    ("members", "UPDATE member SET active = 1 WHERE cid = 5 AND uid = 3"),
    ("members", "UPDATE member SET active = 2 WHERE cid = 4 AND uid = 6"),
    ("members", "UPDATE member SET role = 3 WHERE cid = 4 AND uid = 6"),
    ("members", "UPDATE member SET role = 1 WHERE cid = 5 AND uid = 3"),
    ("members", "UPDATE member SET joined_seq = 12 WHERE cid = 4 AND uid = 6"),
    ("members", "DELETE FROM membership WHERE cid = 4 AND uid = 6"),
    ("intervals", "UPDATE membership SET to_seq = 10 WHERE cid = 4 AND uid = 1"),
    ("intervals", "UPDATE membership SET to_seq = 999 WHERE cid = 4 AND uid = 1"),
    ("intervals", "UPDATE membership SET from_seq = 0 WHERE cid = 5 AND uid = 6"),
    ("intervals", "INSERT INTO membership VALUES (5, 4, 12, 13)"),
    ("overlaps", "UPDATE membership SET to_seq = 16 WHERE cid = 4 AND uid = 2 AND from_seq = 11"),
    ("overlaps", "UPDATE membership SET to_seq = NULL WHERE cid = 4 AND uid = 2"),
    ("invitations", "INSERT INTO invitation VALUES (5, 3, 1, 0)"),  # not a group
    ("invitations", "INSERT INTO invitation VALUES (5, 4, 77, 0)"),
    ("invitations", "INSERT INTO invitation VALUES (6, 4, 4, 0)"),  # dave is in it
    ("bans", "INSERT INTO ban VALUES (3, 5, 1, 0)"),  # not a group
    ("bans", "INSERT INTO ban VALUES (4, 5, 77, 0)"),
    ("bans", "INSERT INTO ban VALUES (4, 6, 4, 0)"),  # dave is in it
    ("messages", "UPDATE message SET type = 6 WHERE seq = 1"),
    ("messages", "UPDATE message SET type = 5 WHERE seq = 1"),
    ("messages", "UPDATE message SET sender_uid = 0 WHERE seq = 1"),
    ("messages", "UPDATE message SET event = '{' WHERE seq = 11"),
    ("messages", "UPDATE message SET seq = 0 WHERE seq = 25"),
    ("senders", "UPDATE message SET sender_uid = 4 WHERE seq = 1"),
    ("senders", "UPDATE message SET sender_uid = 77 WHERE seq = 1"),
    ("senders", "UPDATE message SET sender_uid = 2 WHERE seq = 14"),  # had left before it
    ("sends", "UPDATE client_message SET seq = 999 WHERE seq = 1"),
    ("sends", "UPDATE client_message SET seq = 0 WHERE seq = 1"),
    ("sends", "UPDATE client_message SET seq = 7 WHERE seq = 1"),  # bob's
    ("sends", "UPDATE client_message SET sent_ms = 5 WHERE seq = 1"),
    ("sends", "UPDATE client_message SET digest = X'00' WHERE seq = 1"),
    ("removed", "UPDATE conversation SET removed_seq = 999 WHERE cid = 1"),
    ("removed", "UPDATE conversation SET removed_seq = 4 WHERE cid = 1"),
    ("removed", "UPDATE conversation SET removed_other_seq = removed_seq WHERE cid = 8"),
    ("removed", "UPDATE conversation SET removed_other_seq = 4 WHERE cid = 8"),
    ("failed", "UPDATE failed SET seq = 999"),
    ("failed", "UPDATE failed SET seq = 4"),
    ("failed", "UPDATE failed SET noted_seq = 4"),
    ("failed", "UPDATE failed SET noted_seq = 999"),
    ("failed", "UPDATE failed SET uid = 77"),
    ("watermarks", "UPDATE member SET delivered_seq = 999 WHERE cid = 4 AND uid = 6"),
    ("watermarks", FLOOR_0 + "UPDATE member SET delivered_seq = 9 WHERE cid = 1 AND uid = 1"),
    ("watermarks", "UPDATE member SET delivered_seq = 20 WHERE cid = 4 AND uid = 1"),  # left at 18
    ("watermarks", "UPDATE member SET read_seq = delivered_seq + 1 WHERE cid = 4 AND uid = 4"),
    ("watermarks", "UPDATE member SET read_seq = -1 WHERE cid = 1 AND uid = 1"),
    ("acks", "UPDATE selective_ack SET level = 3 WHERE seq = 3"),
    ("acks", "UPDATE selective_ack SET level = 0 WHERE seq = 3"),
    ("acks", "UPDATE member SET delivered_seq = 5, read_seq = 5 WHERE cid = 1 AND uid = 2"),
    ("acks", "UPDATE member SET delivered_seq = 3 WHERE cid = 1 AND uid = 2"),
    ("acks", "INSERT INTO selective_ack VALUES (1, 2, 999, 2)"),
    ("acks", "INSERT INTO selective_ack VALUES (1, 2, 8, 1)"),  # bob's own
    ("acks", "INSERT INTO selective_ack VALUES (1, 2, 9, 1)"),  # of another conversation
    ("acks", "INSERT INTO selective_ack VALUES (4, 2, 14, 1)"),  # bob had left before it
    ("acks", "INSERT INTO selective_ack VALUES (1, 4, 2, 1)"),  # carol is not in it
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "imserver.db"
    life.load(fixture(schema.VERSION).read_text("utf-8"), path)
    return path


def change(path: Path, sql: str) -> None:
    db = apsw.Connection(str(path))
    db.execute(sql)
    db.close()


def broken(path: Path) -> set[str]:
    return {finding.name for finding in check(path) if finding.problems}


def run(*arguments: str):
    return CliRunner().invoke(program, ["check", *arguments])


def test_what_life_leaves_is_sound(path: Path) -> None:
    findings = list(check(path))
    assert [finding.name for finding in findings] == [rule.name for rule in RULES]
    assert [finding for finding in findings if finding.problems] == []


@pytest.mark.parametrize(("rule", "sql"), BREAKAGES)
def test_what_breaks_a_law_is_found(path: Path, rule: str, sql: str) -> None:
    change(path, sql)
    assert rule in broken(path)


def test_every_law_is_broken_here() -> None:
    assert {rule for rule, _ in BREAKAGES} | {"file", "names", "contents"} == {
        rule.name for rule in RULES
    }


def test_a_second_name_is_found(path: Path) -> None:
    path.with_name("other").hardlink_to(path)
    assert broken(path) == {"names"}


def test_every_table_is_looked_at(path: Path) -> None:
    db = apsw.Connection(str(path))
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    db.close()
    rules = "\n".join(rule.breaks for rule in RULES)
    assert [table for table in tables if table not in rules] == [], "a new table needs a rule"


def test_what_was_taken_away_is_no_breach(path: Path) -> None:
    """Deleting and restoring leave places empty; what names them stays."""
    change(
        path,
        f"""
        DELETE FROM message WHERE seq IN (2, 4, 13);
        DELETE FROM reply WHERE seq IN (2, 4, 13);
        DELETE FROM mention WHERE seq IN (2, 4, 13);
        DELETE FROM forward WHERE seq IN (2, 4, 13);
        INSERT INTO meta VALUES ('lost_after:{1:020d}', 2);
        """,
    )
    assert broken(path) == set()
    change(
        path,
        f"""
        DELETE FROM message WHERE seq > 13;
        DELETE FROM reply WHERE seq > 13;
        DELETE FROM mention WHERE seq > 13;
        DELETE FROM forward WHERE seq > 13;
        INSERT INTO meta VALUES ('lost_after:{13:020d}', 99);
        UPDATE meta SET value = 100 WHERE key = 'seq_floor';
        """,
    )
    # All came from one conversation or another that is still there.
    assert broken(path) == set()


def test_a_damaged_file_is_found(path: Path) -> None:
    db = apsw.Connection(str(path))
    [(root,)] = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'client_message'")
    db.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(bytes(4096))
    assert "file" in broken(path)


def test_the_first_of_many_are_shown_and_all_are_counted(path: Path) -> None:
    messages = life.dump(path).count('INSERT INTO "message" ')
    change(path, "UPDATE message SET type = 77")
    [finding] = [finding for finding in check(path) if finding.name == "messages"]
    assert finding.problems == messages
    assert len(finding.examples) == MOST_EXAMPLES
    assert finding.examples[0] == "message 1 does not"
    result = run("--data", str(path.parent))
    assert "message 1 does not" in result.stdout
    assert f"and {messages - MOST_EXAMPLES} more" in result.stdout


def test_other_programs_tables_are_their_own_affair(path: Path) -> None:
    change(path, "CREATE TABLE _litestream_seq (id INTEGER PRIMARY KEY, seq INTEGER)")
    assert broken(path) == set()


def test_the_command_says_what_it_found(path: Path) -> None:
    result = run("--data", str(path.parent))
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert [line.split()[:2] for line in lines[:-1]] == [["ok", f"{r.name}:"] for r in RULES]
    assert lines[-1] == f"{path} is sound"
    change(path, "UPDATE member SET role = 2 WHERE cid = 4")
    result = run("--data", str(path.parent))
    assert result.exit_code == 1
    assert "BROKEN  owners: " in result.stdout
    assert "has 3 owners and 3 members" in result.stdout
    assert result.stdout.splitlines()[-1] == f"{path} is not sound"
    assert result.stderr == ""


def test_the_command_speaks_json(path: Path) -> None:
    result = run("--data", str(path.parent), "--json")
    assert result.exit_code == 0
    report = json.loads(result.stdout)
    assert report["sound"] is True
    assert report["database"] == str(path)
    assert [entry["name"] for entry in report["checks"]] == [rule.name for rule in RULES]
    change(path, FLOOR_0 + "DELETE FROM message WHERE seq = 2")
    result = run("--data", str(path.parent), "--json")
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert report["sound"] is False
    [entry] = [entry for entry in report["checks"] if entry["name"] == "order"]
    assert entry["problems"] == 1
    assert entry["examples"] == ["there is nothing right before message 3"]


def test_what_cannot_be_checked_is_refused_in_one_sentence(path: Path) -> None:
    result = run("--data", str(path.parent / "elsewhere"))
    assert result.exit_code == 1
    assert result.stderr == f"imserver: there is no database {path.parent}/elsewhere/imserver.db\n"
    change(path, f"PRAGMA user_version = {schema.VERSION + 1}")
    with pytest.raises(StoreError, match="newer imserver"):
        list(check(path))
    change(path, f"PRAGMA user_version = {schema.VERSION - 1}")
    with pytest.raises(StoreError, match=r"older imserver .* starting this server upgrades it"):
        list(check(path))
    change(path, "PRAGMA application_id = 7")
    with pytest.raises(StoreError, match="not an imserver database"):
        list(check(path))
    path.write_bytes(b"hello, this is something else altogether")
    with pytest.raises(StoreError, match="not an imserver database"):
        list(check(path))


async def test_it_works_beside_a_running_server_and_changes_nothing(tmp_path: Path) -> None:
    async with started(tmp_path, "--data", ".", "--port", "0") as server:
        async with rest(server, "alice") as alice:
            await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": "hello"})
        before = snapshot(tmp_path)
        assert broken(tmp_path / "imserver.db") == set()
        after = snapshot(tmp_path)
        assert before == after


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        ("none", None),
        ("missing", "the content of file_ours is missing"),
        ("cut", "the content of file_ours has another size"),
        ("damaged", "the content of file_ours is damaged"),
        ("foreign", "files/ab/stranger is not ours"),
    ],
)
def test_contents_of_files(tmp_path: Path, harm: str, sentence: str | None) -> None:
    with open_database(str(tmp_path / "imserver.db")) as database:
        contents = Contents(tmp_path / "files")
        contents.prepare()
        incoming = contents.begin()
        incoming.write(b"hello")
        digest = incoming.finish().digest
        contents.keep(incoming, digest)
        database.writer.execute(
            "INSERT INTO user VALUES (1, 'alice', 0);"
            "INSERT INTO file (file_id, uid, digest, name, size, type, shown, created_ms,"
            " unused_ms) VALUES ('file_ours', 1, ?, 'x', 5, 'text/plain', 0, 1, 1)",
            (digest,),
        )
        path = contents.path(digest)
        if harm == "missing":
            path.unlink()
        elif harm == "cut":
            path.write_bytes(b"hell")
        elif harm == "damaged":
            path.write_bytes(b"hellO")
        elif harm == "foreign":
            (tmp_path / "files" / "ab").mkdir()
            (tmp_path / "files" / "ab" / "stranger").touch()
    found = {finding.name: finding for finding in check(tmp_path / "imserver.db")}
    assert found["contents"].examples == ([] if sentence is None else [sentence])


@pytest.mark.parametrize("page", ["docs/operations.md", "docs/operations.zh-CN.md"])
def test_every_law_is_documented(page: str) -> None:
    rows = Page(page).table("Check" if page.endswith("ns.md") else "检查")
    assert [row[0].strip("`") for row in rows] == [rule.name for rule in RULES]
    if page.endswith("ns.md"):
        laws = [row[1].replace("`", "").split(" (PRAGMA")[0] for row in rows]
        assert laws == [rule.law for rule in RULES]

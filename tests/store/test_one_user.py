"""One user's data: all of it can be exported, and all of it can be erased."""

from __future__ import annotations

import json
import os
import pwd
from typing import TYPE_CHECKING, Any

import apsw
import msgspec
import pytest
from click.testing import CliRunner

from imserver.cli.program import program
from imserver.domain.model import Event
from imserver.domain.sentences import sentence
from imserver.store import schema
from imserver.store.database import open_database
from imserver.store.tools.check import check
from imserver.store.tools.erasing import REWRITE_DUE
from imserver.store.tools.records import KINDS
from imserver.store.tools.user_export import SELECT_OF_USER
from tests.service.engines import Caller, Engines
from tests.store import life
from tests.store.fixtures import fixture

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where `Engines` look for it."""
    path = tmp_path / "0" / "imserver.db"
    path.parent.mkdir()
    life.load(fixture(schema.VERSION).read_text("utf-8"), path)
    return path


def run(*arguments: str | Path, input: str | None = None):
    return CliRunner().invoke(program, [str(argument) for argument in arguments], input=input)


def erased(path: Path, user: str) -> str:
    result = run("erase", "--yes", "--data", path.parent, user)
    assert result.exit_code == 0, result.output
    return result.stdout


def query(path: Path, sql: str) -> list[Any]:
    db = apsw.Connection(str(path))
    rows = db.execute(sql).fetchall()
    db.close()
    return rows


def seen(folder: Path) -> Any:
    engines = Engines(folder)
    try:
        return life.seen(engines)
    finally:
        engines.stop()


# -- erasing ----------------------------------------------------------------------------------


@pytest.mark.parametrize("user", life.USERS)
def test_nothing_of_them_is_in_the_file_and_it_is_sound(path: Path, user: str) -> None:
    [(uid,)] = query(path, f"SELECT uid FROM user WHERE user_id = '{user}'")
    [(sent,)] = query(path, f"SELECT count(*) FROM message WHERE sender_uid = {uid}")
    said = erased(path, user)
    assert said.startswith(f"{user} is erased: {sent} messages removed, ")
    assert f'"erased user {uid}"' in said
    assert [finding for finding in check(path) if finding.problems] == []
    for file in path.parent.iterdir():
        # What others wrote about them is the others'.
        content = file.read_bytes().replace(life.CONTENTS[1].encode(), b"")
        assert user.encode() not in content, file
    for table in ("client_message", "failed", "token", "account", "invitation", "selective_ack"):
        assert query(path, f"SELECT * FROM {table} WHERE uid = {uid}") == []
    assert query(path, f"SELECT * FROM message WHERE sender_uid = {uid}") == []
    groups = 'SELECT cid FROM member JOIN "group" USING (cid) WHERE uid = '
    assert query(path, f"{groups}{uid}") == []


@pytest.mark.parametrize("user", life.USERS)
def test_others_keep_what_they_could_see_but_for_what_the_user_wrote(
    tmp_path: Path, path: Path, user: str
) -> None:
    [(uid,)] = query(path, f"SELECT uid FROM user WHERE user_id = '{user}'")
    before = seen(tmp_path)
    erased(path, user)
    after = seen(tmp_path)
    name = f"erased user {uid}"

    def renamed(message: dict[str, Any]) -> dict[str, Any]:
        """A message as it is to be now; sentences of the server are those of its events."""
        text = json.dumps(message, ensure_ascii=False)
        for mark in (f'"{user}"', f'"{user} ', f' {user}"', f" {user} "):
            text = text.replace(mark, mark.replace(user, name))
        wanted = {key: value for key, value in json.loads(text).items() if key != "status"}
        if json.loads(text) != message and "event" in wanted:
            wanted["content"] = sentence(msgspec.convert(wanted["event"], Event))
        return wanted

    for other in life.USERS:
        pages = (before[other]["all"], after[other]["all"])
        if other == user:
            assert pages[1]["messages"] == []
            continue
        old, new = ({message["id"]: message for message in page["messages"]} for page in pages)
        kept = {key: value for key, value in old.items() if value["sender_id"] != user}
        for key, message in kept.items():
            status = {"status": new[key]["status"]}
            wanted = renamed(message) | status
            if "replies" in wanted:  # the user's own answers are gone
                answers = sum(answer.get("thread_id") == key for answer in new.values())
                del wanted["replies"]
                wanted |= {"replies": answers} if answers else {}
            assert new[key] == wanted
        news = [new[key] for key in new if key not in kept]
        assert {message["event"]["kind"] for message in news} <= {"leave", "transfer"}
        # Whoever lost something that they could see is told.
        if len(kept) < len(old):
            assert pages[1]["gap"] is True


def test_their_groups_are_left_and_handed_on(tmp_path: Path, path: Path) -> None:
    erased(path, "bob")
    engines = Engines(tmp_path)
    try:
        [board] = engines.run(engines.ask, "list_groups", Caller("alice"), {})["groups"]
        assert board["name"] == "The board"
        assert board["owner_id"] == "alice"
        page = seen_by(engines, "alice")
        assert [message["content"] for message in page[-2:]] == [
            "erased user 2 left the group",
            "alice now owns the group",
        ]
        assert page[-2]["event"] == {
            "kind": "leave",
            "user_id": "erased user 2",
            "by": "erased user 2",
        }
        sentences = [message["content"] for message in page if message["type"] == "system"]
        assert not any("bob" in sentence for sentence in sentences)
        assert "alice made erased user 2 an admin" in sentences
        assert "erased user 2 removed dave" in sentences
        assert "erased user 2 now owns the group" in sentences
    finally:
        engines.stop()


def seen_by(engines: Engines, user: str) -> list[dict[str, Any]]:
    request = {"last_message_id": "msg_0", "limit": 200, "include_own": True}
    return engines.run(engines.ask, "sync_offline", Caller(user), request)["messages"]


def test_the_name_is_free_for_somebody_else(tmp_path: Path, path: Path) -> None:
    erased(path, "away")
    [(last,)] = query(path, "SELECT max(uid) FROM user")
    engines = Engines(tmp_path)
    try:
        assert seen_by(engines, "away") == []
        for sender, receiver in (("carol", "away"), ("away", "carol")):
            request = {"receiver_id": receiver, "content": "hi", "client_msg_id": "lost"}
            if sender == "carol":
                request["client_msg_id"] = "new"
            engines.run(engines.write, "send_message", Caller(sender), request)
        assert [message["content"] for message in seen_by(engines, "away")] == ["hi", "hi"]
        # The old one is nobody who could be written to, or log in.
        request = {"receiver_id": "erased user 7", "content": "hi"}
        with pytest.raises(Exception, match="white space"):
            engines.command("send_message", Caller("carol"), request)
    finally:
        engines.stop()
    assert query(path, "SELECT uid FROM user WHERE user_id = 'away'") == [(last + 1,)]
    assert [finding for finding in check(path) if finding.problems] == []


def test_the_audit_log_tells_of_it_and_not_of_whom(path: Path) -> None:
    before = query(path, "SELECT entry, action FROM audit ORDER BY entry")
    erased(path, "alice")
    after = query(path, "SELECT entry, action FROM audit ORDER BY entry")
    assert after == [*before, (len(before) + 1, "user.erased")]
    subject, detail = query(path, "SELECT subject, detail FROM audit ORDER BY entry")[-1]
    assert subject == "erased user 1"
    assert json.loads(detail) == {"operator": pwd.getpwuid(os.getuid()).pw_name}
    with pytest.raises(apsw.ConstraintError, match="only ever added to"):
        query(path, "DELETE FROM audit")


def test_it_is_asked_for_twice(path: Path) -> None:
    before = life.dump(path)
    for answer in ("n\n", "\n", ""):
        result = run("erase", "--data", path.parent, "alice", input=answer)
        assert result.exit_code == 1
        assert f"Erase alice from {path} for ever? [y/N]" in result.stderr
        assert life.dump(path) == before
    assert run("erase", "--data", path.parent, "alice", input="y\n").exit_code == 0
    result = run("erase", "--yes", "--data", path.parent, "alice")
    assert result.exit_code == 1
    assert result.stderr == "imserver: there is no user 'alice'\n"


def test_a_running_server_keeps_its_users(path: Path) -> None:
    with open_database(str(path)):
        result = run("erase", "--yes", "--data", path.parent, "alice")
        assert result.exit_code == 1
        assert result.stderr == f"imserver: {path} is in use by another running server\n"
    query(path, f"PRAGMA user_version = {schema.VERSION - 1}")
    result = run("erase", "--yes", "--data", path.parent, "alice")
    assert result.exit_code == 1
    assert "starting this server upgrades it" in result.stderr


def test_what_a_killed_one_left_in_the_file_the_next_one_clears(path: Path) -> None:
    secret = "y" * 5000
    query(path, f"UPDATE message SET content = '{secret}' WHERE seq = 1")
    query(path, "PRAGMA secure_delete = OFF")
    # As it is when the erasure is on disk and the file not yet written afresh.
    query(path, f"INSERT INTO meta VALUES ('{REWRITE_DUE}', 1)")
    query(path, "UPDATE message SET content = 'x' WHERE seq = 1")
    assert secret[:1000].encode() in path.read_bytes()
    result = run("erase", "--yes", "--data", path.parent, "nobody at all")
    assert result.stderr == "imserver: there is no user 'nobody at all'\n"
    assert secret[:1000].encode() not in path.read_bytes()
    assert query(path, f"SELECT * FROM meta WHERE key = '{REWRITE_DUE}'") == []


# -- exporting --------------------------------------------------------------------------------


def exported(path: Path, user: str) -> list[dict[str, Any]]:
    result = run("export", "--user", user, "--data", path.parent)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_kind_knows_what_concerns_a_user() -> None:
    assert set(SELECT_OF_USER) == set(KINDS)


@pytest.mark.parametrize("user", life.USERS)
def test_an_export_has_all_that_the_user_sees_and_nothing_else(
    tmp_path: Path, path: Path, user: str
) -> None:
    header, *lines, end = exported(path, user)
    assert header["user"] == user
    assert end["lines"] == len(lines) + 1
    shown = {message["id"] for message in seen(tmp_path)[user]["all"]["messages"]}
    messages = [line for line in lines if line["kind"] == "message"]
    assert {f"msg_{line['seq']}" for line in messages} == shown
    assert len(messages) == len(shown)
    for kind, field in (("user", "user_id"), ("account", "user"), ("member", "user"),
                        ("client_message", "sender"), ("selective_ack", "user"),
                        ("failed", "sender")):  # fmt: skip
        assert {line[field] for line in lines if line["kind"] == kind} <= {user}
    assert all("password" not in line for line in lines)
    for line in lines:
        if line["kind"] == "direct":
            assert user in line["users"]
        if line["kind"] == "audit":
            assert user in (line.get("actor"), line.get("subject"))


def test_it_has_what_the_whole_export_says_of_the_user(path: Path) -> None:
    result = run("export", "--data", path.parent)
    everything = [json.loads(line) for line in result.stdout.splitlines()]
    for user in life.USERS:
        mine = exported(path, user)
        for kind, field in (("user", "user_id"), ("member", "user"), ("client_message", "sender"),
                            ("selective_ack", "user"), ("failed", "sender")):  # fmt: skip
            expected = [line for line in everything if line["kind"] == kind and line[field] == user]
            assert [line for line in mine if line["kind"] == kind] == expected
        conversations = {line["conversation"] for line in mine if line["kind"] == "member"}
        for kind in ("direct", "group"):
            expected = [
                line
                for line in everything
                if line["kind"] == kind and line["conversation"] in conversations
            ]
            assert [line for line in mine if line["kind"] == kind] == expected


def test_it_is_not_to_be_imported(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "alice.jsonl"
    result = run("export", "--user", "alice", "--data", path.parent, out)
    assert result.exit_code == 0
    assert result.stdout.startswith(f"{out} (user alice, ")
    result = run("import", "--data", tmp_path / "new", out)
    assert result.exit_code == 1
    assert result.stderr == (f"imserver: {out} is about one user only, and cannot be imported\n")


def test_whom_nobody_knows_has_nothing_to_export(path: Path, tmp_path: Path) -> None:
    result = run("export", "--user", "mallory", "--data", path.parent, tmp_path / "out")
    assert result.exit_code == 1
    assert result.stderr == "imserver: there is no user 'mallory'\n"
    assert not (tmp_path / "out").exists()

"""Export and import: everything goes out as documented lines, and comes back the same."""

from __future__ import annotations

import gzip
import json
import os
import re
import subprocess
from typing import TYPE_CHECKING, Any

import apsw
import msgspec
import pytest
from click.testing import CliRunner

from imserver.cli.program import program
from imserver.store import schema
from imserver.store.database import open_database
from imserver.store.lines import End, Header
from imserver.store.tools.records import KINDS, LEFT_OUT
from tests.docs.markdown import Page
from tests.e2e.process import COMMAND, environment, started
from tests.store import life
from tests.store.fixtures import fixture
from tests.support import rest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINES = (Header, *KINDS, End)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "old" / "imserver.db"
    path.parent.mkdir()
    life.load(fixture(schema.VERSION).read_text("utf-8"), path)
    return path


def run(*arguments: str | Path, input: bytes | None = None):
    return CliRunner().invoke(program, [str(argument) for argument in arguments], input=input)


def exported(path: Path) -> list[dict[str, Any]]:
    result = run("export", "--data", path.parent)
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout_bytes.splitlines()]


def imported(folder: Path, lines: list[dict[str, Any]] | bytes):
    data = lines
    if isinstance(lines, list):
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert isinstance(data, bytes)
    return run("import", "--data", folder, "-", input=data)


def change(path: Path, sql: str) -> None:
    db = apsw.Connection(str(path))
    db.execute(sql)
    db.close()


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_what_is_imported_is_what_was_exported(path: Path, tmp_path: Path, name: str) -> None:
    change(path, f"INSERT INTO meta VALUES ('lost_after:{0:020d}', 7)")
    change(path, "DELETE FROM message WHERE seq < 10")
    change(path, "DELETE FROM token")
    change(path, "DELETE FROM run")  # none of them is a long one
    out = tmp_path / name
    result = run("export", "--data", path.parent, out)
    assert result.exit_code == 0, result.stderr
    users, messages = (life.dump(path).count(f'INTO "{table}" ') for table in ("user", "message"))
    assert result.stdout == f"{out} ({users} users, {messages} messages)\n"
    assert out.read_bytes().startswith(b"\x1f\x8b") == name.endswith(".gz")
    assert out.stat().st_mode & 0o777 == 0o600
    result = run("import", "--data", tmp_path / "new", out)
    assert result.exit_code == 0, result.stderr
    new = tmp_path / "new" / "imserver.db"
    assert result.stdout == f"{new} ({users} users, {messages} messages)\n"
    assert sorted(os.listdir(new.parent)) == ["imserver.db", "imserver.db.lock"]
    assert life.dump(new) == life.dump(path)
    again, before = exported(new), exported(path)
    for line in (again[0], before[0]):
        del line["exported_ms"]
    assert again == before


def test_lines_are_those_documented(path: Path) -> None:
    lines = exported(path)
    header, *records, end = lines
    assert header["kind"] == "imserver-export"
    assert header["format"] == 1
    assert header["schema"] == schema.VERSION
    assert end == {"kind": "end", "lines": len(lines) - 1}
    order = [kind.__struct_config__.tag for kind in KINDS]
    kinds = [line["kind"] for line in records]
    assert kinds == sorted(kinds, key=order.index)
    assert set(kinds) == set(order)
    message = next(line for line in records if line.get("seq") == 2 and line["kind"] == "message")
    assert message == {
        "kind": "message",
        "seq": 2,
        "conversation": 1,
        "sender": "alice",
        "type": "text",
        "content": life.CONTENTS[1],
        "sent_ms": 1700000002000,
    }
    member = next(line for line in records if line.get("intervals") == [[11, 13], [16, None]])
    assert member["user"] == "bob"


@pytest.mark.parametrize("page", ["docs/operations.md", "docs/operations.zh-CN.md"])
def test_every_kind_and_field_is_documented(page: str) -> None:
    heading = "Export and import" if page.endswith("ns.md") else "导出与导入"
    rows = {row[0].strip("`"): row[1] for row in Page(page).table(heading)}
    assert list(rows) == [kind.__struct_config__.tag for kind in LINES]
    for kind in LINES:
        fields = msgspec.structs.fields(kind)
        text = rows[kind.__struct_config__.tag]
        named = re.findall(r"`(\w+)`(\?)?", text)
        for field in fields:
            optional = not field.required
            assert (field.name, "?" if optional else "") in named, (kind, field.name)


def test_every_column_is_exported_or_left_out_for_a_reason(path: Path) -> None:
    db = apsw.Connection(str(path))
    columns = {
        f"{table}.{column}"
        for (table,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        for _, column, *_ in db.execute(f'PRAGMA table_info("{table}")')
        if table != "meta"  # is in the header
    }
    db.close()
    covered = {column for kind in KINDS for column in kind.COLUMNS}
    assert columns == covered | set(LEFT_OUT), "new columns go into records"
    assert not covered & set(LEFT_OUT)


async def test_a_running_server_can_be_exported(tmp_path: Path) -> None:
    async with started(tmp_path, "--data", "data", "--port", "0") as server:
        async with rest(server, "alice") as alice:
            await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": "hello"})
        lines = exported(tmp_path / "data" / "imserver.db")
    assert [line["content"] for line in lines if line["kind"] == "message"] == ["hello"]


def test_an_older_database_is_not_exported_but_upgraded_first(path: Path) -> None:
    change(path, f"PRAGMA user_version = {schema.VERSION - 1}")
    result = run("export", "--data", path.parent)
    assert result.exit_code == 1
    assert "older imserver" in result.stderr


def test_an_unsound_database_is_not_exported_in_part(path: Path, tmp_path: Path) -> None:
    change(path, "DELETE FROM user WHERE user_id = 'bob'")
    result = run("export", "--data", path.parent, tmp_path / "out")
    assert result.exit_code == 1
    assert re.fullmatch(r"imserver: \d+ rows of .+ refer to nothing: see imserver check\n",
                        result.stderr)  # fmt: skip
    assert os.listdir(tmp_path) == ["old"]


def test_an_existing_file_is_kept_unless_forced(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.write_text("precious")
    result = run("export", "--data", path.parent, out)
    assert result.exit_code == 1
    assert result.stderr == f"imserver: {out} exists already: --force replaces it\n"
    assert out.read_text() == "precious"
    assert run("export", "--data", path.parent, "--force", out).exit_code == 0
    assert out.read_bytes().startswith(b'{"kind":"imserver-export"')


def test_whoever_reads_the_export_may_stop(path: Path) -> None:
    change(path, "UPDATE message SET content = printf('%.100000c', 'x') WHERE type = 0")
    command = [*COMMAND, "export", "--data", str(path.parent)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.read(10) == b'{"kind":"i'
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 1


# -- what is refused --------------------------------------------------------------------------


def without(kind: str, *, counted: bool = False) -> Callable[[list[dict[str, Any]]], None]:
    def spoil(lines: list[dict[str, Any]]) -> None:
        lines[:] = [line for line in lines if line["kind"] != kind]
        if counted:
            lines[-1]["lines"] = len(lines) - 1

    return spoil


def changed(kind: str, /, **fields: Any) -> Callable[[list[dict[str, Any]]], None]:
    def spoil(lines: list[dict[str, Any]]) -> None:
        next(line for line in lines if line["kind"] == kind).update(fields)

    return spoil


def twice(kind: str) -> Callable[[list[dict[str, Any]]], None]:
    def spoil(lines: list[dict[str, Any]]) -> None:
        place = [line["kind"] for line in lines].index(kind)
        lines.insert(place, lines[place])

    return spoil


COSTLY: dict[str, Any] = {  # 4 GB for one login
    "kind": "account",
    "user": "alice",
    "password": f"$argon2id$v=19$m=4194304,t=2,p=1${'A' * 22}${'A' * 43}",
    "created_ms": 1,
    "password_ms": 1,
}
SPOILED = [
    (without("imserver-export"), r"line 1: the header is the first line"),
    (without("end"), r"is not whole: its last line is missing"),
    (without("user"), r"line \d+: there is no user 'alice'"),
    (without("direct"), r"line \d+: FOREIGN KEY constraint failed"),
    (without("member", counted=True), r"breaks a law: "),
    (without("message"), r"line \d+: \d+ lines should be before it"),
    (twice("imserver-export"), r"line 2: the header is the first line"),
    (twice("end"), r"line \d+: the end came before it"),
    (twice("message"), r"line \d+: UNIQUE constraint failed: message.seq"),
    (changed("imserver-export", format=2), r"written by another imserver \(0\."),
    (changed("imserver-export", schema=99), r"written by another imserver \(0\."),
    (changed("imserver-export", version=1), r"line 1: Expected `str`, got `int`"),
    (changed("user", user_id=7), r"line 2: Expected `str`, got `int`"),
    (changed("user", nickname="al"), r"line 2: Object contains unknown field `nickname`"),
    (
        changed("user", user_id="al\nice"),
        r"line 2: user_id must not contain white",
    ),
    (changed("user", user_id="system"), r'line 2: "system" is the server itself'),
    (changed("user", user_id="erased user x"), r"line 2: user_id must not contain white space"),
    (changed("user", number=2**63), r"line 2: "),
    (changed("group", closed=None), r"line \d+: Expected `bool`, got `null`"),
    (changed("member", intervals=[]), r"line \d+: intervals must not be empty"),
    (changed("member", role="king"), r"line \d+: there is no role 'king'"),
    (changed("member", user="mallory"), r"line \d+: there is no user 'mallory'"),
    (changed("member", delivered_seq=10**6), r"breaks a law: user 1 has conversation 1 delivered"),
    (changed("message", type="letter"), r"line \d+: there is no type 'letter'"),
    (changed("message", sender="mallory"), r"line \d+: there is no user 'mallory'"),
    (changed("message", seq="1"), r"line \d+: Expected `int`, got `str`"),
    (changed("client_message", digest="zz"), r"line \d+: digest is not hexadecimal"),
    (changed("client_message", seq=10**6), r"breaks a law: client_msg_id 'a-0' of user 1"),
    (changed("selective_ack", level="eaten"), r"line \d+: there is no level 'eaten'"),
    (
        lambda lines: lines.insert(-1, COSTLY),
        r"line \d+: its password is no hash that a login can afford",
    ),
    (changed("end", kind="finis"), r"line \d+: Invalid value 'finis'"),
]


@pytest.mark.parametrize(("spoil", "sentence"), SPOILED)
def test_what_is_wrong_is_said_with_its_line_and_leaves_nothing(
    path: Path,
    tmp_path: Path,
    spoil: Callable[[list[dict[str, Any]]], None],
    sentence: str,
) -> None:
    lines = exported(path)
    spoil(lines)
    result = imported(tmp_path / "new", lines)
    assert result.exit_code == 1
    assert re.fullmatch(rf"imserver: -.*{sentence}.*\n", result.stderr), result.stderr
    assert os.listdir(tmp_path / "new") == ["imserver.db.lock"]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "- is not whole: its last line is missing"),
        (b"hello\n", "-, line 1: JSON is malformed"),
        (b'{"kind": "user"\n', "-, line 1: Input data was truncated"),
        (b"\xff\xfe\n", "-, line 1: "),
        (gzip.compress(b'{"kind":"imserver-export"}\n' * 1000)[:-9], "-"),
    ],
)
def test_what_is_no_export_is_refused(tmp_path: Path, data: bytes, sentence: str) -> None:
    result = imported(tmp_path / "new", data)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"imserver: {sentence}")
    assert result.stderr.count("\n") == 1
    assert os.listdir(tmp_path / "new") == ["imserver.db.lock"]


def test_a_compressed_file_that_is_cut_short_is_refused(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.gz"
    assert run("export", "--data", path.parent, out).exit_code == 0
    out.write_bytes(out.read_bytes()[:-20])
    result = run("import", "--data", tmp_path / "new", out)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"imserver: cannot read {out}: ")
    assert os.listdir(tmp_path / "new") == ["imserver.db.lock"]


def test_an_import_needs_a_database_with_nothing_in_it(path: Path, tmp_path: Path) -> None:
    lines = exported(path)
    new = tmp_path / "new" / "imserver.db"
    with open_database(str(new)):  # as a first start leaves it
        result = imported(new.parent, lines)
        assert result.exit_code == 1
        assert "in use by another" in result.stderr
    result = imported(new.parent, lines)
    assert result.exit_code == 0, result.stderr
    change(path, "DELETE FROM token")
    change(path, "DELETE FROM run")
    assert life.dump(new) == life.dump(path)
    result = imported(new.parent, lines)
    assert result.exit_code == 1
    assert result.stderr == f"imserver: {new} exists already, and is not empty\n"
    assert life.dump(new) == life.dump(path)


def test_nobody_can_be_logged_in_with_an_export(path: Path, tmp_path: Path) -> None:
    digests = re.findall(r'INSERT INTO "token" VALUES .+, X\'(\w+)\'', life.dump(path))
    assert len(digests) == 2
    text = run("export", "--data", path.parent).stdout.lower()
    assert not [digest for digest in digests if digest.lower() in text]
    assert "token_2" in text  # the audit log names it
    assert life.HASH.lower() in text


def test_a_file_that_is_not_there_is_said_to_be_so(tmp_path: Path) -> None:
    result = run("import", "--data", tmp_path / "new", tmp_path / "nothing")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"imserver: cannot read {tmp_path}/nothing: ")
    assert not (tmp_path / "new").exists()


async def test_an_imported_database_is_served(path: Path, tmp_path: Path) -> None:
    newest = life.dump(path).count('INSERT INTO "message" ') + 2  # were removed, the last ones
    assert imported(tmp_path / "new", exported(path)).exit_code == 0
    async with (
        started(tmp_path, "--data", "new", "--port", "0") as server,
        rest(server, "alice") as alice,
    ):
        body = {"receiver_id": "bob", "content": life.CONTENTS[0], "client_msg_id": "a-0"}
        assert (await alice.post("/api/v1/messages", body))["message_id"] == "msg_1"
        sent = await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": "next"})
        assert sent["message_id"] == f"msg_{newest + 1}"


def test_an_import_notes_long_runs_afresh(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = exported(path)
    monkeypatch.setattr("imserver.store.runs.LONG", 6)
    assert imported(tmp_path / "new", lines).exit_code == 0
    db = apsw.Connection(str(tmp_path / "new" / "imserver.db"))
    runs = db.execute(
        "SELECT u.user_id, r.from_seq, r.to_seq FROM run r JOIN user u ON u.uid = r.uid"
    ).fetchall()
    db.close()
    assert runs == [("alice", 1, 6)]

"""`imserver user` and `imserver audit`, beside a real server and without one."""

from __future__ import annotations

import io
import json
import os
import pwd
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

import click
import pytest
import trio

from imserver.cli import operator_calls
from imserver.cli.program import program
from imserver.cli.user_commands import user as group
from imserver.domain.errors import CloseCode
from imserver.store.audit import Action, Author, record
from tests.contract.api import code_of
from tests.e2e.process import COMMAND, PATIENCE, environment, run, started
from tests.support import login, rest
from tests.support.accounts import NEW_PASSWORD, PASSWORD, changing, closing, log_in, token_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from imserver.cli.operator_calls import Control

TOKEN_MODE = {"IMSERVER_AUTH_MODE": "token"}
ME = pwd.getpwuid(os.getuid()).pw_name
FIRST = re.compile(r"imserver: the first administrator is admin, with this password for one login: "
                   r"(\S+)\n")  # fmt: skip


class Commands:
    """The commands of a folder, run one by one: each a process, or `inside` this one, for speed."""

    def __init__(self, folder: Path, *, inside: bool = False, **variables: str) -> None:
        self.folder = folder
        self.inside = inside
        self.variables = variables
        self.said: list[str] = []  # everything, on standard output and error

    async def __call__(self, *arguments: str, code: int = 0, given: str = "") -> str:
        """What a command prints, or what it says where it is to fail."""
        how = self._inside if self.inside else self._process
        with trio.fail_after(PATIENCE):
            ended, out, err = await how(arguments, given.encode())
        self.said += [out, err]
        assert ended == code, (arguments, out, err)
        if code == 0:
            assert FIRST.sub("", err) == ""
            return out
        assert out == ""
        if code == 1:
            assert re.fullmatch(r"imserver: [^\n]+\n", err), err
            return err.removeprefix("imserver: ").rstrip()
        return err

    async def _process(self, arguments: Sequence[str], given: bytes) -> tuple[int, str, str]:
        ended = await trio.run_process(
            [*COMMAND, *arguments],
            stdin=given,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            cwd=self.folder,
            env=environment(**self.variables),
        )
        return ended.returncode, ended.stdout.decode(), ended.stderr.decode()

    async def _inside(self, arguments: Sequence[str], given: bytes) -> tuple[int, str, str]:
        config = self.folder / "inside.toml"
        mode = self.variables.get("IMSERVER_AUTH_MODE", "open")
        config.write_text(f'data = "{self.folder}/data"\nauth.mode = "{mode}"\n')
        out, err = io.StringIO(), io.StringIO()
        before, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(given))
        try:
            with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
                # As a process, it has a thread and a loop of its own.
                await trio.to_thread.run_sync(program.main, ["--config", str(config), *arguments])
        finally:
            sys.stdin = before
        return int(ended.value.code or 0), out.getvalue(), err.getvalue()

    async def json(self, *arguments: str, **options: Any) -> list[dict[str, Any]]:
        """The objects that a command prints."""
        return [
            json.loads(line) for line in (await self(*arguments, "--json", **options)).splitlines()
        ]

    async def audit(self, *arguments: str) -> list[tuple[Any, ...]]:
        """What the audit log tells of, without times."""
        return [
            (entry.get("actor") or entry.get("operator"), entry["action"], entry.get("subject"))
            for entry in await self.json("audit", *arguments)
        ]


@asynccontextmanager
async def with_or_without(folder: Path, running: bool, **variables: str) -> AsyncIterator[Commands]:
    """Commands beside a running server, or where none runs."""
    commands = Commands(folder, inside=not running, **variables)
    if running:
        async with started(folder, "--port", "0", **variables):
            yield commands
    else:
        yield commands


beside_and_alone = pytest.mark.parametrize("running", [True, False], ids=["beside", "alone"])


@beside_and_alone
async def test_everything_that_the_commands_do(tmp_path: Path, running: bool) -> None:
    async with with_or_without(tmp_path, running, **TOKEN_MODE) as imserver:
        out = await imserver("user", "add", "alice", "--generate")
        found = re.fullmatch(r"alice has an account\npassword for one login: (\S{16})\n", out)
        assert found
        one_time = found[1]
        out = await imserver("user", "add", "bob", "--admin", "--password-stdin",
                             given=f"{PASSWORD}\n")  # fmt: skip
        assert out == "bob has an account\n"
        users = {user["user_id"]: user for user in await imserver.json("user", "list")}
        assert set(users) == {"admin", "alice", "bob"}
        assert users["alice"]["account"]["must_change_password"] is True
        assert users["bob"]["account"]["administrator"] is True
        assert [user["user_id"] for user in await imserver.json("user", "list", "al")] == ["alice"]
        assert await imserver.json("user", "show", "alice") == [users["alice"]]
        table = (await imserver("user", "list")).splitlines()
        assert table[0].split()[:4] == ["user", "account", "since", "used"]
        assert table[3].startswith("bob    administrator ")
        shown = await imserver("user", "show", "alice")
        assert re.search("^account +yes, has to change the password$", shown, re.MULTILINE)
        for command, says, change in (
            (["disable", "alice"], "alice is logged out and cannot log in", {"disabled": True}),
            (["enable", "alice"], "alice can log in", {"disabled": False}),
            (["admin", "alice"], "alice is an administrator", {"administrator": True}),
            (["admin", "alice", "--withdraw"], "alice is no administrator",
             {"administrator": False}),
        ):  # fmt: skip
            assert await imserver("user", *command) == f"{says}\n"
            [user] = await imserver.json("user", "show", "alice")
            assert {name: user["account"][name] for name in change} == change
        [answer] = await imserver.json("user", "passwd", "alice", "--generate")
        assert answer["password"] not in (one_time, "")
        await imserver("user", "passwd", "alice", "--password-stdin", given=NEW_PASSWORD)
        assert await imserver("user", "sessions", "alice") == "alice is logged in nowhere\n"
        assert await imserver.json("user", "sessions", "alice") == [
            {"sessions": [], "connections": []}
        ]
        out = await imserver("user", "revoke", "alice", "--all")
        assert out == "alice is logged out everywhere\n"
        assert await imserver.audit() == [
            (None, "account.created", "admin"),
            (ME, "account.created", "alice"),
            (ME, "account.created", "bob"),
            (ME, "account.disabled", "alice"),
            (ME, "account.enabled", "alice"),
            (ME, "administrator.made", "alice"),
            (ME, "administrator.unmade", "alice"),
            (ME, "password.set", "alice"),
            (ME, "password.set", "alice"),
        ]
        told = await imserver.audit("--subject", "alice", "--action", "password.set", "-n", "1")
        assert told == [(ME, "password.set", "alice")]
        assert await imserver.audit("--until", "2000-01-01") == []
        assert len(await imserver.audit("--operator", ME)) == 8
        assert len(await imserver.audit("--since", "2000-01-01T00:00+08:00", "--last", "0")) == 9
        line = (await imserver("audit", "--last", "1")).rstrip()
        assert re.fullmatch(
            rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\dZ  operator {ME}  password.set  alice  "
            "one_time=false",
            line,
        )
        # A password that was made is told by the command that made it, others by none.
        everything = "".join(imserver.said)
        assert everything.count(one_time) == everything.count(answer["password"]) == 1
        assert PASSWORD not in everything
        assert NEW_PASSWORD not in everything
    async with started(tmp_path, "--port", "0", **TOKEN_MODE) as server:
        assert (await log_in(server, "alice", NEW_PASSWORD))["must_change_password"] is False
        await log_in(server, "bob", PASSWORD)
        assert await code_of(log_in(server, "alice", one_time)) == "wrong_credentials"


REFUSED = (
    ("There is an account alice already", "add", "alice", "--generate"),
    (
        "user_id must not contain white space, control or invisible characters",
        "add",
        "a b",
        "--generate",
    ),
    ("There is no such user", "show", "nobody"),
    ("There is no account nobody", "disable", "nobody"),
    ("There is no account nobody", "passwd", "nobody", "--generate"),
    ("There is no account nobody", "revoke", "nobody", "--all"),
    ("There is no such session", "revoke", "alice", "token_1"),
    ("admin is the last administrator", "disable", "admin"),
    ("admin is the last administrator", "admin", "admin", "--withdraw"),
)
MISUSED = (
    ("user", "add"),
    ("user", "add", "bob", PASSWORD),  # no password is an argument
    ("user", "add", "bob", "--password", PASSWORD),
    ("user", "add", "bob", "--generate", "--password-stdin"),
    ("user", "add", "bob"),  # nobody can be asked
    ("user", "revoke", "alice"),
    ("user", "revoke", "alice", "token_1", "--all"),
    ("user", "no-such"),
    ("audit", "--since", "yesterday"),
)


async def test_what_cannot_be_done_is_said_in_a_sentence(tmp_path: Path) -> None:
    imserver = Commands(tmp_path, inside=True, **TOKEN_MODE)

    async def refused(sentence: str, *command: str, given: str = "") -> None:
        assert await imserver(*command, given=given, code=1) == sentence

    data = tmp_path / "data"
    for command in (["user", "list"], ["user", "show", "alice"], ["audit"]):
        await refused(f"there is no database {data}/imserver.db", *command)
    assert not data.exists()
    await imserver("user", "add", "alice", "--generate")
    for command in (["user", "disconnect", "alice"], ["audit", "--follow"]):
        await refused(f"no server runs on {data}", *command)
    for imserver.inside in (False, True):  # a real process tells no more
        await refused("There is no account nobody", "user", "disable", "nobody")
        await imserver("user", "add", "bob", PASSWORD, code=2)
    async with started(tmp_path, "--port", "0", **TOKEN_MODE):
        for sentence, *command in REFUSED:
            await refused(sentence, "user", *command)
        wrong = "action must be one of the documented actions"
        await refused(wrong, "audit", "--action", "nothing")
        short = "password must have at least 8 characters"
        await refused(short, "user", "passwd", "alice", "--password-stdin", given="short")
        for command in MISUSED:
            await imserver(*command, code=2)
    listed = await imserver.json("user", "list")
    assert [user["user_id"] for user in listed] == ["admin", "alice"]


async def test_it_counts_at_once_on_the_server_that_runs(tmp_path: Path) -> None:
    imserver = Commands(tmp_path, **TOKEN_MODE)
    async with started(tmp_path, "--port", "0", **TOKEN_MODE) as server:
        for user in ("alice", "bob"):
            await imserver("user", "add", user, "--password-stdin", given=PASSWORD)
        for command in (["disable"], ["passwd", "--password-stdin"], ["disconnect"]):
            token = await token_of(server, "alice")
            bobs = await token_of(server, "bob")
            async with login(server, "alice", token) as alice, login(server, "bob", bobs) as bob:
                await imserver("user", *command, "alice", given=PASSWORD)
                assert (await closing(alice.connection))[0] == CloseCode.SIGNED_OUT
                await bob.call("heartbeat")
            async with rest(server, None, token) as calls:
                gone = calls.get("/api/v1/groups")
                if command == ["disconnect"]:
                    await gone
                else:
                    assert await code_of(gone) == "unauthorized"
            if command == ["disable"]:
                await imserver("user", "enable", "alice")
        first = await log_in(server, "alice")
        async with login(server, "alice", first["token"]) as alice:
            [listed] = await imserver.json("user", "sessions", "alice")
            assert [each["connected"] for each in listed["sessions"]] == [False, True]
            assert [each["token_id"] for each in listed["connections"]] == [first["token_id"]]
            assert first["token_id"] in await imserver("user", "sessions", "alice")
            await imserver("user", "revoke", "alice", first["token_id"])
            assert (await closing(alice.connection))[0] == CloseCode.SIGNED_OUT
        async with rest(server, None, await token_of(server, "bob")) as calls:
            assert await code_of(calls.get("/api/v1/admin/users")) == "forbidden"
            await imserver("user", "admin", "bob")
            await calls.get("/api/v1/admin/users")
        assert await server.terminated() == 0
    assert PASSWORD not in server.log
    assert PASSWORD not in "".join(imserver.said)


@beside_and_alone
async def test_many_at_once(tmp_path: Path, running: bool) -> None:
    names = [f"user{number}" for number in range(6)]
    async with with_or_without(tmp_path, running, **TOKEN_MODE) as imserver:
        imserver.inside = False
        await imserver("user", "add", "zoe", "--admin", "--generate")
        async with trio.open_nursery() as nursery:
            for name in names:
                nursery.start_soon(imserver, "user", "add", name, "--generate")
        listed = [user["user_id"] for user in await imserver.json("user", "list")]
        assert listed == ["admin", *names, "zoe"]
        entries = await imserver.json("audit", "-n", "0")
        assert [entry["entry"] for entry in entries] == list(range(1, 9))
    assert run(tmp_path, "check").returncode == 0


async def test_a_server_that_starts_meanwhile_is_waited_for(tmp_path: Path) -> None:
    imserver = Commands(tmp_path, **TOKEN_MODE)
    await imserver("user", "add", "alice", "--generate")
    held = trio.Event()
    async with trio.open_nursery() as nursery:

        async def list_users() -> None:
            await held.wait()
            assert len(await imserver.json("user", "list")) == 2

        nursery.start_soon(list_users)
        # As between the start of a server and its first connection: it has the lock, and no socket.
        holder = await trio.lowlevel.open_process(
            [sys.executable, "-c", HOLD, str(tmp_path / "data" / "imserver.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert holder.stdin is not None
        assert holder.stdout is not None
        assert await holder.stdout.receive_some(1) == b"!"
        held.set()
        await wait_for_waiting(tmp_path)
        await holder.stdin.aclose()
        await holder.wait()


HOLD = """
import sys
from pathlib import Path
from imserver.store.database import take_lock
take_lock(Path(sys.argv[1]))
print("!", end="", flush=True)
sys.stdin.read()
"""


async def wait_for_waiting(folder: Path) -> None:
    """Until a command of the folder is at work."""
    while True:
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    arguments = await trio.Path(f"/proc/{entry}/cmdline").read_bytes()
                    where = os.readlink(f"/proc/{entry}/cwd")
                except OSError:
                    continue
                if b"user\0list" in arguments and where == str(folder):
                    return
        await trio.sleep(0.01)


async def test_the_audit_log_is_followed(tmp_path: Path) -> None:
    imserver = Commands(tmp_path, **TOKEN_MODE)
    async with started(tmp_path, "--port", "0", **TOKEN_MODE) as server:
        follower = await trio.lowlevel.open_process(
            [*COMMAND, "audit", "--follow", "--json", "--subject", "alice"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment(**TOKEN_MODE),
        )
        assert follower.stdout is not None
        lines = b""
        with trio.fail_after(PATIENCE):
            await imserver("user", "add", "bob", "--generate")
            await imserver("user", "add", "alice", "--password-stdin", given=PASSWORD)
            await token_of(server, "alice")
            while lines.count(b"\n") < 2:
                lines += await follower.stdout.receive_some()
        actions = [json.loads(line)["action"] for line in lines.splitlines()]
        assert actions == ["account.created", "login"]
        follower.send_signal(signal.SIGINT)
        with trio.fail_after(PATIENCE):
            assert await follower.wait() == 130
        assert await follower.stderr.receive_some() == b""
        await follower.stdout.aclose()
        await follower.stderr.aclose()
        left = await trio.lowlevel.open_process(
            [*COMMAND, "audit", "--follow"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env=environment(**TOKEN_MODE),
        )
        assert left.stdout is not None
        assert left.stderr is not None
        with trio.fail_after(PATIENCE):
            await left.stdout.receive_some()
            assert await server.terminated() == 0
            assert await left.wait() == 1
            said = b"".join([data async for data in left.stderr]).decode()
        assert re.fullmatch(r"imserver: the server (is gone|went away)[^\n]+\n", said)
        await left.stdout.aclose()


async def test_without_accounts_users_are_listed_and_disconnected(tmp_path: Path) -> None:
    imserver = Commands(tmp_path)
    async with started(tmp_path) as server, login(server, "alice") as alice:
        await alice.call("send_message", {"receiver_id": "小明", "content": "hello"})
        listed = (await imserver("user", "list")).splitlines()
        assert [line.split()[:2] for line in listed[1:]] == [["alice", "none"], ["小明", "none"]]
        says = await imserver("user", "add", "bob", "--generate", code=1)
        assert says == "This server keeps no accounts: it is not in token mode"
        out = await imserver("user", "disconnect", "alice")
        assert out == "1 connections of alice are closed\n"
        assert (await closing(alice.connection))[0] == CloseCode.SIGNED_OUT
        assert await imserver.audit() == [(ME, "user.disconnected", "alice")]
    assert [user["connections"] for user in await imserver.json("user", "list")] == [0, 0]


async def test_where_the_data_is_said_before_or_behind(tmp_path: Path) -> None:
    imserver = Commands(tmp_path, **TOKEN_MODE)
    place = str(tmp_path / "elsewhere")
    await imserver("--data", place, "user", "add", "alice", "--generate")
    assert len(await imserver.json("user", "list", "--data", place)) == 2
    (tmp_path / "settings.toml").write_text(f'data = "{place}"\nauth.mode = "token"\n')
    assert len(await imserver.json("--config", "settings.toml", "user", "list")) == 2
    assert len(await imserver.json("audit", "--config", "settings.toml")) == 2
    says = await imserver("user", "list", "--config", "none.toml", code=1)
    assert says == "none.toml: there is no such file"


def test_a_password_is_asked_for_twice_and_never_shown(tmp_path: Path) -> None:
    process, terminal = os.forkpty()
    if process == 0:
        try:
            os.chdir(tmp_path)
            command = [*COMMAND, "user", "add", "alice"]
            os.execvpe(command[0], command, environment(**TOKEN_MODE))
        finally:
            os._exit(127)
    shown = b""

    def until(what: bytes) -> None:
        nonlocal shown
        seen = len(shown)
        while what not in shown[seen:]:
            shown += os.read(terminal, 1000)

    until(b"Password: ")
    os.write(terminal, b"mistyped password\n")
    until(b"Once more: ")
    os.write(terminal, PASSWORD.encode() + b"\n")
    until(b"Password: ")
    os.write(terminal, PASSWORD.encode() + b"\n")
    until(b"Once more: ")
    os.write(terminal, PASSWORD.encode() + b"\n")
    until(b"alice has an account")
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    os.close(terminal)
    assert PASSWORD.encode() not in shown
    assert b"mistyped" not in shown


async def test_more_than_a_page(tmp_path: Path) -> None:
    with changing(tmp_path / "data") as tx:
        for number in range(450):
            tx.name_user(f"user{number:03}")
            action = Action.LOGGED_OUT if number % 2 else Action.LOGGED_IN
            record(tx, Author("ann", "192.0.2.1"), action, f"user{number:03}")
    imserver = Commands(tmp_path, inside=True)
    names = [f"user{number:03}" for number in range(450)]
    assert [user["user_id"] for user in await imserver.json("user", "list")] == names
    for count, arguments in ((450, ["-n", "0"]), (401, ["-n", "401"]), (50, [])):
        told = await imserver.audit(*arguments)
        assert [subject for _, _, subject in told] == names[-count:]
    told = await imserver.audit("--action", "logout", "-n", "220")
    assert [subject for _, _, subject in told] == names[1::2][-220:]


async def test_a_server_that_cannot_be_reached_or_goes_away(tmp_path: Path) -> None:
    imserver = Commands(tmp_path, inside=True, **TOKEN_MODE)
    (tmp_path / "data").write_text("in the way")
    said = await imserver("user", "add", "alice", "--generate", code=1)
    path = tmp_path / "data" / "control.sock"
    assert said == f"cannot reach the server by {path}: Not a directory"
    (tmp_path / "data").unlink()
    with changing(tmp_path / "data"):
        pass

    async def hang_up() -> None:
        for _ in range(2):  # the command looks whether somebody is there, and then asks
            connection, _ = await listener.accept()
            connection.close()

    with trio.socket.socket(trio.socket.AF_UNIX) as listener:
        await listener.bind(str(path))
        listener.listen()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(hang_up)
            said = await imserver("user", "list", code=1)
    assert said.startswith("the server went away before it answered")


@pytest.mark.parametrize("command", [["audit"], ["user", "list", "--json"]])
async def test_whoever_reads_what_is_printed_may_have_enough(
    tmp_path: Path, command: list[str]
) -> None:
    await Commands(tmp_path, inside=True, **TOKEN_MODE)("user", "add", "alice", "--generate")
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write) as closed:
        ended = await trio.run_process(
            [*COMMAND, *command],
            stdout=closed,
            capture_stderr=True,
            check=False,
            cwd=tmp_path,
            env=environment(**TOKEN_MODE),
        )
    assert (ended.returncode, ended.stderr) == (1, b"")


def test_an_interrupted_command_ends_as_such(tmp_path: Path) -> None:
    async def interrupted(control: Control) -> None:
        await control.call("list_users")
        raise KeyboardInterrupt

    async def broken(control: Control) -> None:
        raise ZeroDivisionError

    context = click.Context(group)
    for work, end in ((interrupted, SystemExit), (broken, ExceptionGroup)):
        with pytest.raises(end) as ended:
            operator_calls.run(context, None, str(tmp_path), work, founding=True)
        if end is SystemExit:
            assert ended.value.code == 130


def test_every_command_has_help_with_examples() -> None:
    for name, command in group.commands.items():
        assert command.help
        assert f"imserver user {name}" in (command.epilog or "")
    assert {
        "add",
        "list",
        "show",
        "disable",
        "enable",
        "passwd",
        "admin",
        "sessions",
        "revoke",
    } <= (set(group.commands))

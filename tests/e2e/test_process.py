"""Starting and stopping, as a user sees it: one line, exit codes, signals, logs, files."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import AsyncExitStack, closing, suppress
from typing import TYPE_CHECKING

import httpx
import pytest
import trio

import imserver
from imserver.store.database import open_database
from tests.e2e.process import COMMAND, PATIENCE, environment, run, snapshot, started
from tests.support import login, rest, running_server
from tests.transport.raw import CLOSE, Raw, open_raw, raw_websocket, request

if TYPE_CHECKING:
    from pathlib import Path

STOPS = [signal.SIGTERM, signal.SIGINT]
GOING_AWAY = 1001


# -- start ---------------------------------------------------------------------------------------


async def test_it_starts_with_nothing_in_an_empty_folder(tmp_path: Path) -> None:
    async with started(tmp_path) as server:
        assert server.version == imserver.__version__
        assert server.address[1] != 0
        assert (tmp_path / server.database).samefile(tmp_path / "data" / "imserver.db")
        async with rest(server, "alice") as alice:
            assert (await alice.get("/health"))["status"] == "ok"
            await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": "hello"})
        assert os.listdir(tmp_path) == ["data"]
        assert await server.terminated() == 0
    assert server.said.count("\n") == 1, "one line on standard output, and no more"


async def test_the_port_of_the_flag_is_the_port(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with started(tmp_path, "--port", str(port)) as server:
        assert server.address == ("127.0.0.1", port)


async def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('port = 1\ndata = "file"\n[log]\nlevel = "debug"\n')
    flags = ("--port", "0", "--data", "flag")
    async with started(tmp_path, *flags, IMSERVER_DATA="env", IMSERVER_LOG_LEVEL="error") as server:
        assert (tmp_path / server.database).parent.name == "flag"
        assert await server.terminated() == 0
    assert server.log == ""  # at level error, not debug
    assert sorted(os.listdir(tmp_path)) == ["config.toml", "flag"]


@pytest.mark.parametrize("by_flag", [True, False])
async def test_another_settings_file(tmp_path: Path, by_flag: bool) -> None:
    (tmp_path / "other.toml").write_text('port = 0\ndata = "other"\n')
    flags = ("--config", "other.toml") if by_flag else ("--log-level", "info")
    variables = {} if by_flag else {"IMSERVER_CONFIG": "other.toml"}
    async with started(tmp_path, *flags, **variables) as server:
        assert (tmp_path / server.database).parent.name == "other"


async def test_what_was_stored_is_there_after_a_restart(tmp_path: Path) -> None:
    async with started(tmp_path) as server:
        async with login(server, "alice") as alice:
            sent = await alice.call("send_message", {"receiver_id": "bob", "content": "kept"})
        assert await server.terminated() == 0
    async with started(tmp_path) as server, login(server, "bob") as bob:
        page = await bob.call("sync_offline", {})
        assert [message["id"] for message in page["messages"]] == [sent["message_id"]]


def left_behind(folder: Path) -> list[str]:
    """What a server that ended has in its data; not the index, which comes when it comes."""
    return sorted(set(os.listdir(folder / "data")) - {"search.db"})


def test_version(tmp_path: Path) -> None:
    done = run(tmp_path, "--version")
    assert (done.returncode, done.stdout) == (0, f"imserver {imserver.__version__}\n")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help(tmp_path: Path, flag: str) -> None:
    done = run(tmp_path, flag)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: ")
    for option in ("--config", "--host", "--port", "--data", "--log-level", "--version", "--help"):
        assert option in done.stdout
    assert os.listdir(tmp_path) == []


# -- what keeps it from starting -----------------------------------------------------------------


def refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """It said why in one sentence, and nothing else."""
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(r"imserver: [^\n]+\n", done.stderr), done.stderr
    for word in words:
        assert word in done.stderr


def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        refused(run(tmp_path, "--port", port), "127.0.0.1", port, "in use")
        assert os.listdir(tmp_path) == [], "not even the folder was made"


def test_a_port_in_use_leaves_a_database_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with closing(sqlite3.connect(data / "imserver.db")) as db:
        db.execute("CREATE TABLE mine (x)")
    before = snapshot(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        refused(run(tmp_path, "--port", str(taken.getsockname()[1])))
    assert snapshot(tmp_path) == before


async def test_a_database_held_by_a_running_server(tmp_path: Path) -> None:
    async with started(tmp_path) as server:
        async with login(server, "alice") as alice:
            await alice.call("send_message", {"receiver_id": "bob", "content": "before"})
            before = snapshot(tmp_path)
            for _ in range(2):
                done = await trio.to_thread.run_sync(run, tmp_path, "--port", "0")
                refused(done, "imserver.db", "in use")
            assert snapshot(tmp_path) == before
            await alice.call("send_message", {"receiver_id": "bob", "content": "after"})
        assert await server.terminated() == 0
    async with started(tmp_path) as server, login(server, "bob") as bob:
        page = await bob.call("sync_offline", {})
        assert [message["content"] for message in page["messages"]] == ["before", "after"]


async def test_a_database_held_by_a_server_in_the_same_process(tmp_path: Path) -> None:
    # POSIX locks are the process's: only to look into the file would take them from SQLite, and
    # whoever opens the file next, with another program, would sweep the journal away at the end.
    def locks() -> list[str]:
        with open("/proc/locks") as file:
            mine = [line.split() for line in file if line.split()[-4] == str(os.getpid())]
        # Those of the database: the index of searches has locks of its own, and works meanwhile.
        ours = {str(path.stat().st_ino) for path in tmp_path.glob("imserver.db*")}
        return sorted(" ".join(line[1:]) for line in mine if line[5].split(":")[2] in ours)

    async with running_server(data=str(tmp_path), database="imserver.db"):
        before = locks()
        assert before
        with pytest.raises(imserver.StoreError, match="in use"):
            async with running_server(data=str(tmp_path), database="imserver.db"):
                pass
        assert locks() == before


def test_a_database_by_another_name_is_the_same_database(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "imserver.db").symlink_to(tmp_path / "data" / "imserver.db")
    names = [str(tmp_path / folder / "imserver.db") for folder in ("data", "other")]
    with (
        open_database(names[0]),
        pytest.raises(imserver.StoreError, match="in use"),
        open_database(names[1]),
    ):
        pass


async def test_a_database_of_a_newer_version(tmp_path: Path) -> None:
    async with started(tmp_path) as server:
        assert await server.terminated() == 0
    with closing(sqlite3.connect(tmp_path / "data" / "imserver.db")) as db:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        db.execute(f"PRAGMA user_version = {version + 1}")
    before = snapshot(tmp_path / "data")
    refused(run(tmp_path, "--port", "0"), "imserver.db", "newer")
    assert snapshot(tmp_path / "data") == before


@pytest.mark.parametrize("content", [b"no database at all", b"SQLite format 3\0" + b"x" * 4080])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (data / "imserver.db").write_bytes(content)
    refused(run(tmp_path, "--port", "0"), "imserver.db")
    assert (data / "imserver.db").read_bytes() == content


def test_a_database_of_another_program(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with closing(sqlite3.connect(data / "imserver.db")) as db:
        db.execute("CREATE TABLE mine (x)")
    before = (data / "imserver.db").read_bytes()
    refused(run(tmp_path, "--port", "0"), "imserver.db", "not an imserver database")
    assert (data / "imserver.db").read_bytes() == before


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    before = snapshot(tmp_path)
    refused(run(tmp_path, "--port", "0"), "data")
    assert snapshot(tmp_path) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    try:
        refused(run(tmp_path, "--port", "0"), "data", "denied")
    finally:
        tmp_path.chmod(0o755)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("prot = 8080", "prot"),
        ("port = ", "config.toml"),
        ("host = '0.0.0.0'", "host"),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "config.toml").write_text(text)
    refused(run(tmp_path), key)
    assert os.listdir(tmp_path) == ["config.toml"]


def test_a_settings_file_that_is_not_there(tmp_path: Path) -> None:
    refused(run(tmp_path, IMSERVER_CONFIG="nowhere.toml"), "nowhere.toml")
    assert os.listdir(tmp_path) == []


def test_a_variable_that_does_not_exist(tmp_path: Path) -> None:
    refused(run(tmp_path, IMSERVER_PROT="1"), "IMSERVER_PROT")


def test_a_host_that_is_no_name(tmp_path: Path) -> None:
    done = run(tmp_path, "--host", "x" * 64, IMSERVER_ALLOW_OPEN_NETWORK="true")
    refused(done, "x" * 64)


@pytest.mark.parametrize("flags", [["--prot", "1"], ["--port", "70000"]])
def test_flags_that_do_not_exist(tmp_path: Path, flags: list[str]) -> None:
    done = run(tmp_path, *flags)
    assert done.returncode == 2
    assert done.stdout == ""
    assert flags[0] in done.stderr
    assert os.listdir(tmp_path) == []


# -- stop ----------------------------------------------------------------------------------------


async def expect_goodbye(raw: Raw) -> None:
    while (received := await raw.frame()).opcode != CLOSE:
        pass
    assert int.from_bytes(received.payload[:2], "big") == GOING_AWAY
    await raw.stream.aclose()


@pytest.mark.parametrize("number", STOPS)
async def test_a_stop_answers_what_was_accepted_and_folds_the_journal(
    tmp_path: Path, number: signal.Signals
) -> None:
    async with started(tmp_path) as server:
        async with (
            raw_websocket(server, "alice") as alice,
            raw_websocket(server, "bob") as bob,
            raw_websocket(server) as stranger,
            open_raw(server) as silent,
            rest(server, "carol") as carol,
        ):
            await carol.post("/api/v1/messages", {"receiver_id": "bob", "content": "over REST"})
            sends = request("send_message", {"receiver_id": "bob", "content": "x"}) * 500
            await alice.send(sends)
            answered = [await alice.text()]
            server.signal(number)
            with trio.fail_after(PATIENCE):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(expect_goodbye, bob)
                    nursery.start_soon(expect_goodbye, stranger)
                    while (received := await alice.frame()).opcode != CLOSE:
                        answered.append(received.json)
                    await alice.stream.aclose()
            await silent.end()
            assert await server.ended() == 0
        done = [answer for answer in answered if answer["data"]["success"]]
        others = [answer for answer in answered if not answer["data"]["success"]]
        assert {answer["data"]["code"] for answer in others} <= {"unavailable"}
    assert f"{number.name}: shutting down" in server.log
    left = left_behind(tmp_path)
    assert left == ["files", "imserver.db", "imserver.db.lock"], "the WAL is folded into the file"
    with closing(sqlite3.connect(tmp_path / "data" / "imserver.db")) as db:
        # All that was acknowledged, and nothing that was not.
        assert db.execute("SELECT count(*) FROM message").fetchone()[0] == len(done) + 1


async def test_nobody_gets_in_while_it_stops(tmp_path: Path) -> None:
    variables = {"IMSERVER_TIMEOUTS_SHUTDOWN": "20"}
    async with started(tmp_path, **variables) as server:
        async with raw_websocket(server, "alice") as alice:
            server.signal(signal.SIGTERM)
            assert (await alice.frame()).opcode == CLOSE  # the stop has begun, and waits for us
            with pytest.raises(OSError, match=str(server.address[1])):
                await trio.open_tcp_stream(*server.address)
        assert await server.ended() == 0


async def stuck_clients(server, clients: AsyncExitStack) -> None:
    """Some who will neither take what is theirs nor go."""
    async with login(server, "sender") as sender:
        stuck = await clients.enter_async_context(
            raw_websocket(server, "stuck", receive_buffer=4096)
        )
        for _ in range(15):
            await sender.call("send_message", {"receiver_id": "stuck", "content": "x" * 60_000})
    await clients.enter_async_context(raw_websocket(server, "mute"))
    reader = await clients.enter_async_context(open_raw(server, receive_buffer=4096))
    call = b"GET /api/v1/messages/offline HTTP/1.1\r\nHost: localhost\r\nX-User-ID: stuck\r\n\r\n"
    await reader.send(call * 3)
    await reader.head()
    half = await clients.enter_async_context(open_raw(server))
    await half.send(
        b"POST /api/v1/messages HTTP/1.1\r\nHost:\r\nX-User-ID: a\r\nContent-Length: 9\r\n\r\n{"
    )
    assert stuck is not None


async def test_stuck_clients_do_not_hold_it_beyond_its_deadline(tmp_path: Path) -> None:
    async with (
        started(tmp_path, IMSERVER_TIMEOUTS_SHUTDOWN="0.5") as server,
        AsyncExitStack() as clients,
    ):
        await stuck_clients(server, clients)
        with trio.fail_after(5):
            assert await server.terminated() == 0
    assert left_behind(tmp_path) == ["files", "imserver.db", "imserver.db.lock"]
    assert '"error"' not in server.log


@pytest.mark.parametrize("number", STOPS)
async def test_a_second_signal_waits_for_nobody(tmp_path: Path, number: signal.Signals) -> None:
    async with (
        started(tmp_path, IMSERVER_TIMEOUTS_SHUTDOWN="3600") as server,
        AsyncExitStack() as clients,
    ):
        await stuck_clients(server, clients)
        witness = await clients.enter_async_context(raw_websocket(server, "witness"))
        server.signal(number)
        assert (await witness.frame()).opcode == CLOSE  # the first was understood
        server.signal(number)
        with trio.fail_after(5):
            assert await server.ended() == 0
    assert left_behind(tmp_path) == ["files", "imserver.db", "imserver.db.lock"]
    assert '"error"' not in server.log


# -- logs ----------------------------------------------------------------------------------------


async def test_logs_are_json_where_there_is_no_terminal(tmp_path: Path) -> None:
    async with started(tmp_path) as server:
        assert await server.terminated() == 0
    entries = [json.loads(line) for line in server.log.splitlines()]
    assert entries
    for entry in entries:
        assert entry.keys() >= {"time", "level", "logger", "message"}
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry["time"])
        assert entry["level"] == "info"
    assert [entry["message"] for entry in entries].count("SIGTERM: shutting down") == 1


async def test_logs_are_for_people_on_request(tmp_path: Path) -> None:
    async with started(tmp_path, "--port", "0", "--log-format", "human") as server:
        assert await server.terminated() == 0
    # What begins at the start, as retention, may say its first word meanwhile.
    [line] = [line for line in server.log.splitlines() if "SIGTERM" in line]
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO +imserver: SIGTERM: shutting down", line)


def test_logs_are_for_people_on_a_terminal(tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with closing(os.fdopen(ours, "rb", 0)) as terminal:
        process = subprocess.Popen(
            [*COMMAND, "--port", "0"],
            cwd=tmp_path,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=theirs,
        )
        try:
            os.close(theirs)
            assert process.stdout is not None
            with process.stdout:
                assert process.stdout.readline().startswith(b"imserver ")
                process.send_signal(signal.SIGINT)
                log = b""
                with suppress(OSError):  # how a terminal ends
                    while data := terminal.read(1000):
                        log += data
            assert process.wait(PATIENCE) == 0
        finally:
            process.kill()
            process.wait()
    assert re.search(rb"\d\d:\d\d:\d\d INFO +imserver: SIGINT: shutting down", log)
    assert b"{" not in log


# -- strange surroundings ------------------------------------------------------------------------


async def test_a_log_that_nobody_reads_stops_nothing(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    process = await trio.lowlevel.open_process(
        [*COMMAND, "--port", "0"],
        cwd=tmp_path,
        env=environment(IMSERVER_LOG_ACCESS="true"),
        stdout=subprocess.PIPE,
        stderr=writing,
    )
    try:
        assert process.stdout is not None
        ready = (await process.stdout.receive_some(1000)).decode()
        url = ready.split()[4]
        headers = {"X-User-ID": "alice", "X-Request-ID": "x" * 128}
        with trio.fail_after(PATIENCE):
            async with httpx.AsyncClient(headers=headers) as client:
                for _ in range(500):  # a record of some 300 bytes each; a pipe takes 64 KiB
                    assert (await client.get(f"{url}/health")).status_code == 200
        process.send_signal(signal.SIGTERM)
        with trio.fail_after(PATIENCE):
            assert await process.wait() == 0
    finally:
        process.kill()
        os.close(reading)
        os.close(writing)
        await process.stdout.aclose()


@pytest.mark.parametrize("streams", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_without_standard_streams_it_serves(streams: str, tmp_path: Path) -> None:
    command = " ".join(COMMAND)
    with subprocess.Popen(
        ["sh", "-c", f"exec {command} --port 0 {streams}"], cwd=tmp_path, env=environment()
    ) as process:
        control = tmp_path / "data" / "control.sock"
        answer = b""
        end = time.monotonic() + PATIENCE
        while not answer and time.monotonic() < end:
            with suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(PATIENCE)
                sock.connect(str(control))
                sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = sock.recv(1000)
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert answer.startswith(b"HTTP/1.1 200")


def test_a_folder_that_is_not_utf_8_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--data", b"\xff"], cwd=tmp_path, env=environment(), capture_output=True
    )
    assert (done.returncode, done.stdout) == (1, b"")
    assert (
        done.stderr == b"imserver: data must be a name in UTF-8: SQLite takes no other (--data)\n"
    )


def test_a_signal_to_stop_counts_from_the_first_moment() -> None:
    script = """if True:
        import os, signal, sys
        class Late:
            def find_spec(self, name, path=None, target=None):
                if name == "click":  # the first of what takes long to load
                    os.kill(os.getpid(), signal.SIGTERM)
        sys.meta_path.insert(0, Late())
        from imserver.cli import main
        main()
    """
    done = subprocess.run([sys.executable, "-c", script], env=environment(), timeout=PATIENCE)
    assert done.returncode == 128 + signal.SIGTERM

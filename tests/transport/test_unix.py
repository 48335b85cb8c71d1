"""Unix sockets: one for a reverse proxy, and one by which the server's own account commands it."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import stat
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from imserver import Config, log, open_server
from imserver.config import Admission, Backup, Limits, Log
from imserver.transport.listeners import ListenError, os_user, unix_address
from tests.support import login, rest, running_server, unix_client
from tests.transport.raw import HANDSHAKE, Raw
from tests.transport.test_request_ids import logged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@asynccontextmanager
async def open_unix(path: Path) -> AsyncIterator[Raw]:
    with unix_address(path) as address:
        stream = await trio.open_unix_socket(address)
    async with stream:
        yield Raw(stream)


@contextmanager
def left_behind(path: Path) -> Iterator[None]:
    """A socket file of a process that was killed."""
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    yield
    assert not path.exists()


async def test_both_lanes_are_served_on_it(tmp_path: Path) -> None:
    path = tmp_path / "imserver.sock"
    async with running_server(data=str(tmp_path), socket="imserver.sock") as server:
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        async with unix_client(path) as http:
            sent = await http.post(
                "/api/v1/messages",
                json={"receiver_id": "bob", "content": "hello"},
                headers={"X-User-ID": "alice"},
            )
            assert sent.status_code == 200
        async with open_unix(path) as raw:
            await raw.send(HANDSHAKE)
            assert (await raw.head()).startswith(b"HTTP/1.1 101 ")
            assert (await raw.ask("login", {"user_id": "bob"}))["data"]["success"]
            page = (await raw.ask("sync_offline", {}))["data"]
            assert [message["content"] for message in page["messages"]] == ["hello"]
            async with login(server, "alice") as alice:  # who came by TCP
                await alice.call("send_message", {"receiver_id": "bob", "content": "there"})
            assert (await raw.text())["data"]["content"] == "there"
    assert not path.exists()
    assert not (tmp_path / "control.sock").exists()


async def test_its_mode_is_as_told(tmp_path: Path) -> None:
    async with running_server(socket=str(tmp_path / "s"), socket_mode="0600"):
        assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600


@pytest.mark.parametrize("listed", [True, False])
async def test_what_a_proxy_says_by_it_is_believed_if_unix_is_listed(
    tmp_path: Path, listed: bool
) -> None:
    with logged() as entries:
        async with (
            running_server(
                socket=str(tmp_path / "s"),
                log=Log(access=True),
                proxies=("unix",) if listed else ("127.0.0.1",),
                # Nobody's number of connections by a Unix socket is counted.
                admission=Admission(mode="on", address_connections=1, connections_burst=1),
            ),
            open_unix(tmp_path / "s") as first,
            open_unix(tmp_path / "s") as second,
        ):
            for raw in (first, second):
                await raw.send(GET + b"X-Forwarded-For: 203.0.113.1\r\n\r\n")
                assert (await raw.answer())[0] == 200
    said = [entry.get("address") for entry in entries if entry["logger"] == log.ACCESS]
    assert said == ["203.0.113.1" if listed else None] * 2


async def test_a_socket_that_was_left_behind_is_replaced(tmp_path: Path) -> None:
    with left_behind(tmp_path / "s"), left_behind(tmp_path / "control.sock"):
        async with (
            running_server(data=str(tmp_path), socket="s"),
            open_unix(tmp_path / "s") as raw,
            open_unix(tmp_path / "control.sock") as control,
        ):
            for each in (raw, control):
                await each.send(GET + b"\r\n")
                assert (await each.answer())[0] == 200


async def test_a_socket_on_which_somebody_listens_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with running_server(socket=str(path)):
        with pytest.raises(ListenError) as refused:
            async with running_server(socket=str(path)):
                pass
        assert refused.value.errno == errno.EADDRINUSE
        assert str(refused.value) == f"cannot listen on {path}: Address already in use"
        async with open_unix(path) as raw:
            await raw.send(GET + b"\r\n")
            assert (await raw.answer())[0] == 200


@pytest.mark.parametrize("there", ["file", "folder"])
async def test_what_is_no_socket_is_left_alone(tmp_path: Path, there: str) -> None:
    path = tmp_path / "s"
    if there == "file":
        path.write_text("precious")
    else:
        path.mkdir()
    with pytest.raises(ListenError, match="something that is no socket is there"):
        async with running_server(socket=str(path)):
            pass
    assert path.is_dir() if there == "folder" else path.read_text() == "precious"


async def test_a_socket_that_another_put_there_meanwhile_is_not_removed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as other:
        async with running_server(socket=str(path)):
            path.unlink()
            other.bind(str(path))
        assert path.exists()


async def test_a_path_too_long_for_an_address_is_reached_all_the_same(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    async with running_server(data=str(folder), socket="s"):
        for name in ("s", "control.sock"):
            async with open_unix(folder / name) as raw:
                await raw.send(GET + b"\r\n")
                assert (await raw.answer())[0] == 200
    assert not (folder / "s").exists()


# -- the control socket --------------------------------------------------------------------------


async def test_the_control_socket_is_for_the_servers_own_account_alone(tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path)):
        found = (tmp_path / "control.sock").stat()
        assert stat.S_ISSOCK(found.st_mode)
        assert stat.S_IMODE(found.st_mode) == 0o600
        assert found.st_uid == os.geteuid()


async def test_a_database_in_memory_has_no_control_socket(tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path), database=":memory:"):
        assert not (tmp_path / "control.sock").exists()


async def test_the_operator_comes_in_where_nobody_else_does(tmp_path: Path) -> None:
    async with (
        running_server(
            data=str(tmp_path),
            limits=Limits(connections=1),
            admission=Admission(mode="on", requests_per_second=0.001, requests_burst=1),
        ) as server,
        login(server, "alice"),
        rest(server, "bob") as bob,
    ):
        assert (await bob.request("GET", "/health")).status_code == 503
        async with open_unix(tmp_path / "control.sock") as raw:
            for _ in range(5):
                await raw.send(
                    b"GET /api/v1/groups HTTP/1.1\r\nHost: localhost\r\nX-User-ID: a\r\n\r\n"
                )
                assert (await raw.answer())[0] == 200


async def test_a_server_without_its_control_socket_serves_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "control.sock").write_text("in the way")
    with logged() as entries:
        async with running_server(data=str(tmp_path)) as server, rest(server, None) as nobody:
            assert (await nobody.request("GET", "/health")).status_code == 200
    [warning] = [entry for entry in entries if entry["level"] == "warning"]
    assert "control.sock" in warning["message"]
    assert (tmp_path / "control.sock").read_text() == "in the way"


def test_who_connects_is_named_or_has_a_number() -> None:
    assert os_user(os.getuid()) == pwd.getpwuid(os.getuid()).pw_name
    assert os_user(2**31 - 7) == str(2**31 - 7)


async def test_a_server_that_does_not_listen_is_its_programs_alone(tmp_path: Path) -> None:
    backup = Backup(every=1.0)
    config = Config(data=str(tmp_path), socket="imserver.sock", backup=backup)
    async with open_server(config, listening=False) as server:
        assert server.address == ("", 0)
        assert not (tmp_path / "control.sock").exists()
        assert not (tmp_path / "imserver.sock").exists()
        for _ in range(2):
            with server.operator() as connection:
                connection.setblocking(False)
                raw = Raw(trio.SocketStream(trio.socket.from_stdlib_socket(connection)))
                await raw.send(b"GET /api/v1/admin/users HTTP/1.1\r\nHost: x\r\n\r\n")
                status, _, body = await raw.answer()
                assert (status, body) == (200, b'{"users":[],"has_more":false}\n')
    assert not (tmp_path / "backups").exists()

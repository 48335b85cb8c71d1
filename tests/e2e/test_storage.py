"""The real process on storage that is full, locked or not for it to write, and what clients see.

The disk that fails call by call is in tests/service/test_failing_disk.py.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import apsw
import pytest
import trio

from imserver.store.database import StoreError, open_database
from tests.e2e.process import run, started
from tests.support import Refused, login, rest
from tests.support.clients import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.process import Process
    from tests.support import Rest, Socket

MEGABYTE = 1 << 20
NOBODY = 65534


@contextmanager
def small_file_system(folder: Path, size: int) -> Iterator[Callable[[int], None]]:
    """A file system of its own in `folder`; yields what changes its size. Skips where it is not
    allowed to mount one.
    """
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "imserver-test", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mount")
    if done.returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        yield (
            lambda size: (
                subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)
                and None
            )
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class Sender:
    """Sends to bob until the server refuses, and again what it refused."""

    def __init__(self, server: Process, rest: Rest) -> None:
        self._server = server
        self._rest = rest
        self.acknowledged: list[str] = []  # contents, in order

    async def send(self, number: int) -> bool:
        """One message; says whether it was stored."""
        content = f"{number} " + "x" * 40_000
        body = {"receiver_id": "bob", "content": content, "client_msg_id": str(number)}
        answer = await self._rest.request("POST", "/api/v1/messages", json=body)
        if answer.status_code == 200:
            self.acknowledged.append(content)
            return True
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        return False

    async def until_refused(self) -> int:
        """Send until it is refused; returns the number of the message that was."""
        for number in range(5000):
            if not await self.send(number):
                return number
        raise AssertionError("it never was full")


async def everything(rest: Rest) -> list[str]:
    """The contents of all that a user has, page by page."""
    contents: list[str] = []
    page: dict[str, Any] = {"has_more": True}
    cursor = "msg_0"
    while page["has_more"]:
        page = await rest.get("/api/v1/messages/offline", last_message_id=cursor, limit=200)
        contents += [message["content"] for message in page["messages"]]
        cursor = page["messages"][-1]["id"] if page["messages"] else cursor
    return contents


async def drain(socket: Socket, contents: list[str]) -> None:
    """Keep what is pushed, for ever."""
    while True:
        frame = json.loads(await socket.connection.get_message())
        if frame["type"] == "new_message":
            contents.append(frame["data"]["content"])


async def healed(rest: Rest) -> None:
    """Wait until the server says that all is well."""
    with trio.fail_after(PATIENCE):
        while (await rest.get("/health"))["status"] != "ok":
            pass


async def fill_and_heal(server: Process, make_room: Callable[[], None]) -> None:
    """Everything that is promised of a server whose disk is full, and then is not."""
    pushed: list[str] = []
    async with (
        rest(server, "alice") as alice,
        rest(server, "bob") as bob,
        login(server, "bob") as socket,
        login(server, "dora") as other,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(drain, socket, pushed)
        sender = Sender(server, alice)
        refused = await sender.until_refused()
        assert refused > 20
        # It stays so; reads, sessions, new ones too, and those that ask how it is, live on.
        assert not await sender.send(refused)
        assert (await bob.get("/health"))["status"] == "degraded"
        assert "writes are refused" in (await bob.get("/health"))["reason"]
        assert (await bob.request("GET", "/ready")).status_code == 503
        assert await everything(bob) == sender.acknowledged
        await other.call("heartbeat")
        with pytest.raises(Refused) as refusal:
            await other.call("send_message", {"receiver_id": "bob", "content": "x" * 60_000})
        assert refusal.value.code == "unavailable"
        async with login(server, "carol") as carol:
            await carol.call("heartbeat")
        make_room()
        await healed(bob)  # nobody writes anything meanwhile
        assert await sender.send(refused)
        assert await sender.send(refused + 1)
        assert await everything(bob) == sender.acknowledged
        with trio.fail_after(PATIENCE):
            while len(pushed) < len(sender.acknowledged):
                await other.call("heartbeat")
        assert pushed == sender.acknowledged
        nursery.cancel_scope.cancel()


def assert_told_once(log: str) -> None:
    """The operator is told when it begins and when it ends, and not at every message."""
    said = [json.loads(line) for line in log.splitlines()]
    texts = [line["message"] for line in said if line["level"] in ("error", "warning")]
    refused = [text for text in texts if text.startswith("the store refuses writes: ")]
    again = [text for text in texts if text == "the store accepts writes again"]
    assert len(refused) == len(again) == 1, texts
    others = [text for text in texts if text not in (*refused, *again)]
    assert all("WAL" in text for text in others), others
    assert len(others) <= 2


def assert_sound(folder: Path) -> None:
    """`imserver check` finds nothing."""
    assert run(folder, "check").returncode == 0


# At the first the WAL is too long; at the second the file, and the WAL later.
@pytest.mark.parametrize("size", [3 * MEGABYTE, 5 * MEGABYTE])
async def test_files_that_may_not_grow(size: int, tmp_path: Path) -> None:
    async with started(tmp_path, file_bytes=size) as server:
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        pid = server.process.pid
        await fill_and_heal(
            server, lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, unlimited) and None
        )
        assert await server.terminated() == 0
    assert_told_once(server.log)
    assert_sound(tmp_path)


async def test_a_full_file_system(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with small_file_system(data, 6 * MEGABYTE) as resize:
        async with started(tmp_path) as server:
            await fill_and_heal(server, partial(resize, 60 * MEGABYTE))
            assert await server.terminated() == 0
        assert_told_once(server.log)
        assert_sound(tmp_path)


async def test_a_file_that_another_program_locks(tmp_path: Path) -> None:
    async with (
        started(tmp_path) as server,
        rest(server, "alice") as alice,
        rest(server, "bob") as bob,
        login(server, "bob") as socket,
    ):
        sender = Sender(server, alice)
        assert await sender.send(1)
        other = apsw.Connection(str(tmp_path / server.database))
        other.execute("BEGIN IMMEDIATE")
        outcome: list[bool] = []

        async def send() -> None:
            outcome.append(await sender.send(2))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            for _ in range(20):  # the writer waits, and nobody else does
                assert await everything(bob) == sender.acknowledged
                await socket.call("heartbeat")
            assert not outcome
        assert outcome == [False]
        assert (await bob.get("/health"))["status"] == "degraded"
        assert await everything(bob) == sender.acknowledged
        other.close()
        await healed(bob)
        assert await sender.send(2)
        assert await everything(bob) == sender.acknowledged
        assert await server.terminated() == 0
    assert_told_once(server.log)


# -- not for us to write ------------------------------------------------------------------------


def as_nobody(act: Callable[[], str]) -> str:
    """What a function returns in a process whose user owns nothing: modes do not bind root."""
    if os.geteuid() != 0:
        return act()
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(theirs, act().encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as answer:
        said = answer.read().decode()
    os.waitpid(child, 0)
    return said


@pytest.mark.parametrize("what", ["folder", "file"])
def test_what_may_only_be_read_is_refused_at_the_start(what: str, tmp_path: Path) -> None:
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    data = tmp_path / "data"
    path = data / "imserver.db"
    with open_database(str(path)):
        pass
    before = sorted(os.listdir(data))
    locked = path.with_name("imserver.db.lock")
    if what == "file":
        data.chmod(0o777)
        locked.chmod(0o666)
        path.chmod(0o444)
    else:
        data.chmod(0o555)
        locked.chmod(0o444)
        path.chmod(0o444)

    def start() -> str:
        try:
            with open_database(str(path)):
                return "it started"
        except StoreError as error:
            return str(error)

    sentence = as_nobody(start)
    data.chmod(0o755)
    assert sentence.startswith(f"cannot use the database {path}: ")
    assert sorted(os.listdir(data)) == before

"""The server as its users start it: `python -m imserver`, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE = 30.0  # seconds for a process to start or to end, on a busy machine
COMMAND = [sys.executable, "-m", "imserver"]
READY = re.compile(r"imserver (\S+) ready on (https?://(127\.0\.0\.1):(\d+)) \(database (.+)\)\n")


def environment(**variables: str) -> dict[str, str]:
    """The environment of the tests without settings, but for the given ones."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("IMSERVER_")}
    return kept | variables


class Process:
    """A server that said that it is ready; has what the clients of `tests.support` ask for."""

    def __init__(self, process: trio.Process, ready: str) -> None:
        found = READY.match(ready)
        assert found, f"this is not the documented line: {ready!r}"
        self.process = process
        self.version, self.url, host, port, self.database = found.groups()
        self.address = (host, int(port))
        self.said = ready  # on standard output
        self.log = ""  # on standard error; complete when it has ended

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """Wait for the end; returns the exit code."""
        with trio.fail_after(PATIENCE):
            return await self.process.wait()

    async def terminated(self) -> int:
        """Stop it as an operator does; returns the exit code."""
        self.signal(signal.SIGTERM)
        return await self.ended()

    def memory(self) -> int:
        """What it occupies now, in bytes."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def files(self) -> int:
        """How many files, sockets included, it has open now outside its data folder.

        Those inside are few, and the search index opens and closes some whenever it likes.
        """
        process = Path(f"/proc/{self.process.pid}")
        data = (process / "cwd").resolve().joinpath(self.database).parent
        count = 0
        for descriptor in (process / "fd").iterdir():
            with suppress(FileNotFoundError):  # it was closed meanwhile
                count += data not in descriptor.readlink().parents
        return count


@asynccontextmanager
async def started(
    folder: Path,
    *flags: str,
    open_files: int | None = None,
    file_bytes: int | None = None,
    stdin: int | None = None,
    **variables: str,
) -> AsyncIterator[Process]:
    """A running server whose working folder is `folder`; killed if it still runs at the end.

    `open_files` is how many the system lets it have, `file_bytes` how long each may grow until
    somebody allows it more; `stdin` is its standard input.
    """
    limit = ["prlimit"]
    if open_files is not None:
        limit.append(f"--nofile={open_files}")
    if file_bytes is not None:
        limit.append(f"--fsize={file_bytes}:unlimited")
    limit = limit[1:] and limit
    process = await trio.lowlevel.open_process(
        [*limit, *COMMAND, *(flags or ("--port", "0"))],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment(**variables),
    )
    assert process.stdout is not None
    assert process.stderr is not None
    log = bytearray()

    async def drain() -> None:
        async for data in process.stderr:
            log.extend(data)

    async with trio.open_nursery() as nursery:
        try:
            nursery.start_soon(drain)
            ready = bytearray()
            with trio.move_on_after(PATIENCE):
                while not ready.endswith(b"\n"):
                    data = await process.stdout.receive_some(1000)
                    if not data:
                        break
                    ready += data
            assert ready.endswith(b"\n"), f"it did not start: {log.decode()}"
            server = Process(process, ready.decode())
            yield server
            if process.returncode is not None:
                async for data in process.stdout:
                    server.said += data.decode()
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            await process.stdout.aclose()
            # What it wrote before its end can still be read; then the drain ends by itself.
    server.log = log.decode()


def run(folder: Path, *flags: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*COMMAND, *flags],
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


def snapshot(folder: Path) -> dict[str, tuple[int, str]]:
    """Every file below, with the time of its last change and what is in it, and every folder.

    But for the index of searches, on which a running server works by itself, and what its readers
    note of the database in shared memory.
    """
    return {
        str(path.relative_to(folder)): (
            path.stat().st_mtime_ns if path.is_file() else 0,
            sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in sorted(folder.rglob("*"))
        if not path.name.startswith("search.db") and path.name != "imserver.db-shm"
    }


def loaded_by(modules: str, name: str) -> list[str]:
    """The modules with a name in theirs that importing some in a new process loads."""
    script = (
        f"import json, sys, {modules}; print(json.dumps([m for m in sys.modules if {name!r} in m]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    loaded: list[str] = json.loads(done.stdout)
    return loaded

"""What is measured: a server that is started for the run, or one that runs already.

A `BenchTarget` can be measured again and again, each time afresh. Ours is here; peers are others.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

import imserver
from imserver.bench.load_error import LoadError
from imserver.bench.wire import ImWire

if TYPE_CHECKING:
    from collections.abc import Generator
    from contextlib import AbstractContextManager

    from imserver.bench.wire import Wire

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 60.0
_READY: Final = re.compile(rb"ready on (\S+)")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that takes connections."""

    address: tuple[str, int]
    pid: int | None = None  # where it can be looked at
    ready_seconds: float | None = None  # from start to ready
    database: Path | None = None  # its file, where it is ours to read
    secure: bool = False  # it speaks TLS


class BenchTarget(Protocol):
    """A server that can be measured."""

    name: str
    wire: type[Wire]

    def running(self, core: int | None) -> AbstractContextManager[Running]:
        """The server while the context lasts, pinned to a core.

        Raises:
            LoadError: it does not start; says why.
        """


class OwnServer:
    """`python -m imserver` with its defaults, on a database of its own."""

    name = "imserver"
    wire: type[Wire] = ImWire

    def __init__(self, data: Path | None = None, config: Path | None = None) -> None:
        self._data = data  # kept; None: a new folder each time, removed afterwards
        self._config = config  # settings; None: the defaults

    @contextmanager
    def running(self, core: int | None) -> Generator[Running, None, None]:
        """See `BenchTarget`. Leaving the context stops the server in order."""
        with tempfile.TemporaryDirectory(prefix="imserver-bench-") as folder:
            data = Path(folder) if self._data is None else self._data.resolve()
            begin = time.perf_counter()
            process = subprocess.Popen(
                self._command(data),
                cwd=folder,  # so that no config.toml is found by chance
                env=_environment(),
                stdout=subprocess.PIPE,
            )
            try:
                if core is not None:
                    os.sched_setaffinity(process.pid, {core})
                address, secure = _wait_ready(process)
                ready = time.perf_counter() - begin
                yield Running(address, process.pid, ready, data / "imserver.db", secure)
            finally:
                _stop(process)

    def _command(self, data: Path) -> list[str]:
        command = [sys.executable, "-m", "imserver", "--port", "0", "--data", str(data)]
        command += ["--log-level", "warning"]
        if self._config is not None:
            command += ["--config", str(self._config.resolve())]
        return command


class GivenServer:
    """A server that runs already, somewhere; `pid` where it is on this machine."""

    wire: type[Wire] = ImWire

    def __init__(self, url: str, pid: int | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "ws", "https", "wss") or parts.hostname is None:
            raise LoadError(f"{url} is not the http:// or https:// address of a server")
        self.name = url
        self._secure = parts.scheme in ("https", "wss")
        self._address = (parts.hostname, parts.port or (443 if self._secure else 80))
        self._pid = pid

    @contextmanager
    def running(self, core: int | None) -> Generator[Running, None, None]:
        """See `BenchTarget`; nothing is started, nothing is stopped."""
        if core is not None and self._pid is not None:
            os.sched_setaffinity(self._pid, {core})
        yield Running(self._address, self._pid, secure=self._secure)


def _environment() -> dict[str, str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("IMSERVER_")
    }
    # A checkout that is not installed is found as well.
    home = str(Path(imserver.__file__).resolve().parents[1])
    known = environment.get("PYTHONPATH")
    environment["PYTHONPATH"] = home if known is None else home + os.pathsep + known
    return environment


def _wait_ready(process: subprocess.Popen[bytes]) -> tuple[tuple[str, int], bool]:
    assert process.stdout is not None
    if not select.select([process.stdout], (), (), _START_SECONDS)[0]:
        raise LoadError(f"the server was not ready within {_START_SECONDS:.0f} s")
    line = process.stdout.readline()
    found = _READY.search(line)
    if found is None:
        raise LoadError("the server did not start (its output is above)")
    parts = urlsplit(found[1].decode())
    assert parts.hostname is not None
    assert parts.port is not None
    return (parts.hostname, parts.port), parts.scheme == "https"


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    assert process.stdout is not None
    process.stdout.close()

"""THE TABLE of peers: how each is found, started, spoken to, and asked what it has kept."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import closing, contextmanager
from importlib import metadata
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple

from imserver.bench import stored
from imserver.bench.load_error import LoadError
from imserver.bench.loop import Loop
from imserver.bench.target import OwnServer
from imserver.bench.wire import ImWire, Wire
from imserver.version import __version__
from tests.bench.compare.foreground import configured, foreground
from tests.bench.compare.wires.echo import EchoWire
from tests.bench.compare.wires.mqtt import MqttQos0Wire, MqttQos1Wire
from tests.bench.compare.wires.nats import (
    NatsGroupWire,
    NatsMemoryGroupWire,
    NatsMemoryWire,
    NatsStream,
    NatsWire,
)
from tests.bench.compare.wires.xmpp import ArchiveWire, XmppWire

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from contextlib import AbstractContextManager

_APT: Final = "tests/bench/compare/install-peers (as root; apt-get install {})"
_PIP: Final = "pip install -e '.[bench]'"
_SBIN: Final = ":/usr/local/sbin:/usr/sbin:/sbin"  # not on everybody's path

OURS: Final = "imserver"
_CHAT_DATABASE: Final = "chat.db"

_ON_DISK: Final = "on disk"
_NONE: Final = "none"
_WRITTEN_FIRST: Final = "written, on disk in 2 min"

_Wires = Mapping[str, type[Wire]]
_NATS: Final[_Wires] = {"direct": NatsWire, "group": NatsGroupWire}
_NATS_MEMORY: Final[_Wires] = {"direct": NatsMemoryWire, "group": NatsMemoryGroupWire}


class Served(NamedTuple):
    """A peer that runs, in a folder of its own."""

    address: tuple[str, int]
    pid: int
    folder: Path


class Peer(ABC):
    """A server that the loads of `imserver bench` can be put on."""

    def __init__(self, name: str, durability: str, install: str, wires: _Wires) -> None:
        self.name = name
        self.durability = durability  # what has become of a message when it counts
        self.install = install  # the command
        self.wires = wires  # scenario -> how it is spoken to there

    @abstractmethod
    def version(self) -> str | None:
        """What is installed; None if nothing is."""

    @abstractmethod
    def running(self, core: int | None) -> AbstractContextManager[Served]:
        """The server while the context lasts, empty, with all its threads on a core.

        Raises:
            LoadError: it does not start; says why.
        """

    def kept(self, served: Served, users: Sequence[str]) -> int | None:
        """How many messages it holds now; None if it promises to hold none.

        `users` write and read in turn, the first one to the second one, or all in one group.
        """
        return None


class Imserver(Peer):
    """Ours."""

    def __init__(self) -> None:
        super().__init__(OURS, _ON_DISK, "pip install -e .", {"direct": ImWire, "group": ImWire})

    def version(self) -> str | None:
        """See `Peer`."""
        return __version__

    @contextmanager
    def running(self, core: int | None) -> Generator[Served, None, None]:
        """See `Peer`."""
        with OwnServer().running(core) as server:
            assert server.pid is not None
            assert server.database is not None
            yield Served(server.address, server.pid, server.database.parent)

    def kept(self, served: Served, users: Sequence[str]) -> int | None:
        """See `Peer`."""
        return stored.look(served.folder / "imserver.db").newest_seq


class Mosquitto(Peer):
    """The MQTT broker, in C."""

    def __init__(self, qos: int) -> None:
        super().__init__(
            f"mosquitto-qos{qos}",
            "in memory" if qos else _NONE,
            _APT.format("mosquitto"),
            # A direct message whose loss nobody would notice is no message.
            {"direct": MqttQos1Wire, "group": MqttQos1Wire} if qos else {"group": MqttQos0Wire},
        )

    def version(self) -> str | None:
        """See `Peer`."""
        return _debian("mosquitto", "mosquitto")

    @contextmanager
    def running(self, core: int | None) -> Generator[Served, None, None]:
        """See `Peer`."""

        def command(folder: Path, port: int) -> list[str]:
            return [_found("mosquitto"), "-c", str(configured("mosquitto.conf", folder, port=port))]

        with foreground(command, core) as (pid, folder, port):
            yield Served(("127.0.0.1", port), pid, folder)


class _Xmpp(Peer):
    def __init__(self, name: str, durability: str, *packages: str) -> None:
        super().__init__(name, durability, _APT.format(" ".join(packages)), {"direct": XmppWire})
        self._packages = packages

    def kept(self, served: Served, users: Sequence[str]) -> int | None:
        """See `Peer`: each message is in two archives."""
        archives = [ArchiveWire(user, Random(0)) for user in users]
        _open(served.address, archives)
        return min(
            sum(archive.kept for archive in archives[::2]),
            sum(archive.kept for archive in archives[1::2]),
        )


class Prosody(_Xmpp):
    """The XMPP server in Lua, archiving to a file a user ("internal") or to SQLite ("sql")."""

    def __init__(self, name: str, storage: str, durability: str, *packages: str) -> None:
        super().__init__(name, durability, *packages)
        self._storage = storage

    def version(self) -> str | None:
        """See `Peer`."""
        if any(_debian(package, "prosody") is None for package in self._packages):
            return None
        return _debian("prosody", "prosody")

    @contextmanager
    def running(self, core: int | None) -> Generator[Served, None, None]:
        """See `Peer`."""

        def command(folder: Path, port: int) -> list[str]:
            config = configured("prosody.cfg.lua", folder, port=port, storage=self._storage)
            return [_found("prosody"), "-F", "--config", str(config)]

        with foreground(command, core) as (pid, folder, port):
            yield Served(("127.0.0.1", port), pid, folder)


class Ejabberd(_Xmpp):
    """The XMPP server in Erlang, archiving to Mnesia."""

    def __init__(self) -> None:
        super().__init__("ejabberd", "in memory, written in seconds", "ejabberd")

    def version(self) -> str | None:
        """See `Peer`."""
        return _debian("ejabberd", "erl") if self._library() else None

    @contextmanager
    def running(self, core: int | None) -> Generator[Served, None, None]:
        """See `Peer`. Not by `ejabberdctl`, which changes user, and leaves a daemon behind."""

        def command(folder: Path, port: int) -> list[str]:
            configured("ejabberd.yml", folder, port=port)
            database = f'"{folder / "mnesia"}"'
            polling = ("+K", "true")
            return [
                _found("erl"),
                *polling,
                "-noinput",
                "-mnesia",
                "dir",
                database,
                "-s",
                "ejabberd",
            ]

        def environment(folder: Path) -> dict[str, str]:
            return {
                "ERL_LIBS": str(self._library()),
                "ERL_CRASH_DUMP_BYTES": "0",
                "EJABBERD_CONFIG_PATH": str(folder / "ejabberd.yml"),
                "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"),
            }

        with foreground(command, core, environment) as (pid, folder, port):
            yield Served(("127.0.0.1", port), pid, folder)

    def _library(self) -> Path | None:
        """Where Debian keeps it and what it needs."""
        found = Path("/usr/lib").glob("*/ejabberd-*/ebin/ejabberd.beam")
        return next((path.parents[2] for path in found), None)


class Nats(Peer):
    """NATS with JetStream on files, in Go."""

    def __init__(self, name: str, sync: str, durability: str, wires: _Wires) -> None:
        super().__init__(name, durability, _PIP, wires)
        self._sync = sync  # how often it syncs: "2m" is its default, "always"

    def version(self) -> str | None:
        """See `Peer`."""
        path = _find("nats-server")
        if path is None:
            return None
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=True)
        return said.stdout.split()[-1]

    @contextmanager
    def running(self, core: int | None) -> Generator[Served, None, None]:
        """See `Peer`."""

        def command(folder: Path, port: int) -> list[str]:
            config = configured("nats.conf", folder, port=port, sync=self._sync)
            return [_found("nats-server"), "-c", str(config)]

        with foreground(command, core) as (pid, folder, port):
            served = Served(("127.0.0.1", port), pid, folder)
            _open(served.address, [NatsStream("stream", Random(0))])
            yield served

    def kept(self, served: Served, users: Sequence[str]) -> int | None:
        """See `Peer`."""
        stream = NatsStream("stream", Random(0))
        _open(served.address, [stream])
        return stream.kept


class Script(Peer):
    """One of `servers/`, run by this Python."""

    def __init__(
        self,
        name: str,
        script: str,
        durability: str,
        wires: _Wires,
        *needs: str,
    ) -> None:
        super().__init__(name, durability, _PIP, wires)
        self._script = Path(__file__).parent / "servers" / script
        self._needs = needs  # modules

    def version(self) -> str | None:
        """See `Peer`."""
        if any(importlib.util.find_spec(module) is None for module in self._needs):
            return None
        return ", ".join(f"{module} {metadata.version(module)}" for module in self._needs)

    @contextmanager
    def running(self, core: int | None) -> Generator[Served, None, None]:
        """See `Peer`."""

        def command(folder: Path, port: int) -> list[str]:
            database = str(folder / _CHAT_DATABASE)
            return [sys.executable, str(self._script), str(port), database]

        with foreground(command, core) as (pid, folder, port):
            yield Served(("127.0.0.1", port), pid, folder)

    def kept(self, served: Served, users: Sequence[str]) -> int | None:
        """See `Peer`."""
        database = served.folder / _CHAT_DATABASE
        if not database.exists():
            return None
        with closing(sqlite3.connect(database)) as db:
            count: int = db.execute("SELECT count(*) FROM message").fetchone()[0]
            return count


PEERS: Final[dict[str, Peer]] = {
    peer.name: peer
    for peer in (
        Imserver(),
        Mosquitto(qos=1),
        Mosquitto(qos=0),
        Nats("nats-lazy", "2m", _WRITTEN_FIRST, _NATS),
        Nats("nats-lazy-memory", "2m", _WRITTEN_FIRST, _NATS_MEMORY),
        Nats("nats-always", "always", _ON_DISK, _NATS),
        Nats("nats-always-memory", "always", _ON_DISK, _NATS_MEMORY),
        Prosody("prosody-files", "internal", "written", "prosody"),
        Prosody("prosody-sqlite", "sql", _ON_DISK, "prosody", "lua-dbi-sqlite3"),
        Ejabberd(),
        Script(
            "uvicorn-chat",
            "chat.py",
            _ON_DISK,
            {"direct": ImWire, "group": ImWire},
            *("uvicorn", "uvloop", "httptools", "websockets"),
        ),
        Script("websockets-echo", "echo.py", _NONE, {"direct": EchoWire}, "websockets"),
    )
}


def _open(address: tuple[str, int], wires: Sequence[Wire]) -> None:
    """Speak the opening of each wire, and hang up."""
    loop = Loop(lambda _doing, _done: None)
    try:
        loop.open(address, wires)
    finally:
        loop.close()


def _find(program: str) -> str | None:
    """The path of a program, also of one beside this Python."""
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}{_SBIN}"
    return shutil.which(program, path=path)


def _found(program: str) -> str:
    path = _find(program)
    if path is None:
        raise LoadError(f"{program} is not installed")
    return path


def _debian(package: str, program: str) -> str | None:
    """The version of a Debian package, if it and a program of it are there."""
    if shutil.which("dpkg-query") is None or _find(program) is None:
        return None
    said = subprocess.run(
        ["dpkg-query", "--show", "--showformat=${Status} ${Version}", package],
        capture_output=True,
        text=True,
        check=False,
    )
    words = said.stdout.split()
    return words[-1] if words[:3] == ["install", "ok", "installed"] else None

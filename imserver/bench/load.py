"""What a load process is asked to do, and what it says: the vocabulary between the processes."""

from __future__ import annotations

import ssl

from msgspec import Struct

from imserver.bench.wire import Wire


class Load(Struct, frozen=True, kw_only=True):
    """One run of one scenario, which reads the parameters that it knows. Times are seconds."""

    scenario: str
    wire: type[Wire]  # how the server is spoken to
    address: tuple[str, int]
    secure: bool = False  # it speaks TLS
    ca_file: str | None = None  # what to trust it with then; None: what the system trusts
    server: int | None = None  # its process id, where it can be looked at
    tag: str = ""  # in the users' names: on a server that keeps running, each run has its own
    core: int | None = None  # the core for the load
    duration: float  # of the measured part
    warmup: float  # before it
    seed: int
    size: int  # characters of each message's content
    idempotent: bool = False  # each message with a client_msg_id of its own
    pairs: int
    in_flight: int = 0
    members: int  # of the one group, the sender included
    connections: int = 0  # of `rest`
    sessions: int = 0  # of `idle` and `latency`
    rate: float  # messages a second, of `latency`
    backlog: int  # messages, of `sync`
    page: int  # messages a page, of `sync`

    def tls(self) -> ssl.SSLContext | None:
        """How to speak TLS with the server, if it does.

        Raises:
            OSError: `ca_file` cannot be used.
        """
        return ssl.create_default_context(cafile=self.ca_file) if self.secure else None


class Progressed(Struct, frozen=True):
    """How far a run has come."""

    doing: str
    done: float  # 0 to 1


class Measured(Struct, frozen=True):
    """What a run measured, by the names of the scenario's figures."""

    figures: dict[str, float]


class Failure(Struct, frozen=True):
    """Why a run is no measurement."""

    sentence: str

"""Alternating runs: every peer once, then every peer again, each on a fresh server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from msgspec import Struct

from imserver.bench.load_error import LoadError
from imserver.bench.load_process import measure
from imserver.bench.measuring import Field, medians
from imserver.bench.runner import warnings

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from imserver.bench.load import Load
    from tests.bench.compare.peers import Peer, Served


class Case(NamedTuple):
    """A load, and the figure that it is about."""

    name: str
    scenario: str
    in_flight: int
    figure: str
    unit: str


CASES: Final[dict[str, Case]] = {
    case.name: case
    for case in (
        Case("direct-8", "direct", 8, "messages", "messages/s"),
        Case("direct-1", "direct", 1, "messages", "messages/s"),
        Case("group-4", "group", 4, "deliveries", "deliveries/s"),
    )
}


class Result(Struct):
    """What one peer did in one case, so far."""

    case: str
    peer: str
    version: str
    durability: str
    runs: list[dict[str, float]] = []
    failures: list[str] = []

    @property
    def figures(self) -> dict[str, float]:
        """Medians over the runs."""
        return medians(self.runs)

    @property
    def warnings(self) -> list[str]:
        """What is to be said against this result; that the machine was busy concerns all alike."""
        return self.failures + warnings(self.figures | {"other_cpu": 0.0})


def crowded(results: Sequence[Result]) -> list[str]:
    """What is to be said against a case as a whole."""
    return warnings(
        {"other_cpu": max((result.figures.get("other_cpu", 0.0) for result in results), default=0)}
    )


def alternate(
    case: Case,
    peers: Sequence[Peer],
    load: Load,
    *,
    runs: int,
    server_core: int,
) -> Generator[tuple[list[Result], Result], None, None]:
    """Run a case with every peer in turn, `runs` times.

    Gives the results so far after each run, and again the one that has changed.

    `load` lacks its wire and its server only. A run that is no measurement is a failure in the
    peer's result; the others go on.
    """
    results = [
        Result(case.name, peer.name, peer.version() or "", peer.durability) for peer in peers
    ]
    for number in range(runs):
        for peer, result in zip(peers, results, strict=True):
            wired = msgspec.structs.replace(load, wire=peer.wires[case.scenario])
            try:
                with peer.running(server_core) as served:
                    result.runs.append(_measured(case, peer, served, wired))
            except (LoadError, OSError) as error:
                result.failures.append(f"run {number + 1}: {error}")
            yield results, result


def _measured(case: Case, peer: Peer, served: Served, load: Load) -> dict[str, float]:
    load = msgspec.structs.replace(load, address=served.address, server=served.pid)
    figures = measure(load, lambda _progress: None)
    if not figures[case.figure]:
        raise LoadError(f"nothing arrived within {load.duration:g} s")
    kept = peer.kept(served, _users(load))
    if kept is not None:
        if kept < figures["sent"]:
            raise LoadError(f"it was sent {figures['sent']:.0f} messages and kept {kept}")
        figures["kept"] = kept
    return figures


def _users(load: Load) -> list[str]:
    field = Field(load, lambda _doing, _done: None)
    try:
        count = load.members if load.scenario == "group" else 2 * load.pairs
        return [field.user(number) for number in range(count)]
    finally:
        field.loop.close()

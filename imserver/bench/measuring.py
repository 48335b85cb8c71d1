"""The measured part of a run: when it begins and ends, and what the processes used meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import ceil
from random import Random
from statistics import median
from typing import TYPE_CHECKING, Final

from imserver.bench import machine
from imserver.bench.loop import LoadConnection, Loop, clock

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imserver.bench.load import Load

Progressing = Callable[[str, float], None]

_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz     "


class Field:
    """What a scenario works with: its parameters, its loop, its random numbers."""

    def __init__(self, load: Load, progress: Progressing) -> None:
        self.load = load
        self.progress = progress
        self.loop = Loop(progress, load.tls())
        self.random = Random(load.seed)

    def user(self, number: int) -> str:
        """The name of a user."""
        return f"bench{self.load.tag}_{number}"

    def content(self) -> str:
        """A message's content, of the size asked for."""
        return "".join(self.random.choices(_LETTERS, k=self.load.size - 1)) + "."

    def open(self, count: int, sources: Sequence[str] = ()) -> list[LoadConnection]:
        """Sessions of users 0 to `count` - 1."""
        wires = [self.load.wire(self.user(number), self.random) for number in range(count)]
        return self.loop.open(self.load.address, wires, sources)


class Usage:
    """CPU time between two moments: of this process, of the server, of everyone else."""

    def __init__(self, server: int | None) -> None:
        self._server = server
        self._begin = self._now()

    def figures(self, messages: int) -> dict[str, float]:
        """What was used since, in percent of one core, and in microseconds for each message."""
        wall, own, server, machine_wide = (
            after - before for after, before in zip(self._now(), self._begin, strict=True)
        )
        figures = {"client_cpu": 100 * own / wall}
        if self._server is not None:
            figures["server_cpu"] = 100 * server / wall
            figures["server_us"] = 1e6 * server / messages if messages else 0.0
            figures["other_cpu"] = max(0.0, 100 * (machine_wide - own - server) / wall)
        return figures

    def _now(self) -> tuple[float, float, float, float]:
        server = 0.0 if self._server is None else machine.cpu_seconds(self._server)
        return clock(), time.process_time(), server, machine.machine_cpu_seconds()


def percentile(ordered: Sequence[float], part: float) -> float:
    """The smallest value that at least `part` (0 to 1) of an ordered sequence do not exceed."""
    return ordered[max(0, ceil(part * len(ordered)) - 1)]


def latencies(name: str, seconds: list[float], parts: Sequence[float]) -> dict[str, float]:
    """Percentiles in milliseconds: `name_p50`, `name_p99`, `name_p99.9`."""
    if not seconds:
        return {}
    ordered = sorted(seconds)
    return {f"{name}_p{100 * part:g}": 1000 * percentile(ordered, part) for part in parts}


def medians(runs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Each figure's median over the runs that have it."""
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: median(run[name] for run in runs if name in run) for name in names}

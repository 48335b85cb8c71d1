"""Runs a scenario several times, every time against a fresh server."""

from __future__ import annotations

import os
import platform
import secrets
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from imserver.bench import machine, stored
from imserver.bench.load_process import measure
from imserver.bench.measuring import medians
from imserver.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from imserver.bench.load import Load, Progressed
    from imserver.bench.target import BenchTarget

_SATURATED: Final = 90.0  # percent of a core
_CROWDED: Final = 20.0  # percent of a core, used by processes that are not ours
_DISKLESS: Final = ("tmpfs", "ramfs")


class Report(Struct, frozen=True):
    """One scenario, measured."""

    scenario: str
    target: str
    figures: dict[str, float]  # medians over the runs
    runs: list[dict[str, float]]
    asked: dict[str, Any]  # the parameters of the load
    warnings: list[str]


def run(
    target: BenchTarget,
    load: Load,
    *,
    runs: int,
    server_core: int | None,
    progress: Callable[[int, Progressed], None],
) -> Report:
    """Measure one scenario; `load` lacks its server only. Calls `progress` with the run's number.

    Raises:
        LoadError: a run is no measurement.
    """
    results = [
        _run_once(target, load, server_core, partial(progress, number)) for number in range(runs)
    ]
    figures = medians(results)
    asked = {
        name: value
        for name, value in msgspec.structs.asdict(load).items()
        if name not in ("scenario", "wire", "address", "secure", "ca_file", "server", "tag")
    }
    return Report(load.scenario, target.name, figures, results, asked, warnings(figures))


def _run_once(
    target: BenchTarget, load: Load, server_core: int | None, progress: Callable[[Progressed], None]
) -> dict[str, float]:
    with target.running(server_core) as server:
        before = None if server.database is None else stored.look(server.database)
        load = msgspec.structs.replace(
            load,
            address=server.address,
            secure=server.secure,
            server=server.pid,
            tag=secrets.token_hex(4),
        )
        figures = measure(load, progress)
        if server.ready_seconds is not None:
            figures["ready"] = 1000 * server.ready_seconds
        if before is not None:
            assert server.database is not None
            figures |= stored.figures(server.database, before)
        return figures


def warnings(figures: dict[str, float]) -> list[str]:
    """Warnings about the figures of a scenario."""
    found = []
    client = figures.get("client_cpu", 0.0)
    if client > _SATURATED:
        found.append(
            f"the load client used {client:.0f} % of its core: it measured itself, "
            "the server may be faster than this"
        )
    other = figures.get("other_cpu", 0.0)
    if other > _CROWDED:
        found.append(
            f"other processes used {other:.0f} % of a core meanwhile: "
            "repeat this on a quiet machine"
        )
    return found


def environment(data: Path | None) -> dict[str, Any]:
    """Where the measurement was made."""
    folder = Path(tempfile.gettempdir()) if data is None else data
    return {
        "imserver": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        "processor": machine.processor(),
        "cores": os.cpu_count(),
        "filesystem": machine.filesystem(folder),
        "load_average": os.getloadavg()[0],
    }


def disk_warning(environment: dict[str, Any]) -> str | None:
    """A warning about the disk, or None."""
    if environment["filesystem"] in _DISKLESS:
        return (
            f"the database is on {environment['filesystem']}, where nothing is ever on disk: "
            "choose a folder on a real one with --data"
        )
    return None

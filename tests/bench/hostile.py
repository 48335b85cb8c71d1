"""What one hostile user or address costs the others: the law of docs/security.md, measured.

    python -m tests.bench.hostile
    python -m tests.bench.hostile --server ../another-checkout

Each row starts a server of its own, in mode `open` (or `token`, for logins) with `admission.mode`
on, room for 1,100 files, and all other defaults. A user at 127.0.0.2 sends a message every 80 ms,
first alone, then while a process at 127.0.0.1 does what the row says. Printed are the p99 of these
sends without and with it, their ratio, how many were not stored, and by how much the server's
memory grew at most. A row keeps the law if the ratio is at most 5, the p99 is below 250 ms, the
growth below 200 MB, and nothing was left out. Ends with 1 if a row does not.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
from rich.console import Console
from rich.table import Table

from tests.bench.attacks import ROWS, call, connect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.bench.attacks import Address

HONEST: Final = "127.0.0.2"
MOST_RATIO, MOST_MS, MOST_MB = 5.0, 250.0, 200.0
_EVERY: Final = 0.08  # seconds between two sends of the pair


# -- what it costs -------------------------------------------------------------------------------


@contextmanager
def server(checkout: Path, python: str, mode: str) -> Iterator[tuple[Address, int]]:
    """A server of a checkout, with rates on; its address and its process."""
    environment = {name: value for name, value in os.environ.items() if "IMSERVER" not in name}
    environment |= {
        "PYTHONPATH": str(checkout),
        "IMSERVER_ADMISSION_MODE": "on",
        "IMSERVER_AUTH_MODE": mode,
    }
    with tempfile.TemporaryDirectory(prefix="imserver-hostile-") as folder:
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"ulimit -n 1100; exec {python} -P -m imserver --port 0 --data ."],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        try:
            assert process.stdout is not None
            found = None
            while found is None:
                line = process.stdout.readline()
                if not line:
                    raise click.ClickException("the server did not start")
                found = re.search(rb"ready on \w+://([^:]+):(\d+)", line)
            yield (found[1].decode(), int(found[2])), process.pid
        finally:
            process.kill()
            process.wait()


def memory(pid: int, field: str = "VmHWM") -> float:
    """Megabytes of a process, at most so far or (`VmRSS`) now."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


class Pair:
    """Two users at an address of their own, one of whom sends."""

    def __init__(self, address: Address, mode: str) -> None:
        self._address = address
        self._mode = mode

    def measure(self, seconds: float) -> tuple[list[float], int]:
        """The milliseconds that sends took, and how many had no answer."""
        took: list[float] = []
        lost = 0
        end = time.monotonic() + seconds
        sock = connect(self._address, HONEST)
        body: dict[str, Any] = {"receiver_id": "pair2", "content": "hello"}
        request: tuple[Any, ...] = ("POST", "/api/v1/messages", "pair1", body)
        if self._mode == "token":  # what suffers there is logging in
            request = ("GET", "/ready")
        due = time.monotonic()
        number = 0
        while due < end:
            number += 1
            try:
                status, _ = call(sock, *request)
                took.append((time.monotonic() - due) * 1000)
                lost += status != 200
            except OSError:
                took.append((time.monotonic() - due) * 1000)
                lost += 1
                with suppress(OSError):
                    sock.close()
                    sock = connect(self._address, HONEST)
            due = max(due + _EVERY, time.monotonic() - 1)
            time.sleep(max(0.0, due - time.monotonic()))
        sock.close()
        return took, lost


def p99(times: list[float]) -> float:
    return (
        statistics.quantiles(times, n=100, method="inclusive")[98]
        if len(times) > 1
        else float("inf")
    )


def measure(row: str, checkout: Path, python: str, seconds: float) -> dict[str, Any]:
    """Run one row."""
    mode = "token" if row == "guesses" else "open"
    with server(checkout, python, mode) as (address, pid):
        pair = Pair(address, mode)
        pair.measure(1.0)
        quiet, _ = pair.measure(seconds)
        before = memory(pid, "VmRSS")
        attacker = multiprocessing.get_context("fork").Process(
            target=ROWS[row], args=(address, seconds), daemon=True
        )
        attacker.start()
        hostile, lost = pair.measure(seconds)
        attacker.join(seconds)
        attacker.kill()
        attacker.join()
        grown = memory(pid) - before
    ratio = p99(hostile) / p99(quiet)
    kept = ratio <= MOST_RATIO and p99(hostile) < MOST_MS and grown < MOST_MB and not lost
    return {
        "row": row, "quiet_ms": p99(quiet), "hostile_ms": p99(hostile), "worst_ms": max(hostile),
        "ratio": ratio, "unanswered": lost, "grown_mb": grown, "kept": kept,
    }  # fmt: skip


@click.command(help=__doc__.split("\n\n")[0] if __doc__ else "")
@click.option("--server", "checkout", type=click.Path(path_type=Path, exists=True),
              default=Path(__file__).parents[2], help="Whose server is measured.")  # fmt: skip
@click.option("--python", default=sys.executable, help="What it is run with.")
@click.option("--row", "rows", multiple=True, type=click.Choice([*ROWS]), help="Only these rows.")
@click.option("--seconds", default=10.0, help="Of each measurement.")
def main(checkout: Path, python: str, rows: tuple[str, ...], seconds: float) -> None:
    """Measure, print a table, and say whether the law is kept."""
    table = Table("row", "p99 quiet, ms", "p99 hostile, ms", "worst, ms", "ratio", "unanswered",
                  "memory, MB", "law", title=f"{checkout}")  # fmt: skip
    results = []
    for row in rows or ROWS:
        found = measure(row, checkout.resolve(), python, seconds)
        results.append(found)
        click.echo(json.dumps(found))
        table.add_row(
            row,
            *(f"{found[name]:.1f}" for name in ("quiet_ms", "hostile_ms", "worst_ms", "ratio")),
            str(found["unanswered"]),
            f"+{found['grown_mb']:.0f}",
            "kept" if found["kept"] else "BROKEN",
        )
    Console(stderr=True, width=120).print(table)
    sys.exit(0 if all(found["kept"] for found in results) else 1)


if __name__ == "__main__":
    main()

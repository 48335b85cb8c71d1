"""The benches of hardships (tests/bench/crashes, stuck) run, and say what they promise to say."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import trio

from tests.docs.markdown import ROOT
from tests.e2e.process import environment

if TYPE_CHECKING:
    from pathlib import Path


async def bench(*arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code of a bench, and its figures."""
    done = await trio.run_process(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=environment(),
        capture_stdout=True,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


async def test_crashes(tmp_path: Path) -> None:
    code, figures = await bench("tests.bench.crashes", "--cycles", "2", "--data", str(tmp_path))
    assert code == 0
    assert figures["failure"] is None
    assert figures["cycles"] == 2
    assert figures["acknowledged"] > 0


async def test_readers_who_do_not_read() -> None:
    # What it measures on a busy machine is no test; that nobody is left hanging is one.
    sizes = ("--members", "5", "--rounds", "1", "--seconds", "0.2", "--outbox", "65536")
    _, figures = await bench("tests.bench.stuck", *sizes, "--stuck", "5")
    assert figures["one_stuck"]["stuck_to_the_end_of_rounds"] == 1
    many = figures["many_stuck"]
    assert many["closed_4008"] == 5
    assert many["still_held"] == 0
    assert not many["beyond_bound"]

"""`imserver bench` measures, and says what it measured; no test here says how fast."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw
import pytest

from imserver.bench.scenarios.table import SCENARIOS
from tests.e2e.process import loaded_by

if TYPE_CHECKING:
    from collections.abc import Iterator

PATIENCE = 60.0  # seconds
CORES = sorted(os.sched_getaffinity(0))
COMMAND = [sys.executable, "-m", "imserver", "bench"]
SHORT = ["--runs", "1", "--duration", "0.2", "--warmup", "0.1"]
TINY = [
    *SHORT,
    "--pairs", "2", "--in-flight", "2", "--members", "5", "--sessions", "20", "--rate", "100",
    "--connections", "2", "--backlog", "100", "--page", "30",
]  # fmt: skip


def bench(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, timeout=PATIENCE)


def measure(name: str, *arguments: str) -> dict[str, dict[str, Any]]:
    """The reports of scenarios, by their names."""
    done = bench(name, *TINY, *arguments, "--json", "-")
    assert done.returncode == 0, done.stderr.decode()
    return {report["scenario"]: report for report in json.loads(done.stdout)["reports"]}


def ask(folder: Path, sql: str) -> Any:
    with closing(apsw.Connection(str(folder / "imserver.db"))) as db:
        return db.execute(sql).fetchone()[0]


class Everything(NamedTuple):
    """All scenarios, measured one after the other on one database."""

    reports: dict[str, dict[str, Any]]
    folder: Path

    def figures(self, name: str) -> dict[str, float]:
        return self.reports[name]["figures"]


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Everything:
    folder = tmp_path_factory.mktemp("bench")
    return Everything(measure("all", "--data", str(folder)), folder)


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_figure_of_a_scenario_is_reported(everything: Everything, name: str) -> None:
    figures = everything.figures(name)
    assert {figure.name for figure in SCENARIOS[name].figures} <= figures.keys()
    memory = {figure for figure in figures if figure.endswith(("_rss", "_pss"))}  # may shrink
    assert all(figures[figure] >= 0 for figure in figures.keys() - memory)
    medians = [figure for figure in figures if figure.endswith("_p50")]
    assert all(figures[median] <= figures[median.replace("50", "99")] for median in medians)


def test_every_message_that_is_counted_is_stored_and_no_other(everything: Everything) -> None:
    counted = sum(
        everything.figures(name)["sent"] for name in ("direct", "acks", "group", "latency", "rest")
    )
    backlog = everything.figures("sync")["backlog"]
    opening_of_the_group = 1
    stored = ask(everything.folder, "SELECT count(*) FROM message")
    assert stored == counted + backlog + opening_of_the_group
    assert ask(everything.folder, "SELECT count(*) FROM client_message") == 0
    assert ask(everything.folder, "SELECT count(*) FROM message WHERE length(content) = 60") == (
        counted + backlog
    )


def test_a_group_message_counts_once_for_each_other_member(everything: Everything) -> None:
    figures = everything.figures("group")
    # What is under way at the edges of the measured time belongs to no whole message.
    edges = 2 * 2 * (5 - 1) / 0.2
    assert abs(figures["deliveries"] - 4 * figures["messages"]) <= edges
    assert figures["deliveries"] > 0


def test_latency_sends_as_often_as_asked_for_whatever_comes_back(everything: Everything) -> None:
    assert everything.figures("latency")["sent"] == 20 + 10


def test_sync_reads_the_whole_backlog(everything: Everything) -> None:
    report = everything.reports["sync"]
    assert report["figures"]["backlog"] == report["asked"]["backlog"] == 100
    assert report["figures"]["passes"] > 0


def test_idle_holds_as_many_sessions_as_asked_for(everything: Everything) -> None:
    figures = everything.figures("idle")
    assert figures["sessions"] == 20
    assert figures["full_rss"] > figures["session_rss"] / 1e6


@pytest.mark.parametrize("name", ["direct", "rest"])
def test_idempotent_messages_are_all_different(name: str, tmp_path: Path) -> None:
    sent = measure(name, "--idempotent", "--data", str(tmp_path))[name]["figures"]["sent"]
    assert ask(tmp_path, "SELECT count(*) FROM client_message") == sent


def test_figures_are_medians_of_runs_on_fresh_servers(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    cores = ["--server-core", str(CORES[0]), "--client-core", str(CORES[-1])]
    done = bench("direct", *TINY, *cores, "--runs", "3", "--json", str(file))
    (report,) = json.loads(file.read_bytes())["reports"]
    rates = sorted(run["messages"] for run in report["runs"])
    assert len(rates) == 3
    assert report["figures"]["messages"] == rates[1]
    shown = done.stdout.decode()
    assert "median of 3" in shown
    assert f"{rates[1]:,.0f}" in shown


@pytest.fixture
def running_server(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """The URL and the process of a server that nobody but the test has started."""
    command = [sys.executable, "-m", "imserver", "--port", "0", "--data", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = process.stdout.readline().decode()
        yield ready.split("ready on ")[1].split()[0], process.pid
        process.terminate()


def test_a_server_that_runs_already_can_be_measured_again(
    running_server: tuple[str, int],
) -> None:
    url, pid = running_server
    for _ in range(2):
        figures = measure("sync", "--url", url)["sync"]["figures"]
        assert figures["passes"] > 0
        assert "server_us" not in figures
    assert measure("direct", "--url", url, "--server-pid", str(pid))["direct"][
        "figures"
    ].keys() >= {
        "server_us",
        "server_cpu",
    }


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    done = bench("direct", *TINY, "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("imserver: the connection to the server failed: ")


def test_a_refusal_is_one_sentence() -> None:
    done = bench("direct", *TINY, "--size", "70000")
    assert done.returncode == 1
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("imserver: the server refused send_message: ")


def test_on_a_terminal_it_shows_how_far_it_is_and_leaves_nothing_running_when_ended() -> None:
    terminal, theirs = pty.openpty()
    command = [*COMMAND, "direct", "--duration", "60", "--pairs", "2"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        end = time.monotonic() + PATIENCE
        while b"measuring" not in shown:
            assert select.select([terminal], (), (), end - time.monotonic())[0]
            shown += os.read(terminal, 1024)
        assert b"run 1 of 3" in shown
        listed = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        children = [os.pidfd_open(int(child)) for child in listed]
        assert len(children) >= 2  # the server and the load
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 128 + signal.SIGTERM
    os.close(terminal)
    for child in children:
        assert select.select([child], (), (), PATIENCE)[0], "a process of the bench lives on"
        os.close(child)


def test_who_serves_does_not_load_the_bench() -> None:
    assert loaded_by("imserver.cli.program, imserver.cli.serving", "imserver.bench") == []

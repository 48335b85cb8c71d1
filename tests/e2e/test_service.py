"""The server under a service manager: what it says, and the files that come with it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.docs.markdown import ROOT
from tests.e2e.process import PATIENCE, started

if TYPE_CHECKING:
    from pathlib import Path

UNIT = ROOT / "docs" / "imserver.service"


async def test_the_manager_is_told_when_it_is_ready_and_when_it_stops(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(PATIENCE)
        async with started(tmp_path, NOTIFY_SOCKET=path) as server:
            # Whoever was told can connect: that is what ready means.
            said = manager.recv(1000).decode().split("\n")
            assert said == ["READY=1", f"STATUS=serving on {server.url}"]
            with socket.create_connection(server.address):
                pass
            assert await server.terminated() == 0
        assert manager.recv(1000).split(b"\n")[0] == b"STOPPING=1"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_the_unit_is_one_that_systemd_understands(tmp_path: Path) -> None:
    unit = tmp_path / "imserver.service"
    # It is not installed where the unit has it.
    unit.write_text(UNIT.read_text().replace("/opt/imserver/bin/imserver", sys.executable))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert (done.returncode, done.stderr) == (0, "")

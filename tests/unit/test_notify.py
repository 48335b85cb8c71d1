"""What a service manager is told, on a socket such as it listens on."""

from __future__ import annotations

import socket
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from imserver.cli.service_manager import VARIABLE, asking_for_patience, notify

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def manager(address: str) -> Iterator[socket.socket]:
    """A socket that is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.setblocking(False)
        yield sock


def test_in_the_file_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    monkeypatch.setenv(VARIABLE, path)
    with manager(path) as sock:
        assert notify("READY=1", "STATUS=服务中")
        assert sock.recv(1000).decode() == "READY=1\nSTATUS=服务中"
        with pytest.raises(BlockingIOError):
            sock.recv(1000)


def test_among_the_abstract_names(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"imserver-{uuid.uuid4()}"
    monkeypatch.setenv(VARIABLE, f"@{name}")
    with manager(f"\0{name}") as sock:
        assert notify("STOPPING=1")
        assert sock.recv(1000) == b"STOPPING=1"


@pytest.mark.parametrize("value", [None, ""])
def test_nobody_asked(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    assert not notify("READY=1")


def test_a_manager_that_is_gone_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "gone"))
    assert not notify("READY=1")
    assert "READY=1" in caplog.text


def test_a_long_start_asks_for_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(tmp_path / "notify")
    monkeypatch.setenv(VARIABLE, path)
    with manager(path) as sock, asking_for_patience(0.01):
        sock.settimeout(30)
        for _ in range(2):
            assert sock.recv(1000).startswith(b"EXTEND_TIMEOUT_USEC=60000000\n")

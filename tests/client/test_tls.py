"""The client, the chat and the bench over TLS, to a server that no public authority knows."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
import trio

from imserver.client import Unreachable, open_client
from tests.client.support import messages
from tests.e2e.process import run, started
from tests.support import running_server
from tests.support.certificates import Files, certificate_in, trusting

if TYPE_CHECKING:
    import subprocess
    from pathlib import Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A certificate for the server."""
    return certificate_in(tmp_path)


@pytest.mark.parametrize("scheme", ["https", "wss"])
async def test_the_client_talks_to_who_shows_the_right_certificate(
    files: Files, scheme: str
) -> None:
    async with running_server(tls=files.setting) as server:
        url = server.url.replace("https", scheme)
        tls = trusting(files.certificate)
        async with (
            open_client(url, "alice", tls=tls, events=False) as alice,
            open_client(url, "bob", tls=tls) as bob,
        ):
            long = "\u4e2d" * 20_000
            for content in ("hello", long):
                await alice.send(content, to="bob")
            assert await messages(bob, 2) == ["hello", long]
            assert await bob.groups() == []  # over REST


async def test_the_client_tells_nothing_to_who_shows_another(files: Files) -> None:
    async with running_server(tls=files.setting) as server:
        with pytest.raises(Unreachable, match=r"no TLS with the server.*CERTIFICATE_VERIFY_FAILED"):
            async with open_client(server.url, "alice"):
                pass
        connections = server.url.replace("https", "http")
        with pytest.raises(Unreachable):
            async with open_client(connections, "alice"):
                pass


async def test_the_chat_takes_the_certificates_to_trust_from_a_file(tmp_path: Path) -> None:
    assert run(tmp_path, "cert").returncode == 0
    setting = {"IMSERVER_TLS_CERTIFICATE": "data/cert.pem", "IMSERVER_TLS_KEY": "data/key.pem"}

    async def chat(url: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        return await trio.run_process(
            [sys.executable, "-m", "imserver", "chat", "--as", "alice", "--to", "bob",
             "--url", url, *arguments],
            stdin=b"hello bob\n", capture_stdout=True, capture_stderr=True, check=False,
        )  # fmt: skip

    certificate = tmp_path / "data" / "cert.pem"
    async with started(tmp_path, "--port", "0", **setting) as server:
        done = await chat(server.url, "--ca-file", str(certificate))
        assert done.returncode == 0, done.stderr
        async with open_client(server.url, "bob", tls=trusting(certificate)) as bob:
            assert await messages(bob, 1) == ["hello bob"]
        refused = await chat(server.url)
        assert refused.returncode == 1
        assert b"CERTIFICATE_VERIFY_FAILED" in refused.stderr
        for wrong in ("nowhere.pem", str(tmp_path / "data" / "imserver.db")):
            refused = await chat(server.url, "--ca-file", wrong)
            assert refused.returncode == 1
            assert refused.stderr.count(b"\n") == 1


@pytest.mark.parametrize("scenario", ["direct", "group", "rest"])
def test_the_bench_measures_over_tls(tmp_path: Path, scenario: str) -> None:
    assert run(tmp_path, "cert").returncode == 0
    certificate = tmp_path / "data" / "cert.pem"
    config = tmp_path / "tls.toml"
    config.write_text(
        f'[tls]\ncertificate = "{certificate}"\nkey = "{tmp_path / "data" / "key.pem"}"\n'
    )
    tiny = ["--duration", "0.2", "--warmup", "0.1", "--runs", "1", "--pairs", "3", "--members", "5",
            "--connections", "2"]  # fmt: skip
    trust = ["--ca-file", str(certificate)]
    done = run(tmp_path, "bench", scenario, *tiny, "--config", str(config), *trust, "--json", "-")
    assert done.returncode == 0, done.stderr
    [report] = json.loads(done.stdout)["reports"]
    assert report["figures"]["ready"] > 0

"""A real process that speaks TLS: made a certificate by the command, renewed by SIGHUP."""

from __future__ import annotations

import os
import pty
import signal
import socket
from typing import TYPE_CHECKING

import pytest
import trio

from tests.e2e.process import PATIENCE, run, started
from tests.support import login, rest
from tests.support.certificates import trusting
from tests.support.clients import TRUSTED

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = {
    "IMSERVER_TLS_CERTIFICATE": "data/cert.pem",
    "IMSERVER_TLS_KEY": "data/key.pem",
}


def told(manager: socket.socket) -> str:
    return manager.recv(1000).decode().split("\n")[0]


async def test_a_certificate_is_renewed_while_sessions_live_on(tmp_path: Path) -> None:
    certificate, key = tmp_path / "data" / "cert.pem", tmp_path / "data" / "key.pem"
    path = str(tmp_path / "notify")
    assert run(tmp_path, "cert").returncode == 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(PATIENCE)
        async with started(tmp_path, "--port", "0", NOTIFY_SOCKET=path, **SETTINGS) as server:
            assert told(manager) == "READY=1"
            assert server.url.startswith("https://")
            TRUSTED[server.url] = trusting(certificate)
            async with login(server, "alice") as alice, rest(server, "alice") as calls:
                assert (await calls.get("/health"))["status"] == "ok"
                assert run(tmp_path, "cert", "--force").returncode == 0
                server.signal(signal.SIGHUP)
                assert [told(manager), told(manager)] == ["RELOADING=1", "READY=1"]
                # What was open lives on, over both lanes; who trusts the old one alone stays out.
                await alice.call("send_message", {"receiver_id": "bob", "content": "one"})
                assert (await calls.get("/health"))["status"] == "ok"
                with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
                    await handshake(server)
                TRUSTED[server.url] = trusting(certificate)
                async with login(server, "bob") as bob:
                    await alice.call("send_message", {"receiver_id": "bob", "content": "two"})
                    assert (await bob.push())["data"]["content"] == "two"
                # A torn one changes nothing, and is in the log.
                key.write_text("torn")
                server.signal(signal.SIGHUP)
                assert [told(manager), told(manager)] == ["RELOADING=1", "READY=1"]
                async with login(server, "carol"):
                    pass
                await alice.call("heartbeat")
            assert await server.terminated() == 0
    assert "the certificate was read again" in server.log
    assert "the certificate stays as it was" in server.log
    assert "torn" not in server.log


async def handshake(server) -> None:
    stream = await trio.open_ssl_over_tcp_stream(*server.address, ssl_context=TRUSTED[server.url])
    try:
        await stream.do_handshake()
    except trio.BrokenResourceError as error:
        raise error.__cause__ from None
    finally:
        await trio.aclose_forcefully(stream)


async def test_without_tls_sighup_ends_nobody(tmp_path: Path) -> None:
    async with started(tmp_path) as server, login(server, "alice") as alice:
        for _ in range(3):
            server.signal(signal.SIGHUP)
            await alice.call("heartbeat")
        assert await server.terminated() == 0


async def test_a_terminal_that_is_gone_ends_the_server(tmp_path: Path) -> None:
    terminal, ours = pty.openpty()
    async with started(tmp_path, stdin=ours) as server, rest(server, None) as nobody:
        os.close(ours)
        server.signal(signal.SIGHUP)  # the terminal is there
        assert (await nobody.get("/health"))["status"] == "ok"
        os.close(terminal)
        server.signal(signal.SIGHUP)
        assert await server.ended() == 0

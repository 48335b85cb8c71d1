"""By which names the server may be called, on every way in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imserver.config import Auth
from imserver.service.identity.hosts import Hosts
from imserver.service.identity.origins import Origins
from imserver.service.identity.pages import STRANGE_HOST
from tests.support import running_server
from tests.support.tokens import Issuer
from tests.transport.raw import HANDSHAKE, open_raw
from tests.transport.test_unix import GET, open_unix

if TYPE_CHECKING:
    from pathlib import Path

    from imserver import Server

OURS = [
    "localhost",
    "localhost:8080",
    "LocalHost:8080",
    "localhost.:8080",
    "chat.localhost:3000",
    "127.0.0.1",
    "127.0.0.1:8080",
    "127.1.2.3",
    "[::1]",
    "[::1]:8080",
    "localhost:",
]
STRANGE = [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "evil-localhost",
    "localhost:80a",
    "127.0.0.1.evil.example",
    "127.0.0.1.nip.io",
    "192.0.2.1",
    "10.0.0.1:8080",
    "[2001:db8::1]",
    "0.0.0.0:8080",
    "[::]",
    "127.1",
    "2130706433",
    "localhost@evil.example",
    "evil.example@localhost",
    "localhost, evil.example",
    "localhost evil.example",
    "localhost/evil",
    "localhost#",
    "localhost?",
    "[::1",
    "::1",
    "[localhost]",
    ":8080",
    "x",
    "127.0.0.1\\@evil.example",
]


@pytest.mark.parametrize("host", OURS)
def test_this_machines_names_are_always_ours(host: str) -> None:
    assert Hosts([], guarded=True).admits(host)
    assert Hosts(["chat.example"], guarded=True).admits(host)
    assert Hosts(["chat.example"], guarded=False).admits(host)


@pytest.mark.parametrize("host", STRANGE)
def test_other_names_are_not(host: str) -> None:
    assert not Hosts([], guarded=True).admits(host)
    assert not Hosts(["chat.example"], guarded=True).admits(host)
    assert not Hosts(["chat.example"], guarded=False).admits(host)
    assert Hosts(["*"], guarded=True).admits(host)
    assert Hosts([], guarded=False).admits(host)


@pytest.mark.parametrize(
    ("listed", "host"),
    [
        ("chat.example", "chat.example"),
        ("chat.example", "chat.example:8443"),
        ("Chat.Example", "CHAT.example."),
        ("192.0.2.1", "192.0.2.1:8080"),
        ("2001:db8::1", "[2001:db8::1]:8080"),
        ("[2001:DB8::1]", "[2001:db8::1]"),
    ],
)
def test_listed_names_are_ours_at_any_port(listed: str, host: str) -> None:
    hosts = Hosts([listed], guarded=True)
    assert hosts.admits(host)
    assert not hosts.admits("evil.example")
    assert not hosts.admits(f"x{host}")


def test_who_says_no_name_is_no_browser() -> None:
    assert Hosts([], guarded=True).admits(None)
    assert Hosts([], guarded=True).admits("")


def test_pages_of_a_listed_name_are_of_the_servers_own_origin() -> None:
    origins = Origins([], Hosts(["chat.example"], guarded=True), loopback=True)
    assert origins.admits("https://chat.example", "chat.example")
    assert not origins.admits("https://chat.example:8443", "chat.example")
    assert not origins.admits("https://chat.example", "localhost:8080")
    assert not origins.admits("https://evil.example", "chat.example")


async def over_rest(server: Server, host: str, path: str = "/health") -> tuple[int, bytes]:
    async with open_raw(server) as raw:
        await raw.send(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        status, _, body = await raw.answer()
        return status, body


async def over_websocket(server: Server, host: str) -> tuple[int, bytes]:
    async with open_raw(server) as raw:
        await raw.send(HANDSHAKE.replace(b"localhost", host.encode()))
        status, _, body = await raw.answer()
        return status, body


async def over_a_kept_connection(server: Server, host: str) -> tuple[int, bytes]:
    async with open_raw(server) as raw:
        await raw.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await raw.answer())[0] == 200
        await raw.send(HANDSHAKE.replace(b"localhost", host.encode()))
        status, _, body = await raw.answer()
        return status, body


WAYS = [over_rest, over_websocket, over_a_kept_connection]


@pytest.mark.parametrize("ask", WAYS)
async def test_by_default_it_goes_by_this_machines_names_alone(ask) -> None:
    async with running_server() as server:
        for host in ("localhost:8080", "127.0.0.1:8080", "[::1]:8080", "my.localhost"):
            assert (await ask(server, host))[0] in (200, 101), host
        for host in ("evil.example", "evil.example:8080", "192.0.2.1"):
            status, body = await ask(server, host)
            assert status == 403
            assert STRANGE_HOST.encode() in body
            assert b"forbidden" in body


@pytest.mark.parametrize("ask", WAYS)
async def test_a_listed_name_is_taken(ask) -> None:
    async with running_server(hosts=("chat.example",)) as server:
        assert (await ask(server, "chat.example"))[0] in (200, 101)
        assert (await ask(server, "localhost"))[0] in (200, 101)
        assert (await ask(server, "evil.example"))[0] == 403


@pytest.mark.parametrize("ask", WAYS)
async def test_elsewhere_any_name_will_do_until_one_is_listed(ask, tmp_path: Path) -> None:
    anywhere = {"host": "0.0.0.0", "allow_open_network": True}
    proxied = {"host": "0.0.0.0", "auth": Auth("proxy"), "proxies": ("10.0.0.1",)}
    signed = {"auth": Issuer().auth(tmp_path)}
    for settings in (anywhere, proxied, signed):
        async with running_server(**settings) as server:
            # Where who calls is asked, nobody is.
            assert (await ask(server, "chat.example"))[0] in (200, 101, 401)
        async with running_server(**settings, hosts=("chat.example",)) as server:
            assert (await ask(server, "evil.example"))[0] == 403


@pytest.mark.parametrize("ask", WAYS)
async def test_behind_a_proxy_on_this_machine_its_name_is_to_be_listed(ask) -> None:
    """Else a page could come as the proxy does, and name whom it likes."""
    settings = {"auth": Auth("proxy"), "proxies": ("127.0.0.1",)}
    async with running_server(**settings) as server:
        status, body = await ask(server, "evil.example")
        assert status == 403
        assert STRANGE_HOST.encode() in body
    async with running_server(**settings, hosts=("chat.example",)) as server:
        assert (await ask(server, "chat.example"))[0] in (200, 401)
        assert (await ask(server, "evil.example"))[0] == 403


async def test_by_a_unix_socket_any_name_will_do(tmp_path: Path) -> None:
    async with running_server(socket=str(tmp_path / "s"), hosts=("chat.example",)):
        for request, status in ((HANDSHAKE, 101), (GET + b"\r\n", 200)):
            async with open_unix(tmp_path / "s") as raw:
                await raw.send(request.replace(b"localhost", b"whatever"))
                assert (await raw.answer())[0] == status


async def test_nothing_is_told_to_a_strange_name() -> None:
    async with running_server() as server:
        paths = ("/", "/metrics", "/openapi.json", "/api/v1/stats", "/nothing")
        for path in paths:
            assert (await over_rest(server, "evil.example", path))[0] == 403, path

"""How the client reaches a server: what it ignores of its environment, and proxies it is given."""

from __future__ import annotations

import base64
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import h11
import pytest
import trio

from imserver.client import Unreachable, log_in, open_client
from tests.client.support import free_port, messages
from tests.support import running_server
from tests.support.accounts import PASSWORD, token_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

GIVEN = "Basic " + base64.b64encode("us er:pässword".encode()).decode()
CREDENTIALS = "us%20er:p%C3%A4ssword"


class ForwardProxy:
    """An HTTP proxy that notes what it is asked for."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.asked: list[tuple[str, str]] = []  # methods and targets
        self.authorizations: list[str] = []
        self.status = 200

    async def serve(self, client: trio.SocketStream) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += await client.receive_some()
        request = h11.Connection(h11.SERVER)
        request.receive_data(head)
        event = request.next_event()
        assert isinstance(event, h11.Request)
        target = event.target.decode()
        self.asked.append((event.method.decode(), target))
        self.authorizations += [
            value.decode() for name, value in event.headers if name == b"proxy-authorization"
        ]
        if self.status != 200:
            await client.send_all(b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % self.status)
            await client.aclose()
            return
        tunnel = event.method == b"CONNECT"
        port = int(target.removeprefix("http://").split("/")[0].rpartition(":")[2])
        server = await trio.open_tcp_stream("127.0.0.1", port)
        async with server, client, trio.open_nursery() as nursery:
            if tunnel:
                await client.send_all(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                await server.send_all(head)

            async def pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
                try:
                    while data := await source.receive_some():
                        await sink.send_all(data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(pump, client, server)
            nursery.start_soon(pump, server, client)


@asynccontextmanager
async def forward_proxy() -> AsyncIterator[ForwardProxy]:
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    proxy = ForwardProxy(listener.socket.getsockname()[1])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, proxy.serve, [listener])
        yield proxy
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    "value", ["socks5://127.0.0.1:{port}", "http://127.0.0.1:{port}", "rubbish"]
)
async def test_the_environment_names_no_proxy(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    nowhere = value.format(port=free_port())
    for name in ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "WS_PROXY"):
        monkeypatch.setenv(name, nowhere)
        monkeypatch.setenv(name.lower(), nowhere)
    async with token_server("alice") as server:
        issued = await log_in(server.url, "alice", PASSWORD)
        async with open_client(server.url, "alice", token=issued.token) as alice:
            assert (await alice.health()).status == "ok"


async def test_a_proxy_that_is_given_is_used_for_everything() -> None:
    async with running_server() as server, forward_proxy() as proxy:
        url = f"http://{CREDENTIALS}@127.0.0.1:{proxy.port}"
        async with open_client(server.url, "alice", proxy=url) as alice:
            await alice.send("hello", to="alice")
            assert await messages(alice, 0) == []
            assert (await alice.health()).status == "ok"
        place = server.url.removeprefix("http://")
        assert proxy.asked == [("CONNECT", place), ("GET", f"{server.url}/health")]
        assert proxy.authorizations == [GIVEN, GIVEN]
    async with token_server("bob") as server, forward_proxy() as proxy:
        url = f"http://127.0.0.1:{proxy.port}"
        issued = await log_in(server.url, "bob", PASSWORD, proxy=url)
        assert issued.user_id == "bob"
        assert [method for method, _ in proxy.asked] == ["POST"]


async def test_a_proxy_that_refuses_says_so() -> None:
    async with running_server() as server, forward_proxy() as proxy:
        proxy.status = 407
        with pytest.raises(Unreachable, match="the proxy refuses the connection: 407"):
            async with open_client(server.url, "alice", proxy=f"http://127.0.0.1:{proxy.port}"):
                pytest.fail("it opened")


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:1", "127.0.0.1:3128", "http://proxy"])
async def test_what_is_no_proxy_is_refused_at_once(proxy: str) -> None:
    with pytest.raises(ValueError, match="is not the URL of a proxy"):
        async with open_client("http://127.0.0.1:1", "alice", proxy=proxy):
            pytest.fail("it opened")


async def test_without_tls_no_certificates_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_arguments: object, **_keywords: object) -> None:
        pytest.fail("certificates were read")

    monkeypatch.setattr("ssl.create_default_context", read)
    monkeypatch.setattr("ssl.SSLContext.load_verify_locations", read)
    monkeypatch.setattr("ssl.SSLContext.load_default_certs", read)
    async with running_server() as server, open_client(server.url, "alice") as alice:
        assert (await alice.health()).status == "ok"

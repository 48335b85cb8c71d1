"""How a server is reached: its address, the certificates to trust, and the proxy on the way.

One rule for REST and the WebSocket: the environment decides nothing. `HTTP_PROXY` and its
relatives, `.netrc` and the like are not read. A proxy is used if the program names one, and then
for everything.
"""

from __future__ import annotations

import base64
import ssl
from functools import cached_property
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit, urlunsplit

import h11
import httpx
import trio

from imserver.client.client_errors import Unreachable

_READ_BYTES: Final = 4096


class Address(NamedTuple):
    """Where a server is."""

    secure: bool
    host: str
    port: int
    path: str  # of the WebSocket
    rest: str  # where REST is served, without a slash at the end

    @property
    def host_header(self) -> str:
        """Host and port as HTTP wants them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parse_url(url: str) -> Address:
    """Understand `http://host:port`, or `https`, `ws`, `wss`; a path is a prefix.

    Raises:
        ValueError: it is no such URL.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "ws", "wss") or not parts.hostname:
        raise ValueError(f"{url!r} is not a URL like http://127.0.0.1:8080")
    secure = parts.scheme in ("https", "wss")
    prefix = parts.path.rstrip("/").removesuffix("/ws")
    rest = urlunsplit(("https" if secure else "http", parts.netloc, prefix, "", ""))
    port = parts.port or (443 if secure else 80)
    return Address(secure, parts.hostname, port, f"{prefix}/ws", rest)


class _Proxy(NamedTuple):
    host: str
    port: int
    authorization: bytes | None  # the value of Proxy-Authorization

    @staticmethod
    def parse(url: str) -> _Proxy:
        parts = urlsplit(url)
        if parts.scheme != "http" or not parts.hostname or not parts.port:
            raise ValueError(f"{url!r} is not the URL of a proxy like http://proxy:3128")
        authorization = None
        if parts.username is not None:
            given = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = b"Basic " + base64.b64encode(given.encode())
        return _Proxy(parts.hostname, parts.port, authorization)


class Route:
    """The way to one server.

    Args:
        url: where the server is, see `parse_url`.
        tls: for `https` and `wss`; None trusts what the system trusts.
        proxy: `http://host:port` or `http://user:password@host:port`; None goes straight.

    Raises:
        ValueError: `url` or `proxy` cannot be used.
    """

    def __init__(
        self, url: str, tls: ssl.SSLContext | None = None, proxy: str | None = None
    ) -> None:
        self.address = parse_url(url)
        self._given = tls
        self._proxy_url = proxy
        self._proxy = None if proxy is None else _Proxy.parse(proxy)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made once: reading the system's certificates takes some 20 ms."""
        if self._given is not None:
            return self._given
        if self.address.secure:
            return ssl.create_default_context()
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # not used, and trusts nobody

    def http(self, timeout: float) -> httpx.AsyncClient:
        """A client for REST, to be closed by the caller; `timeout` is in seconds."""
        return httpx.AsyncClient(
            base_url=self.address.rest,
            verify=self._tls,
            trust_env=False,
            proxy=self._proxy_url,
            timeout=timeout,
        )

    async def stream(self) -> trio.abc.Stream:
        """A connection to the server, with TLS if its address says so.

        Raises:
            Unreachable: the proxy refuses.
            OSError, trio.BrokenResourceError: there is no connection, or no TLS on it.
        """
        address = self.address
        if self._proxy is None:
            stream = await trio.open_tcp_stream(address.host, address.port)
        else:
            stream = await trio.open_tcp_stream(self._proxy.host, self._proxy.port)
        try:
            if self._proxy is not None:
                await self._ask_proxy(stream, self._proxy)
            if not address.secure:
                return stream
            secure = trio.SSLStream(
                stream, self._tls, server_hostname=address.host, https_compatible=True
            )
            await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return secure

    async def _ask_proxy(self, stream: trio.SocketStream, proxy: _Proxy) -> None:
        """Open a tunnel (RFC 9110 section 9.3.6)."""
        address = self.address
        host = f"[{address.host}]" if ":" in address.host else address.host
        target = f"{host}:{address.port}".encode("ascii")
        headers = [(b"Host", target)]
        if proxy.authorization is not None:
            headers.append((b"Proxy-Authorization", proxy.authorization))
        proxied = h11.Connection(h11.CLIENT)
        request = h11.Request(method=b"CONNECT", target=target, headers=headers)
        for sent in (request, h11.EndOfMessage()):
            await stream.send_all(proxied.send(sent) or b"")
        try:
            while True:
                event = proxied.next_event()
                if event is h11.NEED_DATA:
                    proxied.receive_data(await stream.receive_some(_READ_BYTES))
                elif isinstance(event, h11.Response):
                    break
                elif not isinstance(event, h11.InformationalResponse):
                    raise Unreachable("the proxy closed the connection")
        except h11.RemoteProtocolError:
            raise Unreachable("the proxy does not answer in HTTP") from None
        if not 200 <= event.status_code < 300:
            raise Unreachable(f"the proxy refuses the connection: {event.status_code}")

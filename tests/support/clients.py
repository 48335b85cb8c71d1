"""Clients that share no code with the server: trio-websocket for frames, httpx for REST."""

from __future__ import annotations

import json
from collections import deque
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import trio
from trio_websocket import open_websocket_url

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator

    from trio_websocket import WebSocketConnection

    from imserver import Server

PUSHES = ("new_message", "new_group_message", "message_status", "invitation")
http2 = False  # whether REST offers it, to servers that speak TLS
TRUSTED: dict[str, ssl.SSLContext] = {}  # what to trust a server with, by its URL
PATIENCE = 10.0  # seconds of real time before a test gives up on an answer


class Refused(Exception):
    """An operation was refused; carries the code of the catalogue, and the whole answer."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(answer)
        self.code = answer["code"]
        self.answer = answer


class Socket:
    """One WebSocket: requests matched with their answers, pushes kept in order."""

    def __init__(self, connection: WebSocketConnection) -> None:
        self.connection = connection
        self._pushes: deque[dict[str, Any]] = deque()

    async def send(self, kind: str, data: Any = None, **envelope: Any) -> None:
        """Send one frame as the document prints it."""
        frame = {"type": kind, "data": {} if data is None else data, "timestamp": 1640995200000}
        await self.connection.send_message(json.dumps(frame | envelope, ensure_ascii=False))

    async def receive(self) -> dict[str, Any]:
        """The next frame, whatever it is."""
        with trio.fail_after(PATIENCE):
            return json.loads(await self.connection.get_message())

    async def ask(self, kind: str, data: Any = None, **envelope: Any) -> dict[str, Any]:
        """Send a request and return the whole frame that answers it; pushes are kept."""
        await self.send(kind, data, **envelope)
        while True:
            frame = await self.receive()
            if frame["type"] in PUSHES:
                self._pushes.append(frame)
                continue
            return frame

    async def call(self, kind: str, data: Any = None) -> dict[str, Any]:
        """The payload of the answer.

        Raises:
            Refused: the server refused.
        """
        frame = await self.ask(kind, data)
        answer = frame["data"]
        if frame["type"] == "error" or "code" in answer:
            raise Refused(answer)
        return answer

    async def push(self) -> dict[str, Any]:
        """The next push, as a whole frame."""
        return self._pushes.popleft() if self._pushes else await self.receive()

    async def no_push(self) -> None:
        """Make sure that nothing was pushed: a heartbeat's answer would come after it."""
        await self.call("heartbeat")
        assert not self._pushes, list(self._pushes)


@asynccontextmanager
async def connect(server: Server, headers: dict[str, str] | None = None) -> AsyncIterator[Socket]:
    """A WebSocket on which nobody is logged in; `headers` stand on its handshake."""
    url = server.url.replace("http", "ws", 1) + "/ws"
    extra = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    async with open_websocket_url(
        url, extra_headers=extra, ssl_context=TRUSTED.get(server.url)
    ) as connection:
        stream = connection._stream
        try:
            yield Socket(connection)
        finally:
            if connection.closed is not None:
                # Where the server closed first, trio-websocket leaves its own end open.
                await stream.aclose()


@asynccontextmanager
async def login(server: Server, user_id: str, token: str = "auth_token") -> AsyncIterator[Socket]:
    """A WebSocket that is `user_id`'s."""
    async with connect(server) as socket:
        await socket.call("login", {"user_id": user_id, "token": token, "platform": "web"})
        yield socket


class Rest:
    """REST calls as one user."""

    def __init__(
        self, http: httpx.AsyncClient, user_id: str | None, token: str | None = None
    ) -> None:
        self.http = http
        # httpx would take a str for Latin-1 or ASCII; ids travel as UTF-8.
        self._headers = {} if user_id is None else {b"X-User-ID": user_id.encode()}
        if token is not None:
            self._headers[b"Authorization"] = b"Bearer " + token.encode()

    async def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One call, whatever its status."""
        headers = dict(self._headers)
        for name, value in options.pop("headers", {}).items():
            headers[name.encode()] = value.encode()
        return await self.http.request(method, path, headers=headers, **options)

    async def _call(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        response = await self.request(method, path, **options)
        answer = response.json()
        if response.status_code != 200:
            raise Refused(answer)
        return answer

    async def get(self, path: str, **params: Any) -> dict[str, Any]:
        """The answer to a GET.

        Raises:
            Refused: the server refused.
        """
        return await self._call("GET", path, params=params)

    async def ask(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        """The answer to any other method.

        Raises:
            Refused: the server refused.
        """
        return await self._call(method, path, json=body)

    async def post(self, path: str, body: Any = None, **options: Any) -> dict[str, Any]:
        """The answer to a POST.

        Raises:
            Refused: the server refused.
        """
        return await self._call("POST", path, json=body, **options)


def http_client(server: Server) -> httpx.AsyncClient:
    """An HTTP client of the server's; it trusts the server's certificate, if there is one.

    Without TLS it loads no CA bundle: that takes 20 ms of every test.
    """
    verify = TRUSTED.get(server.url, server.url.startswith("https:"))
    return httpx.AsyncClient(base_url=server.url, timeout=PATIENCE, verify=verify, http2=http2)


@asynccontextmanager
async def rest(
    server: Server, user_id: str | None, token: str | None = None
) -> AsyncIterator[Rest]:
    """REST calls as `user_id`, or as nobody; with a token, if there is one."""
    async with http_client(server) as http:
        yield Rest(http, user_id, token)


def unix_client(path: Path) -> httpx.AsyncClient:
    """An HTTP client of the server at a Unix socket."""
    transport = httpx.AsyncHTTPTransport(uds=str(path), verify=False)
    return httpx.AsyncClient(transport=transport, base_url="http://imserver", timeout=PATIENCE)


@asynccontextmanager
async def operator(server: Server) -> AsyncIterator[Rest]:
    """REST calls of the operator's, by the control socket."""
    async with unix_client(Path(server.database).parent / "control.sock") as http:
        yield Rest(http, None)

"""Routes outside the operations table: bodies that stream both ways, and the rules before them."""

from __future__ import annotations

import hashlib
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
import trio

from imserver import building
from imserver.config import Admission, Timeouts
from imserver.domain.errors import ApiError, Code
from imserver.service.engine import Who
from imserver.transport.routes import Answer, RawCall, RawRoute
from tests.support import rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import Raw, open_raw

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server

BIG = 3_000_000


class Store:
    """Some routes, and what became of what they were sent."""

    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.broke_off = trio.Event()
        self.taken = 0
        self.closed = trio.Event()
        self.go_on = trio.Event()
        self.go_on.set()

    def routes(self) -> list[RawRoute]:
        return [
            RawRoute("PUT", "/up/{name}", self.upload, request_headers=("Upload-Offset",)),
            RawRoute("POST", "/small", self.upload, most_bytes=10),
            RawRoute("POST", "/unread", self.unread, who=Who.ANYONE),
            RawRoute("GET", "/down/{size}", self.download, who=Who.ANYONE),
            RawRoute("GET", "/chunks/{rest*}", self.chunks, who=Who.ANYONE),
            RawRoute("GET", "/refused", self.refused, who=Who.ANYONE),
            RawRoute("GET", "/broken", self.broken, who=Who.ANYONE),
        ]

    async def upload(self, call: RawCall) -> Answer:
        digest = hashlib.sha256()
        try:
            async for piece in call.body:
                await self.go_on.wait()
                digest.update(piece)
                self.taken += len(piece)
                self.pieces.append(len(piece))
        except trio.BrokenResourceError:
            self.broke_off.set()
            raise
        name = call.path.get("name", "")
        body = f"{call.caller.user_id} {name} {digest.hexdigest()}".encode()
        return Answer(201, body, (("Content-Type", "text/plain"), ("Location", "/x")))

    async def unread(self, call: RawCall) -> Answer:
        return Answer(204)

    async def download(self, call: RawCall) -> Answer:
        size = int(call.path["size"])
        return Answer(200, self._bytes(size), (("Cache-Control", "private"),), length=size)

    async def _bytes(self, size: int) -> AsyncIterator[bytes]:
        try:
            while size:
                piece = b"x" * min(size, 50_000)
                size -= len(piece)
                self.taken += len(piece)
                yield piece
        finally:
            self.closed.set()

    async def chunks(self, call: RawCall) -> Answer:
        return Answer(200, self._bytes(len(call.path["rest"])))

    async def refused(self, call: RawCall) -> Answer:
        raise ApiError(Code.CONFLICT, "not like this")

    async def broken(self, call: RawCall) -> Answer:
        raise ZeroDivisionError


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Store:
    """Its routes are those of every server of the test."""
    store = Store()
    given = building.self_description
    monkeypatch.setattr(
        building, "self_description", lambda *args: [*given(*args), *store.routes()]
    )
    return store


@asynccontextmanager
async def asking(server: Server, head: str, *headers: str) -> AsyncIterator[Raw]:
    async with open_raw(server) as raw:
        lines = [f"{head} HTTP/1.1", "Host: localhost", "X-User-ID: alice", *headers, "", ""]
        await raw.send("\r\n".join(lines).encode())
        yield raw


async def test_a_large_body_comes_in_pieces_and_its_connection_goes_on(store: Store) -> None:
    body = bytes(range(256)) * (BIG // 256)
    async with running_server() as server, rest(server, "alice") as alice:
        for _ in range(2):
            answer = await alice.request("PUT", "/up/a%2Fb%20c", content=body)
            assert answer.status_code == 201
            assert answer.text == f"alice a/b c {hashlib.sha256(body).hexdigest()}"
            assert answer.headers["location"] == "/x"
            assert answer.headers["content-type"] == "text/plain"
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["x-request-id"]
    assert max(store.pieces) <= 96 * 1024


async def test_what_is_not_read_is_not_taken_from_the_client(store: Store) -> None:
    store.go_on = trio.Event()
    async with (
        running_server() as server,
        asking(server, "PUT /up/x", "Transfer-Encoding: chunked") as raw,
    ):
        sent = 0
        with trio.move_on_after(0.5):
            while sent < 1 << 28:
                await raw.stream.send_all(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                sent += 65536
        assert sent < 1 << 27  # the kernels' buffers, and a little
        assert store.taken == 0
        raw.reset()
        store.go_on.set()
        with trio.fail_after(PATIENCE):
            await store.broke_off.wait()


async def test_a_body_that_breaks_off_is_told_to_the_route(store: Store) -> None:
    async with (
        running_server() as server,
        asking(server, "PUT /up/x", "Content-Length: 1000") as raw,
    ):
        await raw.send(b"x" * 10)
        await raw.send_eof()
        with trio.fail_after(PATIENCE):
            await store.broke_off.wait()
    assert store.taken == 10


async def test_a_body_that_stalls_is_refused(store: Store) -> None:
    async with (
        running_server(timeouts=Timeouts(request_body=0.3)) as server,
        asking(server, "PUT /up/x", "Content-Length: 1000") as raw,
    ):
        await raw.send(b"x" * 10)
        status, headers, _ = await raw.answer()
        assert (status, headers[b"connection"]) == (408, b"close")
        await raw.end()


@pytest.mark.parametrize("headers", [("Content-Length: 11",), ("Transfer-Encoding: chunked",)])
async def test_a_body_beyond_the_routes_limit_is_refused(
    store: Store, headers: tuple[str, ...]
) -> None:
    async with running_server() as server, asking(server, "POST /small", *headers) as raw:
        await raw.send(b"b\r\n" + b"x" * 11 + b"\r\n0\r\n\r\n")
        assert (await raw.answer())[0] == 413


async def test_leave_to_send_is_given_when_the_route_reads(store: Store) -> None:
    expecting = ("Expect: 100-continue", "Content-Length: 3")
    async with running_server() as server:
        async with asking(server, "PUT /up/x", *expecting) as raw:
            assert (await raw.head()).startswith(b"HTTP/1.1 100 ")
            await raw.send(b"abc")
            assert (await raw.answer())[0] == 201
        async with asking(server, "POST /unread", *expecting) as raw:
            status, headers, _ = await raw.answer()
            assert (status, headers[b"connection"]) == (204, b"close")
            assert b"content-length" not in headers
            await raw.end()


async def test_a_body_that_the_route_leaves_is_skipped(store: Store) -> None:
    async with (
        running_server() as server,
        asking(server, "POST /unread", "Content-Length: 6") as raw,
    ):
        assert (await raw.answer())[0] == 204
        await raw.send(b"unread" + b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert (await raw.answer())[0] == 200


async def test_a_download_says_its_length_and_stops_when_the_client_does(store: Store) -> None:
    async with running_server() as server, rest(server, None) as nobody:
        answer = await nobody.request("GET", f"/down/{BIG}")
        assert len(answer.content) == BIG
        assert answer.headers["content-length"] == str(BIG)
        assert answer.headers.get_list("cache-control") == ["private"]
        head = await nobody.request("HEAD", f"/down/{BIG}")
        assert (head.headers["content-length"], head.content) == (str(BIG), b"")
        store.closed = trio.Event()
        store.taken = 0
        async with asking(server, f"GET /down/{1 << 30}") as raw:
            await raw.head()
            raw.reset()
        with trio.fail_after(PATIENCE):
            await store.closed.wait()
        assert store.taken < 1 << 28


async def test_an_answer_of_unknown_length_comes_in_chunks(store: Store) -> None:
    async with running_server() as server, rest(server, None) as nobody:
        answer = await nobody.request("GET", "/chunks/a/b%2Fc")
        assert answer.text == "xxxxx"
        assert answer.headers["transfer-encoding"] == "chunked"
        async with open_raw(server) as raw:
            await raw.send(b"GET /chunks/ab HTTP/1.0\r\n\r\n")
            head = await raw.head()
            assert b"chunked" not in head
            assert await raw._exactly(2) == b"xx"
            await raw.end()


async def test_the_rules_come_before_the_route(store: Store) -> None:
    admission = Admission(mode="on", requests_per_second=0.001, requests_burst=1)
    async with running_server(admission=admission) as server:
        async with rest(server, None) as nobody:
            answer = await nobody.request("PUT", "/up/x", content=b"x")
            assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        async with rest(server, "alice") as alice:
            strange = {"Origin": "https://evil.example"}
            assert (await alice.request("PUT", "/up/x", headers=strange)).status_code == 403
            assert (await alice.request("PUT", "/up/x")).status_code == 201
            assert (await alice.request("PUT", "/up/x")).status_code == 429
            wrong = await alice.request("DELETE", "/up/x")
            assert (wrong.status_code, wrong.headers["allow"]) == (405, "PUT")
            assert (await alice.request("PUT", "/up/")).status_code == 404


async def test_pages_learn_which_headers_a_route_takes(store: Store) -> None:
    async with running_server() as server, rest(server, None) as nobody:
        answer = await nobody.request("OPTIONS", "/up/x", headers={"Origin": "http://localhost:1"})
        assert answer.status_code == 204
        assert "Upload-Offset" in answer.headers["access-control-allow-headers"]
        assert answer.headers["access-control-allow-methods"] == "PUT"


@pytest.mark.expects_error_log
async def test_what_a_route_raises_is_answered(store: Store) -> None:
    async with running_server() as server, rest(server, None) as nobody:
        logging.getLogger("imserver").setLevel(logging.INFO)
        refused = await nobody.request("GET", "/refused")
        assert refused.status_code == 409
        assert refused.json() == {"error": "not like this", "code": "conflict"}
        assert (await nobody.request("GET", "/broken")).status_code == 500
        assert (await nobody.request("GET", "/health")).status_code == 200

"""HTTP/2 for REST: the same answers, and nobody who breaks it harms anybody else."""

from __future__ import annotations

import json
import logging
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import h2.config
import h2.connection
import h2.events
import pytest
import trio
from h2.errors import ErrorCodes
from h2.settings import SettingCodes
from trio.testing import wait_all_tasks_blocked

from imserver.config import Limits, Timeouts
from imserver.transport import http2_lane
from tests.contract import test_operations
from tests.contract.api import REST
from tests.support import clients, login, rest, running_server, servers
from tests.support.certificates import certificate_in
from tests.support.clients import PATIENCE, TRUSTED
from tests.support.tokens import Issuer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from imserver import Server

GET = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/health")]
OFFLINE = [*GET[:3], (":path", "/api/v1/messages/offline"), ("x-user-id", "bob")]
POST = [(":method", "POST"), *GET[1:3], (":path", "/api/v1/messages"), ("x-user-id", "alice")]


@pytest.fixture(autouse=True)
def over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every server of these tests speaks TLS, and REST clients offer HTTP/2."""
    monkeypatch.setattr(servers, "everywhere", certificate_in(tmp_path))
    monkeypatch.setattr(clients, "http2", True)


class Http2:
    """A client of which every frame is seen."""

    def __init__(self, stream: trio.SSLStream) -> None:
        self.stream = stream
        self.codec = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
        self.codec.initiate_connection()

    async def flush(self) -> None:
        with trio.fail_after(PATIENCE):
            await self.stream.send_all(self.codec.data_to_send())

    async def ask(self, headers: list[tuple[str, str]], *, end: bool = True) -> int:
        """Begin a request; its stream."""
        number = self.codec.get_next_available_stream_id()
        self.codec.send_headers(number, headers, end_stream=end)
        await self.flush()
        return number

    async def until(self, wanted: Callable[[h2.events.Event], bool]) -> list[h2.events.Event]:
        """What comes, up to an event that is wanted."""
        seen: list[h2.events.Event] = []
        with trio.fail_after(PATIENCE):
            while True:
                data = await self.stream.receive_some(1 << 16)
                if not data:
                    raise EOFError
                seen += self.codec.receive_data(data)
                for event in seen:
                    if isinstance(event, h2.events.DataReceived):
                        self.codec.acknowledge_received_data(
                            event.flow_controlled_length, event.stream_id
                        )
                        event.flow_controlled_length = 0
                await self.flush()
                if any(map(wanted, seen)):
                    return seen

    async def answer(self, number: int) -> tuple[str, bytes]:
        """The status and body of an answer."""

        def ended(event: h2.events.Event) -> bool:
            return isinstance(event, h2.events.StreamEnded) and event.stream_id == number

        seen = [each for each in await self.until(ended) if getattr(each, "stream_id", 0) == number]
        [head] = [each for each in seen if isinstance(each, h2.events.ResponseReceived)]
        data = [each.data for each in seen if isinstance(each, h2.events.DataReceived)]
        return dict(head.headers)[":status"], b"".join(data)

    async def reset(self, number: int) -> ErrorCodes:
        """Why a request was reset."""
        seen = await self.until(
            lambda event: isinstance(event, h2.events.StreamReset) and event.stream_id == number
        )
        return next(each.error_code for each in seen if isinstance(each, h2.events.StreamReset))

    async def ended(self) -> list[h2.events.Event]:
        """What comes before the end of the connection."""
        seen: list[h2.events.Event] = []
        with trio.fail_after(PATIENCE):
            try:
                while data := await self.stream.receive_some(1 << 16):
                    seen += self.codec.receive_data(data)
            except trio.BrokenResourceError:
                pass
        return seen


@asynccontextmanager
async def connected(server: Server, *, window: int | None = None) -> AsyncIterator[Http2]:
    """A connection that has agreed on HTTP/2; `window` is what an answer may take of it."""
    context = TRUSTED[server.url]
    context.set_alpn_protocols(["h2"])
    sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    await sock.connect(server.address)
    stream = trio.SSLStream(
        trio.SocketStream(sock), context, server_hostname="localhost", https_compatible=True
    )
    async with stream:
        client = Http2(stream)
        if window is not None:
            client.codec.update_settings({SettingCodes.INITIAL_WINDOW_SIZE: window})
        await client.flush()
        yield client


@pytest.mark.parametrize(
    "name",
    [name for name in test_operations.SCENARIOS if REST in test_operations.transports_of(name)],
)
async def test_every_operation_works_over_it(name: str) -> None:
    await test_operations.test_scenario(name, REST)


async def test_it_is_spoken_with_who_offers_it_and_with_nobody_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with running_server() as server:
        async with rest(server, None) as nobody:
            response = await nobody.request("GET", "/health")
            assert response.http_version == "HTTP/2"
            assert response.headers["x-request-id"]
            refused = await nobody.request("GET", "/api/v1/groups")
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        monkeypatch.setattr(clients, "http2", False)
        async with rest(server, None) as nobody:
            assert (await nobody.request("GET", "/health")).http_version == "HTTP/1.1"
        async with login(server, "alice") as alice:
            await alice.call("heartbeat")


async def test_the_client_is_told_the_bounds_and_offered_no_websocket() -> None:
    async with (
        running_server(limits=Limits(header_bytes=5000)) as server,
        connected(server) as client,
    ):
        number = await client.ask(GET)
        await client.answer(number)
        told = client.codec.remote_settings
        assert told[SettingCodes.MAX_CONCURRENT_STREAMS] == 32
        assert told[SettingCodes.MAX_HEADER_LIST_SIZE] == 5000
        assert not told.enable_connect_protocol


async def test_many_requests_at_once_get_each_their_own_answer() -> None:
    async with running_server() as server, connected(server) as client:
        numbers = {}
        for count in range(30):
            body = json.dumps({"receiver_id": "bob", "content": f"m{count}"}).encode()
            number = await client.ask(POST, end=False)
            client.codec.send_data(number, body, end_stream=True)
            numbers[number] = count
        await client.flush()
        contents, ended = {number: b"" for number in numbers}, set()
        with trio.fail_after(PATIENCE):
            while len(ended) < len(numbers):
                for event in client.codec.receive_data(await client.stream.receive_some(1 << 16)):
                    if isinstance(event, h2.events.DataReceived):
                        contents[event.stream_id] += event.data
                    elif isinstance(event, h2.events.StreamEnded):
                        ended.add(event.stream_id)
        for number, count in numbers.items():
            assert json.loads(contents[number])["message"]["content"] == f"m{count}"


async def test_large_answers_go_through_small_windows() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        for _ in range(10):
            sent = {"receiver_id": "bob", "content": "x" * 60_000}
            await alice.post("/api/v1/messages", sent)
        async with connected(server, window=1000) as client:
            status, body = await client.answer(await client.ask(OFFLINE))
        assert status == "200"
        assert len(json.loads(body)["messages"]) >= 8


async def test_who_does_not_take_an_answer_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http2_lane, "STALL", 0.2)
    async with running_server() as server, connected(server, window=0) as client:
        await client.ask(GET)
        await client.ended()
        async with rest(server, None) as nobody:
            assert (await nobody.request("GET", "/health")).status_code == 200


async def test_a_body_that_nobody_reads_holds_up_nobody() -> None:
    size = 300_000  # more than the window of the whole connection
    async with (
        running_server(limits=Limits(body_bytes=2048)) as server,
        connected(server) as client,
    ):
        number = await client.ask([*POST, ("content-length", str(size))], end=False)
        left, seen = size, []
        with trio.fail_after(PATIENCE):
            while left:
                room = min(client.codec.local_flow_control_window(number), left, 1000)
                if room:
                    left -= room
                    client.codec.send_data(number, b"x" * room, end_stream=not left)
                    await client.flush()
                else:
                    seen += client.codec.receive_data(await client.stream.receive_some(1 << 16))
        [head] = [each for each in seen if isinstance(each, h2.events.ResponseReceived)]
        assert dict(head.headers)[":status"] == "413"
        assert (await client.answer(await client.ask(GET)))[0] == "200"


@pytest.mark.parametrize(
    ("headers", "why"),
    [
        ([(":method", "CONNECT"), (":authority", "localhost")], ErrorCodes.HTTP_1_1_REQUIRED),
        ([*GET[:3], (":path", "health")], ErrorCodes.PROTOCOL_ERROR),
        ([*GET[:3], (":path", "/\u4e2d")], ErrorCodes.PROTOCOL_ERROR),
    ],
)
async def test_what_is_no_request_of_ours_is_reset_alone(
    headers: list[tuple[str, str]], why: ErrorCodes
) -> None:
    async with running_server() as server, connected(server) as client:
        client.codec.config.validate_outbound_headers = False
        assert await client.reset(await client.ask(headers)) is why
        assert (await client.answer(await client.ask(GET)))[0] == "200"


async def test_who_gives_up_on_request_after_request_is_let_go() -> None:
    async with running_server() as server:
        async with connected(server) as client:
            seen: list[h2.events.Event] = []
            try:
                for _ in range(300):
                    number = client.codec.get_next_available_stream_id()
                    client.codec.send_headers(number, POST)
                    client.codec.reset_stream(number)
                    await client.flush()
            except trio.BrokenResourceError:
                pass
            seen = await client.ended()
        goodbyes = [each for each in seen if isinstance(each, h2.events.ConnectionTerminated)]
        assert [each.error_code for each in goodbyes] == [ErrorCodes.ENHANCE_YOUR_CALM]
        async with rest(server, None) as nobody:
            assert (await nobody.request("GET", "/health")).status_code == 200


async def test_giving_up_now_and_then_is_no_offence() -> None:
    async with running_server() as server, connected(server) as client:
        for _ in range(150):
            number = client.codec.get_next_available_stream_id()
            client.codec.send_headers(number, POST)
            client.codec.reset_stream(number)
            assert (await client.answer(await client.ask(GET)))[0] == "200"


async def test_a_head_that_is_too_large_ends_the_connection_alone() -> None:
    async with running_server(limits=Limits(header_bytes=4000)) as server:
        async with connected(server) as client:
            await client.ask([*GET, ("x-much", "y" * 8000)])
            await client.ended()
        async with rest(server, None) as nobody:
            assert (await nobody.request("GET", "/health")).status_code == 200


@pytest.mark.parametrize(
    "said",
    [
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0" + b"\0\0\x01\0\0\0\0\0\x01x",
        # Priorities: one that depends on itself, and many of requests that never come.
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
        + b"\0\0\x05\x02\0\0\0\0\x03\0\0\0\x03\xff",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\x04\0\0\0\0\0"
        + b"".join(
            b"\0\0\x05\x02\0" + (2 * number + 1).to_bytes(4, "big") + b"\0\0\0\0\x10"
            for number in range(1500)
        ),
    ],
)  # fmt: skip
async def test_broken_frames_harm_nobody_and_are_no_error_of_ours(said: bytes) -> None:
    async with running_server() as server:
        async with connected(server) as client:
            client.codec.data_to_send()
        context = TRUSTED[server.url]
        stream = await trio.open_ssl_over_tcp_stream(
            *server.address, ssl_context=context, https_compatible=True
        )
        async with stream:
            await stream.send_all(said)
            with trio.move_on_after(0.2):  # some of it is only odd
                while await stream.receive_some():
                    pass
        async with rest(server, None) as nobody:
            assert (await nobody.request("GET", "/health")).status_code == 200


async def test_a_stop_lets_idle_connections_go_and_answers_those_at_work() -> None:
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            finished = trio.Event()

            async def work(server: Server, *, task_status: trio.TaskStatus) -> None:
                async with connected(server) as idle, connected(server) as busy:
                    assert (await idle.answer(await idle.ask(GET)))[0] == "200"
                    number = await busy.ask(POST, end=False)
                    await wait_all_tasks_blocked()
                    task_status.started()
                    goodbye = (await idle.ended())[-1]
                    assert isinstance(goodbye, h2.events.ConnectionTerminated)
                    assert goodbye.error_code is ErrorCodes.NO_ERROR
                    body = json.dumps({"receiver_id": "bob", "content": "late"}).encode()
                    busy.codec.send_data(number, body, end_stream=True)
                    await busy.flush()
                    status, _ = await busy.answer(number)
                    assert status in ("200", "503")  # the store has closed meanwhile
                    await busy.ended()
                    finished.set()

            async with running_server(timeouts=Timeouts(shutdown=3600)) as server:
                await nursery.start(work, server)
            await finished.wait()


async def test_no_header_is_ever_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with running_server() as server, rest(server, "alice") as alice:
        headers = {"Authorization": "Bearer SECRET"}
        assert (await alice.request("GET", "/health", headers=headers)).status_code == 200
    ours = [each for each in caplog.records if not each.name.startswith(("httpcore", "httpx"))]
    assert "SECRET" not in "".join(each.getMessage() for each in ours)


async def test_the_name_that_counts_is_the_authority() -> None:
    async with running_server() as server, connected(server) as client:
        for authority, status in (("localhost:8443", "200"), ("evil.example", "403")):
            number = await client.ask([*GET[:2], (":authority", authority), GET[3]])
            assert (await client.answer(number))[0] == status
        # Host may be said too, and has to agree (RFC 9113 section 8.3.1).
        client.codec.config.validate_outbound_headers = False
        evil = [*GET[:2], (":authority", "evil.example"), GET[3], ("host", "localhost")]
        number = await client.ask(evil)
        with pytest.raises(EOFError):
            await client.answer(number)


async def test_who_calls_is_found_out_as_ever(tmp_path: Path) -> None:
    issuer = Issuer()
    async with (
        running_server(auth=issuer.auth(tmp_path)) as server,
        connected(server) as client,
    ):
        base = [*GET[:3], (":path", "/api/v1/groups")]
        bearer = ("authorization", f"Bearer {issuer.token('alice')}")
        for more, status in (
            ([bearer], "200"),
            ([bearer, ("x-user-id", "alice")], "200"),
            ([bearer, ("x-user-id", "bob")], "403"),
            ([bearer, bearer], "400"),
            ([("x-user-id", "alice")], "401"),
        ):
            assert (await client.answer(await client.ask([*base, *more])))[0] == status

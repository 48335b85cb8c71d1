"""What is used of the libraries beyond what they advertise: fails clearly when that changes.

pyproject.toml pins hypercorn's minor version for this; whoever raises it starts here.
"""

from __future__ import annotations

import inspect

import pytest
import trio
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.config import Config
from hypercorn.protocol import ProtocolWrapper
from hypercorn.protocol.h2 import H2Protocol, StreamBuffer
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from imserver.transport.http2_lane import _Stream


def parameters(function: object) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != "self"]


def test_hypercorns_server_takes_an_accepted_stream() -> None:
    assert parameters(TCPServer.__init__) == ["app", "config", "context", "state", "stream"]
    assert parameters(TCPServer.run) == []
    assert inspect.iscoroutinefunction(TCPServer.run)


def test_hypercorn_asks_no_more_of_a_stream_than_ours_has() -> None:
    source = inspect.getsource(TCPServer)
    used = {name for name in dir(_Stream) if f"self.stream.{name}(" in source}
    assert used == {"receive_some", "send_all", "send_eof", "aclose", "do_handshake",
                    "selected_alpn_protocol"}  # fmt: skip
    rest = source
    for name in (*used, "transport_stream", "socket"):
        rest = rest.replace(f"self.stream.{name}", "")
    assert rest.count("self.stream") == 1, "a stream is asked for something new"  # its assignment
    assert source.count("alpn_protocol = self.stream.selected_alpn_protocol()") == 1
    assert source.count("self.stream.transport_stream.socket") == 1


def test_hypercorn_has_one_place_for_what_speaks_with_the_client_and_one_to_close() -> None:
    # Both are ours instead.
    source = inspect.getsource(TCPServer.run)
    assert source.count("self.protocol = ProtocolWrapper(") == 1
    assert "self.protocol: H11Protocol" in inspect.getsource(ProtocolWrapper)
    assert parameters(TCPServer._initiate_server_close) == []
    assert "self._initiate_server_close()" in inspect.getsource(TCPServer._idle_timeout)


def test_hypercorns_http2_is_made_and_bounded_as_ours_expects() -> None:
    plan = parameters(ProtocolWrapper.__init__)
    assert plan == [
        "app", "config", "context", "task_group", "state", "ssl", "client", "server", "send",
        "alpn_protocol",
    ]  # fmt: skip
    assert all(f"self.{name} = {name}" in inspect.getsource(ProtocolWrapper) for name in plan[:-1])
    of_ours = ["app", "config", "context", "task_group", "connection_state", *plan[5:-1]]
    assert parameters(H2Protocol.__init__) == of_ours
    for name, taken in {
        "_handle_events": ["events"],
        "_close_stream": ["stream_id"],
        "_send_data": ["stream_id"],
        "stream_send": ["event"],
        "handle": ["event"],
        "_flush": [],
    }.items():
        function = getattr(H2Protocol, name)
        assert inspect.iscoroutinefunction(function)
        assert parameters(function) == taken
    source = inspect.getsource(H2Protocol)
    for name in ("streams", "stream_buffers", "has_data", "closed", "keep_alive_requests"):
        assert f"self.{name}" in source
    assert isinstance(StreamBuffer.complete, property)


async def test_what_an_application_receives_from_can_be_closed() -> None:
    # As nobody reads there any more, nobody may wait for it.
    async with TaskGroup() as tasks:
        closed = trio.Event()

        async def app(scope: dict, receive: object, send: object, *_: object) -> None:
            receive.__self__.close()
            closed.set()

        async def send(message: object) -> None:
            pass

        put = await tasks.spawn_app(app, Config(), {}, send)
        await closed.wait()
        with pytest.raises(trio.BrokenResourceError):
            await put({"type": "http.disconnect"})


def test_hypercorns_context_and_application_wrapper() -> None:
    assert parameters(WorkerContext.__init__) == ["max_requests"]
    assert inspect.iscoroutinefunction(WorkerContext(None).terminated.set)
    assert parameters(ASGIWrapper.__init__) == ["app"]
    assert parameters(ASGIWrapper.__call__) == [
        "scope",
        "receive",
        "send",
        "sync_spawn",
        "call_soon",
    ]


def test_what_is_put_into_the_connections_state_reaches_the_application() -> None:
    # That is how the application finds the stream that carries its request.
    here = object()
    assert ConnectionState({"stream": here}).copy()["stream"] is here


@pytest.mark.parametrize(
    "setting",
    [
        "accesslog",
        "errorlog",
        "include_server_header",
        "keep_alive_timeout",
        "read_timeout",
        "h2_max_concurrent_streams",
        "h2_max_header_list_size",
    ],
)
def test_hypercorn_knows_the_settings_that_we_make(setting: str) -> None:
    assert hasattr(Config(), setting)


def test_the_codec_has_what_the_lane_reads_and_sets() -> None:
    protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=1000)
    assert protocol.writes == []  # looked at before anything is said for the codec
    assert protocol.current_size is None  # not None: a fragmented message is under way
    protocol.receive_data(b"\x01\x81\0\0\0\0x")
    assert [frame.opcode for frame in protocol.events_received()] == [Opcode.TEXT]
    assert protocol.current_size == 1
    assert ServerProtocol().handshake_exc is None

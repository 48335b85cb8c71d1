"""One port, three lanes: accepts connections and gives each to the lane it asks for.

HTTP/2 is agreed on in the TLS handshake. Otherwise the first line decides: `GET /ws` goes to the
WebSocket lane, everything else to that of HTTP/1.1, with what was read to decide. (Peeking would
spin on a half-sent line.) A request for `/ws` that comes later, on a kept-alive connection, as
reverse proxies send it, is handed back by the lane of HTTP/1.1.
"""

from __future__ import annotations

import logging
import socket
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

import trio
from msgspec.structs import replace

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import Peer
from imserver.tally import Refusals
from imserver.transport import tls, ws
from imserver.transport.listeners import who_connected
from imserver.transport.sockets import receive, refusal, take_the_rest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imserver.transport.gate import Gate
    from imserver.transport.http1 import Http1Lane
    from imserver.transport.http2_lane import Http2Lane
    from imserver.transport.listeners import Listener
    from imserver.transport.proxies import Proxies
    from imserver.transport.tls import Certificate

logger = logging.getLogger(__name__)

_NO_ROOM: Final = ApiError(Code.UNAVAILABLE, "The server has too many connections")
_RETRY_AFTER_MS: Final = 5_000  # said to those for whom there is no room
_TOO_SLOW: Final = ApiError(Code.TOO_SLOW)
_PLAIN: Final = ApiError(Code.INVALID_REQUEST, "This port speaks TLS: use https or wss")

_REQUEST_LINE_BYTES: Final = 8 * 1024
_ACCEPTED_AT_ONCE: Final = 64
_OUT_OF_FILES_PAUSE: Final = 0.1  # seconds


class Edge:
    """Owner of the connections: each is a task in the nursery that `serve` is given."""

    def __init__(
        self,
        websockets: ws.WebSocketLane,
        http1: Http1Lane,
        http2: Callable[[], Http2Lane],
        proxies: Proxies,
        *,
        head_timeout: float,
        most_connections: int,
        gate: Gate | None = None,
        refusals: Refusals | None = None,
    ) -> None:
        self._websockets = websockets
        self._http1 = http1
        self._make_http2 = http2  # when the first client speaks it
        self._http2: Http2Lane | None = None
        self._proxies = proxies
        self._head_timeout = head_timeout
        self._most_connections = most_connections
        self._refusals = refusals or Refusals()
        self._connections = 0
        self._gate = gate  # what one address may have and do; None: as much as it likes
        self._greetings: set[trio.CancelScope] = set()  # of those whose first line is awaited
        self._retired = False

    async def accept(self, listener: Listener, connections: trio.Nursery) -> None:
        """Accept until cancelled. The caller closes the listener."""
        while True:
            await trio.lowlevel.wait_readable(listener.sock)
            for _ in range(_ACCEPTED_AT_ONCE):
                try:
                    sock, address = listener.sock.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    # Gone before it was accepted, or no file is left for it: others live on.
                    logger.warning("a connection could not be accepted: %s", error)
                    await trio.sleep(_OUT_OF_FILES_PAUSE)
                    break
                sock.setblocking(False)
                if self._connections >= self._most_connections and not listener.operator:
                    self._turn_away(listener, sock, _NO_ROOM)
                    continue
                if listener.operator:
                    peer = Peer(operator=True)
                else:
                    peer = self._proxies.peer(address[0] if isinstance(address, tuple) else "")
                gate = self._gate_for(peer)
                if gate is not None and (full := gate.enter(peer.address)) is not None:
                    self._turn_away(listener, sock, full)
                    continue
                self.take(sock, peer, connections, listener.certificate)

    def take(
        self,
        sock: socket.socket,
        peer: Peer,
        connections: trio.Nursery,
        certificate: tls.Certificate | None = None,
    ) -> None:
        """Serve a connection that is there already; it is closed with its task."""
        self._connections += 1
        connections.start_soon(self._serve, sock, peer, certificate)

    async def retire(self) -> None:
        """Let those go who have asked nothing, and the others when they have their answers."""
        self._retired = True
        for greeting in self._greetings:
            greeting.cancel()
        self._websockets.retire()
        self._http1.retire()
        if self._http2 is not None:
            await self._http2.retire()

    def _gate_for(self, peer: Peer) -> Gate | None:
        # All of a proxy's clients come from its address, and a Unix socket has none.
        return None if peer.proxied or not peer.address else self._gate

    def _turn_away(self, listener: Listener, sock: socket.socket, error: ApiError) -> None:
        self._refusals.count("connection", error)
        if listener.certificate is None:  # else it is not worth a handshake
            _say(sock, error)
        sock.close()

    async def _serve(
        self, sock: socket.socket, peer: Peer, certificate: Certificate | None
    ) -> None:
        try:
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 90_000)
            if peer.operator:
                peer = replace(peer, os_user=await who_connected(sock))
            head, speaks_http2 = b"", False
            begun = bytearray()
            with self._greeting() as greeting:
                if certificate is not None:
                    if not await self._expects_tls(sock):
                        return
                    sock = secure = certificate.wrap(sock)
                    await tls.shake_hands(secure)
                    speaks_http2 = secure.selected_alpn_protocol() == tls.HTTP2
                if not speaks_http2:
                    head = await self._read_request_line(sock, begun)
            if greeting.cancelled_caught and begun and not self._retired:
                self._refusals.count("connection", _TOO_SLOW)
                _say(sock, _TOO_SLOW)
                await take_the_rest(sock)
            if speaks_http2 and not self._retired:
                assert isinstance(sock, tls.TlsSocket)
                await self._lane_of_http2().serve(sock, peer)
                return
            if head and not head.startswith((b"GET /ws ", b"GET /ws?")):
                head = await self._http1.serve(sock, head, peer)
            if head:
                await self._websockets.serve(sock, head, peer)
        except* (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            logger.debug("a connection broke", exc_info=True)
        except* Exception:
            logger.exception("a connection failed")
        finally:
            self._connections -= 1
            if (gate := self._gate_for(peer)) is not None:
                gate.leave(peer.address)
            sock.close()

    def _lane_of_http2(self) -> Http2Lane:
        if self._http2 is None:
            self._http2 = self._make_http2()
        return self._http2

    @contextmanager
    def _greeting(self) -> Iterator[trio.CancelScope]:
        """What is done in here takes no longer than a client may keep silent, nor than we serve."""
        with trio.move_on_after(self._head_timeout) as greeting:
            self._greetings.add(greeting)
            try:
                if self._retired:
                    greeting.cancel()
                yield greeting
            finally:
                self._greetings.discard(greeting)

    async def _expects_tls(self, sock: socket.socket) -> bool:
        """Whether a client speaks TLS; else it is told to, if it says anything."""
        speaks = await tls.speaks_tls(sock)
        if speaks is False:
            self._refusals.count("connection", _PLAIN)
            _say(sock, _PLAIN)
            await take_the_rest(sock)
        return bool(speaks)

    async def _read_request_line(self, sock: socket.socket, head: bytearray) -> bytes:
        while b"\n" not in head and len(head) < _REQUEST_LINE_BYTES:
            data = await receive(sock)
            if not data:
                return b""
            head += data
        return bytes(head)


def _say(sock: socket.socket, error: ApiError) -> None:
    with suppress(OSError):
        sock.send(refusal(error, retry_after_ms=_RETRY_AFTER_MS if error is _NO_ROOM else None))

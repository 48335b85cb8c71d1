"""The WebSocket lane: handshakes by the sans-I/O core of `websockets`, and a `link` for each."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import trio
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State
from websockets.server import ServerProtocol

from imserver import log
from imserver.domain.errors import ApiError, Code
from imserver.transport import link
from imserver.transport.proxies import FORWARDED_FOR
from imserver.transport.sockets import receive, refusal, reset, send

if TYPE_CHECKING:
    import socket

    from websockets.datastructures import Headers

    from imserver.domain.model import Peer
    from imserver.live.hub import Session
    from imserver.service.engine import Engine
    from imserver.service.identity.pages import Pages
    from imserver.transport.gate import Gate
    from imserver.transport.proxies import Proxies
    from imserver.transport.pump import Pump

logger = logging.getLogger(__name__)
access = logging.getLogger(log.ACCESS)
# The codec reports what it sees at levels meant for debugging it; failures come as close codes.
_codec_logger = logging.getLogger("imserver.websocket")
_codec_logger.setLevel(logging.ERROR)


class _Opening(NamedTuple):
    """What a handshake has left."""

    early: bytes  # what came behind it
    peer: Peer  # whose session it begins
    claim: str  # whom the request names, where that counts


class WebSocketLane:
    """Serves WebSocket connections that `edge` recognised by their first line."""

    def __init__(
        self,
        engine: Engine,
        pages: Pages,
        proxies: Proxies,
        gate: Gate | None,
        pump: Pump,
        *,
        frame_bytes: int,
        header_bytes: int,
        handshake_timeout: float,
        access_log: bool = False,
    ) -> None:
        self._pages = pages
        self._proxies = proxies
        self._gate = gate  # what one client of a proxy may have and do
        self._engine = engine
        self._pump = pump
        self._frame_bytes = frame_bytes  # of one message, its fragments together
        self._header_bytes = header_bytes  # of the request that asks for the upgrade
        self._handshake_timeout = handshake_timeout  # seconds
        self._access_log = access_log  # whether the end of each session is logged
        self._greetings: set[trio.CancelScope] = set()  # of those whose handshake is under way
        self._retired = False

    def retire(self) -> None:
        """Let those go who have not opened their session yet; nobody opens one from now on."""
        self._retired = True
        for greeting in self._greetings:
            greeting.cancel()

    async def serve(self, sock: socket.socket, head: bytes, peer: Peer) -> None:
        """Speak WebSocket with `peer`, of whom `head` was read already, until the connection ends.

        The caller closes the socket.
        """
        opening: _Opening | None = None
        with trio.move_on_after(self._handshake_timeout) as greeting:
            self._greetings.add(greeting)
            try:
                if not self._retired:
                    opening = await self._shake_hands(sock, head, peer)
            finally:
                self._greetings.discard(greeting)
        if greeting.cancelled_caught and not self._retired:
            with trio.move_on_after(link.LINGER):
                await self._refuse(sock, 408, ApiError(Code.TOO_SLOW))
        if opening is None:
            return
        try:
            await self._run(sock, opening)
        finally:
            self._leave(peer, opening.peer)

    async def _run(self, sock: socket.socket, opening: _Opening) -> None:
        async with trio.open_nursery() as nursery:
            protocol = Protocol(
                Side.SERVER, state=State.OPEN, max_size=self._frame_bytes, logger=_codec_logger
            )
            connection = link.Connection(
                self._engine, self._pump, sock, opening.peer, protocol, nursery, self._frame_bytes
            )
            connection.session.claim = opening.claim
            log.about(connection_id=connection.session.number)
            begun = trio.current_time()
            try:
                await connection.run(opening.early)
            finally:
                self._pump.leave(sock)
                connection.end()
                if self._access_log:
                    _log_end(connection.session, trio.current_time() - begun)
                nursery.cancel_scope.cancel()
        if connection.stage is link.LinkStage.LEAVING:
            reset(sock)

    async def _shake_hands(self, sock: socket.socket, head: bytes, peer: Peer) -> _Opening | None:
        """Read the rest of the request and answer it.

        Returns None if no session begins; else the client was let in by the gate.
        """
        while b"\r\n\r\n" not in head:
            if len(head) > self._header_bytes:
                await self._refuse(sock, 431, ApiError(Code.TOO_LARGE, "The head is too large"))
                return None
            data = await receive(sock)
            if not data:
                return None
            head += data
        head, _, early = head.partition(b"\r\n\r\n")
        handshake = ServerProtocol(logger=_codec_logger)
        handshake.receive_data(head + b"\r\n\r\n")
        requests = handshake.events_received()
        if not requests:
            await self._refuse(sock, 400, ApiError(Code.INVALID_REQUEST))
            return None
        request = requests[0]
        assert isinstance(request, Request)
        response = handshake.accept(request)
        if response.status_code == 426:
            await self._refuse(sock, 426, ApiError(Code.UPGRADE_REQUIRED))
            return None
        if response.status_code != 101:
            await self._refuse(sock, 400, ApiError(Code.INVALID_REQUEST))
            return None
        given = partial(_given, request.headers)
        try:
            self._pages.check(peer, given)
            claim = self._engine.identity.of_handshake(peer, given)
        except ApiError as error:
            await self._refuse(sock, error.status, error)
            return None
        client = self._proxies.client(peer, request.headers.get_all(FORWARDED_FOR))
        if (full := self._enter(peer, client)) is not None:
            await self._refuse(sock, full.status, full)
            return None
        try:
            handshake.send_response(response)
            await send(sock, b"".join(handshake.data_to_send()))
        except BaseException:
            self._leave(peer, client)
            raise
        return _Opening(early, client, claim)

    # Who comes through a proxy passed no gate when the proxy's connection was accepted.

    def _enter(self, peer: Peer, client: Peer) -> ApiError | None:
        if self._gate is None or client is peer:
            return None
        return self._gate.enter(client.address)

    def _leave(self, peer: Peer, client: Peer) -> None:
        if self._gate is not None and client is not peer:
            self._gate.leave(client.address)

    async def _refuse(self, sock: socket.socket, status: int, error: ApiError) -> None:
        self._engine.refusals.count("websocket", error)
        await send(sock, refusal(error, status, websocket=status in (400, 426)))


def _given(headers: Headers, name: str) -> list[bytes]:
    # The codec reads header bytes as Latin-1 or, in its older versions, as escaped ASCII.
    return [value.encode("latin-1", "surrogateescape") for value in headers.get_all(name)]


def _log_end(session: Session, seconds: float) -> None:
    goodbye = session.outbox.goodbye
    access.info(
        "websocket closed by %s",
        "the client" if goodbye is None else f"us: {goodbye.value}",
        extra={
            "user_id": session.user_id,
            "address": session.peer.address,
            "duration_ms": round(seconds * 1000, 3),
        },
    )

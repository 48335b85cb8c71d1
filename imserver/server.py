"""The composition root: builds every object, and orders start and stop.

Lifetimes nest: database, then writer, then sessions and sweeper, then connections, then the
listeners. What was begun last ends first:

1. the listeners close: nobody new comes in;
2. what the writer accepted is committed and answered;
3. WebSocket sessions are closed with 1001, REST connections when their request is answered;
4. after a deadline whoever is still there is cut off;
5. the store closes.
"""

from __future__ import annotations

import logging
import socket
import time
from contextlib import ExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import trio

from imserver import building
from imserver.config import Config
from imserver.domain.errors import CloseCode
from imserver.domain.model import Peer
from imserver.live.hub import Hub
from imserver.live.sweeper import Sweeper
from imserver.resources import room_for_connections
from imserver.service.accounts.keeping import begin, tend
from imserver.service.engine import Engine, RequestLimits
from imserver.service.identity.hosts import Hosts
from imserver.service.identity.origins import Origins
from imserver.service.identity.pages import Pages
from imserver.setting_kinds import is_loopback
from imserver.store.database import open_database
from imserver.store.reader import Reader
from imserver.store.search.finding import Finder
from imserver.store.search.indexing import indexing
from imserver.store.writer import Writer
from imserver.transport.deadline import Times
from imserver.transport.edge import Edge
from imserver.transport.file_routes import file_routes
from imserver.transport.framing import text_frame
from imserver.transport.http1 import Http1Lane
from imserver.transport.listeners import listen_tcp
from imserver.transport.proxies import Proxies
from imserver.transport.pump import Pump
from imserver.transport.tls import Certificate, TlsError
from imserver.transport.ws import WebSocketLane

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from imserver.service.identity.modes import Identity

logger = logging.getLogger(__name__)


class Server:
    """A running server; made by `open_server` alone."""

    def __init__(
        self,
        address: tuple[str, int],
        database: str,
        identity: Identity,
        certificate: Certificate | None,
        first_password: str | None,
        attach: Callable[[socket.socket], None],
    ) -> None:
        self.address = address  # host and port really bound; ("", 0): it does not listen
        self.database = database  # the file, or :memory:
        self._attach = attach
        # Of the account FIRST_ADMINISTRATOR, if this start has made it: for one login, and
        # nowhere else.
        self.first_password = first_password
        self._identity = identity
        self._certificate = certificate

    @property
    def url(self) -> str:
        """Where REST is served; the WebSocket is at /ws of the same port."""
        host, port = self.address
        scheme = "http" if self._certificate is None else "https"
        return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"

    def reload(self) -> None:
        """Read again what may be renewed in place: the certificate, and the keys of tokens.

        What cannot be used is logged, and what was used before stays. Connections live on.
        """
        self._identity.reload()
        if self._certificate is not None:
            try:
                self._certificate.reload()
            except TlsError as error:
                logger.error("the certificate stays as it was: %s", error)
            else:
                logger.info("the certificate was read again")

    def operator(self) -> socket.socket:
        """A connection as the operator, as by the control socket; the caller closes it."""
        ours, servers = socket.socketpair()
        servers.setblocking(False)
        self._attach(servers)
        return ours


def wall_clock() -> int:
    """Milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


@asynccontextmanager
async def open_server(
    config: Config | None = None,
    *,
    clock: Callable[[], int] = wall_clock,
    listening: bool = True,
) -> AsyncIterator[Server]:
    """Serve while the context lasts; leaving it stops the server in order.

    Nothing is global: several servers live in one process. `Config(database=":memory:", port=0)`
    serves tests. Without `listening` nobody reaches it but this program, by `Server.operator`, and
    what is scheduled is left to a server that stays.

    Raises:
        ConfigError: settings that do not go together.
        StoreError: the database cannot be used.
        OSError: the address cannot be had.
    """
    config = Config() if config is None else config
    config.check()
    hub = Hub(text_frame, outbox_bytes=config.limits.outbox_bytes)
    accounts = building.accounts(config.auth, hub, clock) if config.auth.mode == "token" else None
    identity = building.identity(config.auth, clock, accounts)
    with ExitStack() as files:
        certificate = building.certificate(config) if listening else None
        listeners = listen_tcp(config.host, config.port, certificate) if listening else []
        for listener in listeners:
            files.callback(listener.sock.close)
        database = files.enter_context(
            open_database(config.database_path, synchronous=config.store.synchronous)
        )
        # Whoever has the database's lock may put its sockets beside it.
        unix = files.enter_context(ExitStack())
        listeners += building.unix_listeners(config, unix) if listening else []
        indexer = None if database.in_memory else files.enter_context(indexing(database))

        def after_batch() -> None:
            hub.flush()
            if indexer is not None:
                indexer.hand_over.news.set()

        writer = Writer(
            database,
            clock,
            capacity=config.store.pending_writes,
            max_batch=config.store.batch,
            after_batch=after_batch,
            accounts_only=accounts is not None,
            hand_over=None if indexer is None else indexer.hand_over,
        )
        engine = Engine(
            writer=writer,
            reader=Reader(database, config.store.readers),
            hub=hub,
            clock=clock,
            limits=RequestLimits(
                content_bytes=config.limits.content_bytes,
                page_bytes=config.limits.page_bytes,
                group_members=config.limits.group_members,
                members_at_once=config.limits.members_at_once,
                pending_seconds=config.store.pending_seconds,
            ),
            identity=identity,
            finder=Finder(indexer),
            accounts=accounts,
            admission=building.admission(config) if config.limits_admission else None,
        )
        loopback = is_loopback(config.host)
        # Where being on this machine is all that it takes to be somebody, pages are on it too.
        by_place = config.auth.mode in ("open", "proxy")
        hosts = Hosts(config.hosts, guarded=loopback and by_place)
        pages = Pages(hosts, Origins(config.origins, hosts, loopback=loopback))
        proxies = Proxies(config.proxies)
        room = room_for_connections(config.limits.connections)
        gate = building.gate(config, room) if config.limits_admission else None
        pump = Pump(hub.flush)
        websockets = WebSocketLane(
            engine,
            pages,
            proxies,
            gate,
            pump,
            frame_bytes=config.limits.frame_bytes,
            header_bytes=config.limits.header_bytes,
            handshake_timeout=config.timeouts.request_head,
            access_log=config.log.access,
        )
        filing = files.enter_context(building.file_service(config, engine))
        raw = file_routes(filing.cabinet, filing.uploads)
        rest = building.rest_rules(config, engine, pages, proxies, gate, database, raw)
        times = Times(
            head=config.timeouts.request_head,
            body=config.timeouts.request_body,
            idle=config.timeouts.rest_idle,
        )
        header_bytes = config.limits.header_bytes
        http1 = Http1Lane(rest, pump, times, hub.flush, header_bytes=header_bytes)
        edge = Edge(
            websockets,
            http1,
            lambda: building.http2_lane(rest, times, header_bytes),
            proxies,
            head_timeout=config.timeouts.request_head,
            most_connections=room,
            gate=gate,
            refusals=engine.refusals,
        )
        async with trio.open_nursery() as storing:
            await storing.start(writer.run)
            storing.start_soon(pump.run)
            storing.start_soon(http1.run)
            first_password = None if accounts is None else await begin(accounts, engine)
            if config.backup.every and listening:
                storing.start_soon(building.backups(config, clock).run)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as background:
                    sweeper = Sweeper(
                        hub,
                        clock,
                        login_timeout=config.timeouts.login,
                        ping_after=config.timeouts.ping,
                        drop_after=config.timeouts.silence,
                    )
                    background.start_soon(sweeper.run)
                    await background.start(filing.run)
                    if accounts is not None:
                        background.start_soon(tend, accounts, engine)
                    if listening:
                        background.start_soon(building.retention(config, engine).run)
                    for listener in listeners:
                        background.start_soon(edge.accept, listener, connections)
                    operator = Peer(operator=True)
                    server = Server(
                        _address(listeners[0].sock) if listening else ("", 0),
                        database.path,
                        identity,
                        certificate,
                        first_password,
                        lambda sock: edge.take(sock, operator, connections),
                    )
                    try:
                        yield server
                    finally:
                        background.cancel_scope.cancel()
                for listener in listeners:
                    listener.sock.close()
                unix.close()
                connections.cancel_scope.deadline = trio.current_time() + config.timeouts.shutdown
                await edge.retire()
                writer.close()
                await writer.wait_closed()
                hub.close_all(CloseCode.GOING_AWAY)
            storing.cancel_scope.cancel()  # nothing is left to write or to read from


def _address(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return host, port

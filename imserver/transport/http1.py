"""The REST lane for HTTP/1.1: connections on the pump, as WebSockets are.

A request costs no task of its own. Its connection's task, which is parked otherwise, does what may
wait: a reader, a password's hash, a raw route, a client that does not take its answer.

Owner of the connections and their deadlines: `Http1Lane`. Laws of the deadlines:

- A connection has one deadline at a time: for its next request, for the rest of a head, or for
  more of a body. While the server is at work on a request there is none.
- What waits to be read is read before anybody is judged: a server that was stopped for a while
  lets go of none who kept sending.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from imserver.transport.exchanges import Exchanges
from imserver.transport.sockets import has_input, take_the_rest

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from imserver.domain.model import Peer
    from imserver.transport.deadline import Times
    from imserver.transport.pump import Pump
    from imserver.transport.rest import RestRules

logger = logging.getLogger(__name__)

_PERIOD: Final = 1.0  # seconds between two looks at the deadlines
_SLICE: Final = 500  # connections looked at before others get their turn


class Http1Lane:
    """Serves connections that speak HTTP/1.1."""

    def __init__(
        self,
        rest: RestRules,
        pump: Pump,
        times: Times,
        flush: Callable[[], None],
        *,
        header_bytes: int,
    ) -> None:
        self._rest = rest
        self._pump = pump
        self._times = times
        self._flush = flush  # lets out what requests have published
        self._header_bytes = header_bytes
        self._open: dict[Exchanges, socket.socket] = {}
        self.retired = False

    async def run(self) -> None:
        """Look after the deadlines until cancelled."""
        period = min(_PERIOD, self._times.head / 4, self._times.body / 4, self._times.idle / 4)
        while True:
            await trio.sleep(period)
            now = trio.current_time()
            for count, (exchanges, sock) in enumerate(list(self._open.items()), 1):
                if exchanges.deadline.at < now and not has_input(sock):
                    exchanges.expire()
                if count % _SLICE == 0:
                    await trio.lowlevel.checkpoint()

    def retire(self) -> None:
        """Let idle connections go, and those at work when they are done."""
        self.retired = True
        for exchanges in list(self._open):
            exchanges.retire()

    async def serve(self, sock: socket.socket, head: bytes, peer: Peer) -> bytes:
        """Serve requests on a connection of `peer`, of which `head` was read already, to its end.

        Or until it asks for a WebSocket at `/ws`: then the head of that request is returned, with
        what came behind it, and the connection is as if nobody had looked at it. The caller closes
        the socket.
        """
        async with trio.open_nursery() as nursery:
            exchanges = Exchanges(
                self._rest, self._pump, sock, peer, self._times, self._header_bytes
            )
            self._open[exchanges] = sock
            try:
                if self.retired:
                    exchanges.retire()
                await exchanges.run(head, self._flush)
            finally:
                del self._open[exchanges]
                exchanges.end()
            nursery.cancel_scope.cancel()
        if exchanges.unread:
            await take_the_rest(sock)
        return exchanges.upgrade

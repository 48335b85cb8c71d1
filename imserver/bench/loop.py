"""Sockets and time for the load: one epoll, and no framework between it and the scenarios.

Measured against an event loop in C with a compiled WebSocket library (see the bench's README):
the few lines here cost no more CPU a message, and nothing has to be installed for them.
"""

from __future__ import annotations

import errno
import select
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

from imserver.bench.load_error import LoadError
from imserver.transport.tls import TlsSocket

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from imserver.bench.wire import Wire

_READ_BYTES: Final = 16 * 1024
_SLICE: Final = 0.1  # seconds between looks at the clock's larger hands
_OPENING_AT_ONCE: Final = 128
_SETTLING_PATIENCE: Final = 20.0  # seconds for what is under way to arrive
_OPENING_PATIENCE: Final = 60.0  # seconds without any session being opened

Securing = Callable[[socket.socket], socket.socket]

clock = time.perf_counter


class LoadConnection:
    """One socket, and the wire that understands it."""

    __slots__ = ("_loop", "_opened", "_script", "_secure", "_sock", "_unsent", "changed", "handle",
                 "wire")  # fmt: skip

    def __init__(
        self, loop: Loop, sock: socket.socket, wire: Wire, secure: Securing | None = None
    ) -> None:
        self.wire = wire
        self.changed: Callable[[], None] = _nothing  # called when something has arrived
        self.handle: Callable[[int], None] = self._open if secure is None else self._connected
        self._secure = secure  # makes a connected socket speak TLS
        self._loop = loop
        self._sock = sock
        self._unsent = b""
        self._opened: Callable[[LoadConnection], None] | None = None
        self._script: Generator[bytes, bytes, bytes] | None = None

    def begin(self, host: str, opened: Callable[[LoadConnection], None]) -> None:
        """Speak the wire's opening; calls `opened` when it is through."""
        self._opened = opened
        self._script = self.wire.opening(host)
        # The socket is still connecting: this leaves when it is writable.
        self._unsent = next(self._script)
        self._loop.watch(self._sock, self, select.EPOLLIN | select.EPOLLOUT)

    def send(self, data: bytes) -> None:
        """Send now what the kernel takes, and the rest when it takes more."""
        if self._unsent:
            self._unsent += data
            return
        try:
            taken = self._sock.send(data)
        except BlockingIOError:
            taken = 0
        if taken < len(data):
            self._unsent = data[taken:]
            self._loop.change(self._sock, select.EPOLLIN | select.EPOLLOUT)

    def close(self) -> None:
        """Close the socket, at once."""
        self._sock.close()

    def _connected(self, events: int) -> None:
        assert self._secure is not None
        self._check()
        self._sock = self._secure(self._sock)  # the descriptor stays the same
        self.handle = self._shake_hands
        self._shake_hands(events)

    def _shake_hands(self, events: int) -> None:
        assert isinstance(self._sock, TlsSocket)
        try:
            self._sock.do_handshake()
        except ssl.SSLWantReadError:
            self._loop.change(self._sock, select.EPOLLIN)
        except ssl.SSLWantWriteError:
            self._loop.change(self._sock, select.EPOLLOUT)
        else:
            self._loop.change(self._sock, select.EPOLLIN | select.EPOLLOUT)
            self.handle = self._open

    def _open(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._send_rest()
        if not events & ~select.EPOLLOUT:
            return
        assert self._script is not None
        assert self._opened is not None
        try:
            said = self._script.send(self._receive())
        except StopIteration as end:
            self.handle = self._take
            self._script = None
            if end.value:
                self.wire.feed(end.value)
            self._opened(self)
            self._opened = None
        else:
            if said:
                self.send(said)

    def _take(self, events: int) -> None:
        if events & select.EPOLLOUT:
            self._send_rest()
            if events == select.EPOLLOUT:
                return
        reply = self.wire.feed(self._receive())
        if reply:
            self.send(reply)
        self.changed()

    def _receive(self) -> bytes:
        try:
            data = self._sock.recv(_READ_BYTES)
        except BlockingIOError:  # over TLS: what came was none of ours
            return b""
        if not data:
            raise LoadError("the server closed a connection")
        return data

    def _send_rest(self) -> None:
        self._check()
        try:
            self._unsent = self._unsent[self._sock.send(self._unsent) :]
        except BlockingIOError:  # over TLS: there is room for a part of a record only
            return
        if not self._unsent:
            self._loop.change(self._sock, select.EPOLLIN)

    def _check(self) -> None:
        error = self._sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            raise OSError(error, errno.errorcode.get(error, "error"))


def _nothing() -> None:
    pass


class Loop:
    """Owner of the epoll and of every connection. Made once a load process."""

    def __init__(
        self, progress: Callable[[str, float], None], tls: ssl.SSLContext | None = None
    ) -> None:
        self._epoll = select.epoll()
        self._connections: dict[int, LoadConnection] = {}
        self._progress = progress
        self._tls = tls
        if tls is not None:
            tls.sslsocket_class = TlsSocket

    def watch(self, sock: socket.socket, connection: LoadConnection, events: int) -> None:
        """From now on the connection hears of its socket."""
        self._connections[sock.fileno()] = connection
        self._epoll.register(sock, events)

    def change(self, sock: socket.socket, events: int) -> None:
        """Hear of other events."""
        self._epoll.modify(sock, events)

    def open(
        self, address: tuple[str, int], wires: Sequence[Wire], sources: Sequence[str] = ()
    ) -> list[LoadConnection]:
        """Open a session for each wire, many at once; from `sources` in turn where given.

        Raises:
            LoadError: the server refuses one, or goes silent.
            OSError: a connection cannot be had.
        """
        waiting = deque(enumerate(wires))
        opened: list[LoadConnection] = []
        made: list[LoadConnection] = []

        def begin_next(done: LoadConnection | None = None) -> None:
            if done is not None:
                opened.append(done)
            if waiting:
                number, wire = waiting.popleft()
                source = sources[number % len(sources)] if sources else None
                sock = _connect(address, source)
                connection = LoadConnection(self, sock, wire, self._securing(address[0]))
                made.append(connection)
                connection.begin(f"{address[0]}:{address[1]}", begin_next)

        for _ in range(min(_OPENING_AT_ONCE, len(wires))):
            begin_next()
        before, since = 0, clock()
        while len(opened) < len(wires):
            self.turn(_SLICE)
            self._progress("opening sessions", len(opened) / len(wires))
            if len(opened) > before:
                before, since = len(opened), clock()
            elif clock() - since > _OPENING_PATIENCE:
                raise LoadError(
                    f"the server went silent with {len(opened)} of {len(wires)} sessions open"
                )
        return made

    def _securing(self, host: str) -> Securing | None:
        if self._tls is None:
            return None
        return partial(self._tls.wrap_socket, do_handshake_on_connect=False, server_hostname=host)

    def run(self, seconds: float, doing: str) -> None:
        """Let everything happen for a while."""
        begin = clock()
        end = begin + seconds
        while (now := clock()) < end:
            self._progress(doing, (now - begin) / seconds)
            until = min(end, now + _SLICE)
            while (left := until - clock()) > 0:
                self.turn(left)

    def pace(
        self, seconds: float, interval: float, doing: str, tick: Callable[[float], None]
    ) -> None:
        """Call `tick` every `interval` seconds with the time it was due, however late it is.

        A late tick does not move those that follow.
        """
        begin = clock()
        count = round(seconds / interval)
        number = 0
        report = begin
        while number < count:
            now = clock()
            while number < count and (due := begin + number * interval) <= now:
                tick(due)
                number += 1
            if now >= report:
                self._progress(doing, number / count)
                report = now + _SLICE
            left = begin + number * interval - clock()
            # An epoll waits in whole milliseconds; a select on it waits in microseconds.
            if left > 0 and not select.select([self._epoll], (), (), left)[0]:
                continue
            self.turn(0)

    def settle(self, settled: Callable[[], bool], what: str) -> None:
        """Let everything happen until `settled`.

        Raises:
            LoadError: it does not come to that; `what` says what is missing.
        """
        end = clock() + _SETTLING_PATIENCE
        while not settled():
            if clock() > end:
                raise LoadError(f"{what} within {_SETTLING_PATIENCE:.0f} s")
            self.turn(_SLICE)

    def forget(self, connection: LoadConnection) -> None:
        """Close one connection."""
        self._connections = {
            number: other for number, other in self._connections.items() if other is not connection
        }
        connection.close()

    def close(self) -> None:
        """Close every connection."""
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()
        self._epoll.close()

    def turn(self, seconds: float) -> None:
        """Handle what happens; waits `seconds` for it at the most."""
        connections = self._connections
        for number, events in self._epoll.poll(seconds):
            connections[number].handle(events)


def _connect(address: tuple[str, int], source: str | None) -> socket.socket:
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source is not None:
        # The port is chosen at connect: 28 thousand for each source address, not for all.
        sock.setsockopt(socket.SOL_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
        sock.bind((source, 0))
    error = sock.connect_ex(address)
    if error not in (0, errno.EINPROGRESS):
        sock.close()
        raise OSError(error, errno.errorcode.get(error, "error"))
    return sock

"""What one client of HTTP/1.1 sends: read on the pump, and no further ahead than there is use for.

Laws:

- The parser gets bytes while no whole request waits and, if somebody reads a body bit by bit, while
  little of it waits. What is read beyond that is kept as it is, and is not much.
- Nothing here waits or raises: called by the pump, it tells its owner, who says what is next.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.transport.http1_reader import RequestReader
from imserver.transport.sockets import READ_BYTES

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from imserver.transport.pump import Pump

_BODY_BYTES: Final = 64 * 1024  # that wait for whoever reads a body bit by bit


class Intake:
    """Owner of what was read and not parsed, and of the parser."""

    __slots__ = ("_ahead", "_came", "_pump", "_sock", "_watching", "bitwise", "ended", "reader")

    def __init__(
        self, sock: socket.socket, pump: Pump, header_bytes: int, came: Callable[[], None]
    ) -> None:
        self._sock = sock
        self._pump = pump
        self._came = came  # called when something has come, or the end
        self._ahead = b""  # read, and not parsed yet
        self._watching = False
        self.reader = RequestReader(header_bytes)
        self.bitwise = False  # the first request's body is taken out of it as it comes
        self.ended = False  # the client has said all, or is gone

    @property
    def empty(self) -> bool:
        """Whether nothing waits that was asked."""
        return not (self.reader.requests or self._ahead or self.reader.rest)

    def take_ahead(self) -> bool:
        """Parse what was read ahead; returns whether there was anything."""
        if self.reader.rest:
            self.reader.go_on()
            return True
        data, self._ahead = self._ahead, b""
        if data:
            self.reader.feed(data)
        return bool(data)

    def give_up(self) -> bytes:
        """What came and was not parsed: somebody else goes on with the connection."""
        self.leave()
        return self.reader.rest + self._ahead

    def settle(self) -> None:
        """Read on if there is use for it."""
        if self.ended or not (self._parsing or len(self._ahead) < READ_BYTES):
            self.leave()
        elif not self._watching:
            self._watching = True
            self._pump.watch(self._sock, self._readable)

    def leave(self) -> None:
        """Read no more."""
        if self._watching:
            self._watching = False
            self._pump.leave(self._sock)

    @property
    def _parsing(self) -> bool:
        if self._ahead or self.reader.rest:
            return False
        requests = self.reader.requests
        if not requests:
            return True
        first = requests[0]
        return not first.complete and not (self.bitwise and len(first.body) >= _BODY_BYTES)

    def _readable(self) -> None:
        try:
            data = self._sock.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.ended = True
            self.leave()
        elif self._parsing:
            self.reader.feed(data)
        else:
            self._ahead += data
        self._came()

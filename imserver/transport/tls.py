"""TLS: a certificate that can be renewed, and sockets that the lanes use like plain ones.

Laws:

- A `TlsSocket` waits like a plain non-blocking socket: `recv` and `send` raise `BlockingIOError`
  where only readiness to read, or to write, is lacking. Where TLS would need the other one (a
  client that asks for new keys and does not read) the connection ends: nobody waits for that.
- After `recv` nothing decrypted stays behind, so the readiness of the descriptor says it all. (The
  library reads a record's header, then its body, and never ahead.)
- `send` after a partial one goes on with the same bytes: that is how the outbox sends.
"""

from __future__ import annotations

import errno
import socket
import ssl
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

if TYPE_CHECKING:
    from pathlib import Path

    from typing_extensions import Buffer

HTTP1: Final = "http/1.1"
HTTP2: Final = "h2"
_RECORD_BYTES: Final = 16 * 1024  # RFC 8446 section 5.1
_HANDSHAKE: Final = b"\x16"  # the first byte of a client that speaks TLS (section 5.1 too)


class TlsError(Exception):
    """A certificate or key that cannot be used; the text is one sentence for the operator."""


class TlsSocket(ssl.SSLSocket):
    """A TLS connection that reads and writes like a plain non-blocking socket."""

    _goodbye_said = False

    def recv(self, buflen: int = _RECORD_BYTES, flags: int = 0) -> bytes:
        """Up to `buflen` bytes, or a little more: the whole of a record; none at the end.

        Raises:
            BlockingIOError: nothing has come.
            OSError: the connection is broken.
        """
        if self._goodbye_said:
            return self._drain()
        try:
            data = super().recv(buflen)
            while left := self.pending():
                data += super().recv(left)
        except ssl.SSLWantReadError:
            raise BlockingIOError(errno.EAGAIN, "nothing has come") from None
        except ssl.SSLWantWriteError:
            raise ConnectionAbortedError(errno.ECONNABORTED, "it does not read") from None
        return data

    def _drain(self) -> bytes:
        # What comes now is for nobody: only its end matters, and that needs no TLS any more.
        if super().recv(_RECORD_BYTES):
            raise BlockingIOError(errno.EAGAIN, "nothing that counts has come")
        return b""

    def send(self, data: Buffer, flags: int = 0) -> int:
        """Send what the network takes; returns how many bytes that was.

        Raises:
            BlockingIOError: it took none.
            OSError: the connection is broken.
        """
        if self._goodbye_said:
            raise BrokenPipeError(errno.EPIPE, "goodbye was said")
        view = memoryview(data)
        sent = 0
        try:
            while sent < len(view):  # a record at a time
                sent += super().send(view[sent:])
        except ssl.SSLWantWriteError:
            if not sent:
                raise BlockingIOError(errno.EAGAIN, "the network is full") from None
        except ssl.SSLWantReadError:
            raise ConnectionAbortedError(errno.ECONNABORTED, "it does not write") from None
        return sent

    def shutdown(self, how: int) -> None:
        """Say goodbye (RFC 8446 section 6.1); what still comes is dropped.

        Raises:
            OSError: the connection is broken.
        """
        self._say_goodbye()
        super().shutdown(how)

    def close(self) -> None:
        """Say goodbye, if that was not done, and close."""
        if self.fileno() != -1:
            self._say_goodbye()
        super().close()

    def _say_goodbye(self) -> None:
        if self._goodbye_said:
            return
        self._goodbye_said = True
        # Having said it, the library goes on to read, and may not like what it finds.
        with suppress(OSError, ValueError):
            self.unwrap()


class TlsStream:
    """What `trio.SocketStream` is to a plain socket, as far as the REST lane needs it."""

    def __init__(self, sock: TlsSocket) -> None:
        self.socket = sock

    async def send_all(self, data: Buffer) -> None:
        """Send all.

        Raises:
            BrokenResourceError, ClosedResourceError: the connection is gone.
        """
        await trio.lowlevel.checkpoint()
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.socket)
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from None

    async def receive_some(self, max_bytes: int) -> bytes:
        """The next bytes, none at the end.

        Raises:
            BrokenResourceError, ClosedResourceError: the connection is gone.
        """
        while True:
            self._check_open()
            await trio.lowlevel.wait_readable(self.socket)
            try:
                return self.socket.recv(max_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                raise trio.BrokenResourceError(str(error)) from None

    async def send_eof(self) -> None:
        """Say goodbye; does not wait."""
        self._check_open()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)

    async def aclose(self) -> None:
        """Say goodbye, if that was not done, and close; does not wait."""
        self.close()

    def close(self) -> None:
        """Close at once; whoever waits for it gets `ClosedResourceError`."""
        if self.socket.fileno() != -1:
            trio.lowlevel.notify_closing(self.socket)
            self.socket.close()

    def _check_open(self) -> None:
        if self.socket.fileno() == -1:
            raise trio.ClosedResourceError


class Certificate:
    """A certificate with its key, in PEM files. Owner of what new handshakes use."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """Read the files.

        Raises:
            TlsError: they cannot be used.
        """
        self._certificate = certificate
        self._key = key
        self._context = self._read()

    def reload(self) -> None:
        """Read the files again; where they cannot be used, what was read before stays.

        Raises:
            TlsError: they cannot be used.
        """
        self._context = self._read()

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.options |= ssl.OP_NO_RENEGOTIATION
        context.set_alpn_protocols([HTTP2, HTTP1])  # RFC 7301
        context.sslsocket_class = TlsSocket
        for path in (self._certificate, self._key):
            try:
                path.open("rb").close()
            except OSError as error:
                raise TlsError(f"{path} cannot be read: {error.strerror}") from None
        try:
            context.load_cert_chain(self._certificate, self._key, _no_password)
        except (ssl.SSLError, ValueError) as error:
            reason = getattr(error, "reason", None) or "they are not what they should be"
            words = str(reason).replace("_", " ").lower()
            raise TlsError(
                f"{self._certificate} and {self._key} are no certificate and its key: {words}"
            ) from None
        return context

    def wrap(self, sock: socket.socket) -> TlsSocket:
        """Take over an accepted socket, whose handshake is still to come."""
        wrapped = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        assert isinstance(wrapped, TlsSocket)
        return wrapped


def _no_password() -> str:
    # Without this the library would ask on the terminal.
    raise ValueError("encrypted")


async def speaks_tls(sock: socket.socket) -> bool | None:
    """Whether a client begins as TLS does; None if it leaves without a word."""
    await trio.lowlevel.wait_readable(sock)
    first = sock.recv(1, socket.MSG_PEEK)
    return first == _HANDSHAKE if first else None


async def shake_hands(sock: TlsSocket) -> None:
    """Do the handshake.

    Raises:
        OSError: it fails.
    """
    while True:
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(sock)
        else:
            return

"""Where connections come in: TCP addresses, a Unix socket for a proxy, and the control socket."""

from __future__ import annotations

import errno
import os
import pwd
import socket
import stat
import struct
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import trio

from imserver.transport.tls import Certificate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BACKLOG: Final = 1024  # connections that the kernel holds for us
# What the kernel holds for one slow client; it doubles it.
_SEND_BUFFER_BYTES: Final = 128 * 1024
_CREDENTIALS: Final = struct.Struct("iII")  # process, user, group: unix(7), SO_PEERCRED
_LONGEST_ADDRESS: Final = 107  # bytes of a Unix socket's path: unix(7), without the NUL


class ListenError(OSError):
    """An address that cannot be had."""

    def __init__(self, where: str, error: OSError) -> None:
        super().__init__(error.errno, error.strerror or str(error))
        self.where = where  # the address, in words

    def __str__(self) -> str:
        """One sentence for the operator."""
        return f"cannot listen on {self.where}: {self.strerror}"


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that accepts connections."""

    sock: socket.socket
    operator: bool = False  # only the server's own account can reach it
    certificate: Certificate | None = None  # None: it does not speak TLS


def listen_tcp(host: str, port: int, certificate: Certificate | None) -> list[Listener]:
    """Listeners on every address that `host` names; port 0 picks one for all.

    With a certificate they speak TLS, and nothing else.

    Raises:
        ListenError: an address cannot be had.
    """
    try:
        return [Listener(sock, certificate=certificate) for sock in _bind_tcp(host, port)]
    except OSError as error:
        raise ListenError(f"{host} port {port}", error) from None


def _addresses(host: str, port: int) -> list[Any]:
    numeric = socket.AI_PASSIVE | socket.AI_NUMERICHOST
    with suppress(socket.gaierror):
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    # Only a name may depend on what addresses this machine has: 127.0.0.1 would not be found on
    # one whose other address is of IPv6.
    named = socket.AI_PASSIVE | socket.AI_ADDRCONFIG
    return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=named)


def _bind_tcp(host: str, port: int) -> list[socket.socket]:
    try:
        found = _addresses(host, port)
    except UnicodeError:  # too long, or an empty part
        raise OSError(f"{host} is no host's name") from None
    sockets: list[socket.socket] = []
    try:
        for family, kind, protocol, _, address in dict.fromkeys(found):
            if sockets and port == 0:
                address = (address[0], sockets[0].getsockname()[1], *address[2:])
            sock = socket.socket(family, kind, protocol)
            sockets.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
            sock.bind(address)
            sock.setblocking(False)
            sock.listen(BACKLOG)
    except BaseException:
        for sock in sockets:
            sock.close()
        raise
    return sockets


@contextmanager
def listening_unix(path: Path, mode: int, *, operator: bool = False) -> Iterator[Listener]:
    """A listener on a Unix socket, which is in the file system while the context lasts.

    A socket there that nobody listens on was left behind, and is replaced.

    Raises:
        ListenError: it cannot be had, because somebody listens on it or something else is there.
    """
    try:
        sock, identity = _bind_unix(path, mode)
    except OSError as error:
        raise ListenError(str(path), error) from None
    try:
        with sock:
            yield Listener(sock, operator)
    finally:
        with suppress(OSError):
            if _identity(path) == identity:  # not another's by now
                path.unlink()


def _bind_unix(path: Path, mode: int) -> tuple[socket.socket, tuple[int, int]]:
    _clear(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with unix_address(path) as address:
            sock.bind(address)
        try:
            path.chmod(mode)  # nobody can connect before it listens
            sock.setblocking(False)
            sock.listen(BACKLOG)
            return sock, _identity(path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
    except BaseException:
        sock.close()
        raise


def _clear(path: Path) -> None:
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise FileExistsError(errno.EEXIST, "something that is no socket is there")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, unix_address(path) as address:
        probe.setblocking(False)  # a full backlog is a sign of life too
        try:
            probe.connect(address)
        except ConnectionRefusedError:
            path.unlink()
            return
        except BlockingIOError:
            pass
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def _identity(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


@contextmanager
def unix_address(path: Path) -> Iterator[str]:
    """What to bind or connect a Unix socket to, valid while the context lasts.

    The system takes no more than 107 bytes; a longer path is reached through its folder.

    Raises:
        OSError: the folder is not there, or cannot be entered.
    """
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


async def who_connected(sock: socket.socket) -> str:
    """The name, on this machine, of who connected to a Unix socket; their number if they have none.

    Raises:
        OSError: the socket is not a connected one.
    """
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, uid, _ = _CREDENTIALS.unpack(credentials)
    return await trio.to_thread.run_sync(os_user, uid)  # it may be looked up over a network


def os_user(uid: int) -> str:
    """The name of a user of this machine; their number if they have no name."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)

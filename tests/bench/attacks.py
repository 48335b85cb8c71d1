"""What a hostile user or address sends, for the bench `hostile`; and how to speak to a server."""

from __future__ import annotations

import json
import re
import select
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from imserver.bench.wire import client_frame

if TYPE_CHECKING:
    from collections.abc import Callable

    Address = tuple[str, int]
    Attack = Callable[[Address, float], None]

HOSTILE: Final = "127.0.0.1"
KEY: Final = b"\x01\x02\x03\x04"
PATIENCE: Final = 30.0  # seconds for an answer
_PING: Final = 0x89
_MANY: Final = 19_990  # members


# -- speaking to a server ------------------------------------------------------------------------


def connect(address: Address, source: str) -> socket.socket:
    return socket.create_connection(address, PATIENCE, (source, 0))


def frame(kind: str, **data: Any) -> bytes:
    return client_frame(json.dumps({"type": kind, "data": data}).encode(), KEY)


def websocket(address: Address, source: str, user: str | None = None) -> socket.socket:
    """An open WebSocket, logged in if a user is named."""
    sock = connect(address, source)
    sock.sendall(
        b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\r\n"
    )
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(4096)
        if not data:
            raise ConnectionError("no handshake")
        head += data
    if b" 101 " not in head:
        raise ConnectionError(head[:60])
    if user is not None:
        sock.sendall(frame("login", user_id=user))
        sock.recv(4096)
    return sock


def call(
    sock: socket.socket, method: str, path: str, user: str = "", body: Any = None
) -> tuple[int, bytes]:
    """One REST request on a connection that is kept."""
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n"
    if user:
        head += f"X-User-ID: {user}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    sock.sendall(head.encode() + data)
    answer = b""
    while b"\r\n\r\n" not in answer:
        piece = sock.recv(65536)
        if not piece:
            raise ConnectionError("closed")
        answer += piece
    head_bytes, _, rest = answer.partition(b"\r\n\r\n")
    found = re.search(rb"content-length: (\d+)", head_bytes.lower())
    length = int(found[1]) if found else 0
    while len(rest) < length:
        rest += sock.recv(1 << 20)
    return int(head_bytes.split()[1]), rest


def in_threads(count: int, work: Callable[[int], None]) -> None:
    """Do some work in so many threads, and forget those of them that fail."""

    def one(number: int) -> None:
        with suppress(OSError, ValueError):
            work(number)

    threads = [threading.Thread(target=one, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def repeated(address: Address, seconds: float, count: int, once: Callable[..., None]) -> None:
    """From so many kept connections, do something again and again."""
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        turn = 0
        while time.monotonic() < end:
            try:
                with connect(address, HOSTILE) as sock:
                    while time.monotonic() < end:
                        once(sock, number, turn)
                        turn += 1
            except OSError:
                time.sleep(0.05)

    in_threads(count, work)


# -- what is sent --------------------------------------------------------------------------------


def names(start: int = 0) -> list[str]:
    return [f"member{number}" for number in range(start, start + _MANY)]


def members(address: Address, seconds: float) -> None:
    """`add_members` with 19,990 users, again and again."""

    def work(number: int) -> None:
        user = f"owner{number}"
        with connect(address, HOSTILE) as sock:
            _, made = call(sock, "POST", "/api/v1/groups", user, {"name": "g", "members": []})
            group = json.loads(made)["group"]["id"]
            call(sock, "POST", f"/api/v1/groups/{group}/members", user, {"members": names()})

    in_threads(3, work)


def intervals(address: Address, seconds: float) -> None:
    """Joins and leaves as fast as they are taken, then one cumulative ack of all of it."""
    end = time.monotonic() + seconds * 0.7
    with connect(address, HOSTILE) as own, websocket(address, HOSTILE, "hopper") as sock:
        group = json.loads(call(own, "POST", "/api/v1/groups", "owner", {"name": "g"})[1])["group"][
            "id"
        ]
        while time.monotonic() < end:
            pair = frame("join_group", group_id=group) + frame("leave_group", group_id=group)
            sock.sendall(pair * 100)
            read_what_came(sock)
        call(own, "POST", f"/api/v1/groups/{group}/join", "hopper", {})
        status, sent = call(
            own, "POST", "/api/v1/messages", "owner", {"group_id": group, "content": "last"}
        )
        if status == 200:
            ack = {"status": "read", "cumulative": True}
            message = json.loads(sent)["message_id"]
            call(own, "POST", f"/api/v1/messages/{message}/ack", "hopper", ack)


def reads(address: Address, seconds: float) -> None:
    """60 times `create_group` of 19,990 at once, then `GET /api/v1/groups` from 60 connections."""
    creation = {"name": "g", "members": names()}

    def create(number: int) -> None:
        with connect(address, HOSTILE) as sock:
            call(sock, "POST", "/api/v1/groups", "owner", creation)

    in_threads(60, create)
    repeated(
        address, seconds, 60, lambda sock, *_: call(sock, "GET", "/api/v1/groups", "owner") and None
    )


def read_what_came(sock: socket.socket) -> None:
    while select.select([sock], (), (), 0)[0]:
        if not sock.recv(1 << 16):
            raise ConnectionError("closed")


def flooded(data: bytes) -> Attack:
    """The same bytes, over and over, on 100 WebSockets without a login."""

    def flood(address: Address, seconds: float) -> None:
        end = time.monotonic() + seconds

        def work(number: int) -> None:
            while time.monotonic() < end:
                try:
                    with websocket(address, HOSTILE) as sock:
                        sock.settimeout(0.5)
                        while time.monotonic() < end:
                            sock.sendall(data)
                            read_what_came(sock)
                except OSError:
                    time.sleep(0.05)

        in_threads(100, work)

    return flood


def fragments(address: Address, seconds: float) -> None:
    """Messages of 1 MiB in fragments of one byte, never finished, on 20 WebSockets."""
    first, more = client_frame(b'"', KEY, 0x01), client_frame(b"x", KEY, 0x00)
    end = time.monotonic() + seconds

    def work(number: int) -> None:
        with websocket(address, HOSTILE, "splitter") as sock:
            sock.sendall(first)
            for _ in range((1 << 20) // 4096 - 1):
                sock.sendall(more * 4096)
            time.sleep(max(0.0, end - time.monotonic()))

    in_threads(20, work)


def anybody(address: Address, seconds: float) -> None:
    """Sends under another `X-User-ID` each time, from 50 connections."""

    def once(sock: socket.socket, number: int, turn: int) -> None:
        body = {"receiver_id": f"r{turn % 50}", "content": "x" * 1000}
        call(sock, "POST", "/api/v1/messages", f"u{number}-{turn}", body)

    repeated(address, seconds, 50, once)


def health(address: Address, seconds: float) -> None:
    """`GET /health` from 100 connections."""
    repeated(address, seconds, 100, lambda sock, *_: call(sock, "GET", "/health") and None)


def connections(address: Address, seconds: float) -> None:
    """As many connections as are taken, from one address, held open."""
    end = time.monotonic() + seconds
    held = []
    while time.monotonic() < end:
        try:
            held.append(connect(address, HOSTILE))
        except OSError:
            time.sleep(0.01)
    for sock in held:
        sock.close()


def guesses(address: Address, seconds: float) -> None:
    """Wrong passwords for the victim and for others, from 80 connections."""

    def once(sock: socket.socket, number: int, turn: int) -> None:
        body = {"user_id": f"user{number}-{turn}", "password": "not the password"}
        call(sock, "POST", "/api/v1/auth/login", "", body)

    repeated(address, seconds, 80, once)


ROWS: Final[dict[str, Attack]] = {
    "members": members,
    "intervals": intervals,
    "reads": reads,
    "malformed": flooded(client_frame(b"{", KEY) * 500),
    "unknown": flooded(frame("nothing") * 100),
    "pings": flooded(client_frame(b"", KEY, _PING) * 1000),
    "fragments": fragments,
    "anybody": anybody,
    "health": health,
    "connections": connections,
    "guesses": guesses,
}

"""Which paths there are, and what a route outside the operations table looks like.

Nearly every path belongs to an operation and comes from the operations table. What is no JSON in
and JSON out (uploads, downloads, pages) is a `RawRoute`, and the composition root hands a list of
them to `Routes`:

    RawRoute("PATCH", "/files/{file_id}", append, who=Who.USER, budget=Budget.REQUESTS)

    async def append(call: RawCall) -> Answer:
        async for piece in call.body:       # bytes, at most 64 KiB waiting: reading on is the
            await file.write(piece)         # back-pressure
        return Answer(204, headers=(("Upload-Offset", "5"),))

Laws:

- Before a handler is called the route's rules were applied: the names in `Host`, `Origin`, who
  calls (unless `who` is `ANYONE`), and the budget. `call.caller` is the caller.
- A handler runs in its connection's own task (over HTTP/2 in its request's), and is cancelled
  when the server cuts connections off. It may wait as long as it likes.
- An `ApiError` becomes its refusal in JSON, any other exception a 500 and a log record. A body that
  is not read to its end ends an HTTP/1.1 connection after the answer, if much of it is left.
- A body that breaks off in the middle raises `trio.BrokenResourceError` from the iterator: what
  came before may be kept. One that stalls raises `ApiError` (`too_slow`), one longer than
  `most_bytes` `ApiError` (`too_large`).
- An answer's body is bytes, or an async iterable of bytes; with `length` it is sent with a
  `Content-Length`, else in chunks. A client that stops taking it ends the iteration.
- A `HEAD` goes to the route for `HEAD` if there is one, else to that for `GET`, without the body;
  `length` then says what the body would have been, and an iterable is not begun.
- `Answer.headers` replace the default headers of the same name (see `answers`).
- A path's `{name}` is one segment, decoded; `{name*}` at its end is all that is left, at least one
  segment.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

from imserver.service.admission import Budget
from imserver.service.engine import Caller, Operation, Who
from imserver.service.operations import OPERATIONS

if TYPE_CHECKING:
    from imserver.transport.heads import Head

JSON: Final = "application/json"


class Answer(NamedTuple):
    """What a request comes to."""

    status: int
    body: bytes | AsyncIterable[bytes] = b""
    headers: tuple[tuple[str, str], ...] = ()
    length: int | None = None  # of a body that is iterated over, if it is known
    closing: bool = False  # the rest of the request stays unread
    wait: float = 0.0  # seconds before it is sent


class RawCall(NamedTuple):
    """A request of a raw route."""

    caller: Caller
    head: Head
    path: dict[str, str]  # the names in the route's path
    body: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class RawRoute:
    """A path that is no operation's."""

    method: str
    path: str
    handle: Callable[[RawCall], Awaitable[Answer]]
    who: Who = Who.USER  # ANYONE, USER or ADMINISTRATOR
    budget: Budget = Budget.REQUESTS
    before_change: bool = False  # also for users who must change their password first
    most_bytes: int | None = None  # of the body; None: as many as come
    request_headers: tuple[str, ...] = ()  # that pages of other origins may send
    response_headers: tuple[str, ...] = ()  # that they may see


Route = Operation | RawRoute


class Match(NamedTuple):
    """What a path leads to."""

    routes: dict[str, Route]  # by method
    path: dict[str, str]

    def route(self, method: str) -> Route | None:
        """The route of a method."""
        found = self.routes.get(method)
        return self.routes.get("GET") if found is None and method == "HEAD" else found

    @property
    def allowed(self) -> str:
        """What `Allow` says (RFC 9110 section 10.2.1)."""
        also = ("HEAD",) if "GET" in self.routes else ()
        return ", ".join(sorted({*self.routes, *also}))


class _Node:
    __slots__ = ("below", "names", "rest", "routes", "wild")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.wild: _Node | None = None  # any one segment
        self.rest: _Node | None = None  # all segments that are left
        self.routes: dict[str, Route] = {}
        self.names: list[str] = []


class Routes:
    """Owner of the tree of paths."""

    def __init__(self, raw: Iterable[RawRoute] = ()) -> None:
        self._root = _Node()
        self._plain: dict[str, Match] = {}  # paths without names
        for operation in OPERATIONS:
            if operation.rest is not None:
                for path in operation.rest.paths:
                    self._add(operation.rest.method, path, operation)
        for route in raw:
            self._add(route.method, route.path, route)

    def _add(self, method: str, path: str, route: Route) -> None:
        node, names = self._root, []
        for segment in path[1:].split("/"):
            if segment.endswith("*}"):
                node.rest = node.rest or _Node()
                node = node.rest
                names.append(segment[1:-2])
            elif segment.startswith("{"):
                node.wild = node.wild or _Node()
                node = node.wild
                names.append(segment[1:-1])
            else:
                node = node.below.setdefault(segment, _Node())
        if method in node.routes or (node.names and node.names != names):
            raise ValueError(f"{method} {path} is two routes")
        node.routes[method], node.names = route, names
        if not names:
            self._plain[path] = Match(node.routes, {})

    def find(self, head: Head) -> Match | None:
        """What a request's path leads to; a segment that is spelt out comes before a name."""
        if head.path == "*" or head.method == "CONNECT":  # neither names a path
            return None
        plain = self._plain.get(head.path)
        if plain is not None:
            return plain
        segments = head.segments()
        found = _descend(self._root, segments, 0)
        if found is None:
            return None
        node, values = found
        return Match(node.routes, dict(zip(node.names, reversed(values), strict=True)))


def _descend(node: _Node, segments: list[str], place: int) -> tuple[_Node, list[str]] | None:
    """The node of the segments from `place` on, and the values of its names, last first."""
    if place == len(segments):
        return (node, []) if node.routes else None
    segment = segments[place]
    below = node.below.get(segment)
    if below is not None and (found := _descend(below, segments, place + 1)) is not None:
        return found
    if node.wild is not None and segment:
        found = _descend(node.wild, segments, place + 1)
        if found is not None:
            found[1].append(segment)
            return found
    if node.rest is not None and segment:
        return node.rest, ["/".join(segments[place:])]
    return None

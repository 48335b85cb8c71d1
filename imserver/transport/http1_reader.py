"""Takes a client's bytes apart into HTTP/1.1 requests: llhttp (strict), and what it leaves open.

Does no I/O. Laws:

- The end of a body is never a matter of opinion. `Content-Length` with `Transfer-Encoding`, either
  of them twice, another coding than `chunked`, chunks from a client of HTTP/1.0, spaces before a
  colon, bare CR or LF, folded lines: all of these are refused, and nothing behind them is read.
- What is not text of a head or bytes of a body is bounded: a head, the trailers of a body, the
  extensions of a chunk. The bytes of a body are the caller's to bound: it looks after each `feed`.
- After `fault` nothing is taken any more; the requests before it are as good as ever.
- A request that asks for an upgrade has no body; what follows it is `rest` and is not looked at
  until the caller says `go_on`.
"""

from __future__ import annotations

import re
from collections import deque
from typing import Final

from httptools import (
    HttpParserCallbackError,
    HttpParserError,
    HttpParserInvalidMethodError,
    HttpParserInvalidURLError,
    HttpParserUpgrade,
    HttpRequestParser,
)

from imserver.domain.errors import ApiError, Code
from imserver.transport.heads import Head

_MOST_HEADERS: Final = 256
_LINE_BYTES: Final = 4  # of a header: its colon, a space and the end of its line
_REQUEST_LINE: Final = re.compile(rb"[A-Z]{1,32} [!-~]+ HTTP/1\.[01]\r\n")
UNREADABLE: Final = ApiError(Code.INVALID_REQUEST, "This is not an HTTP/1.1 request")
HEAD_TOO_LARGE: Final = ApiError(Code.TOO_LARGE, "The head is too large")


class Unreadable(Exception):
    """Why what comes next is no request."""

    def __init__(self, status: int, error: ApiError) -> None:
        self.status = status  # of HTTP
        self.error = error


def _fault_of(error: HttpParserError, data: bytes) -> Unreadable:
    """What is wrong, where `data` begins with a request's line and llhttp does not know a part."""
    if _REQUEST_LINE.match(data):
        if isinstance(error, HttpParserInvalidMethodError):
            return Unreadable(405, ApiError(Code.METHOD_NOT_ALLOWED))
        if isinstance(error, HttpParserInvalidURLError):
            return Unreadable(404, ApiError(Code.NOT_FOUND, "There is no such path"))
    return Unreadable(400, UNREADABLE)


class IncomingRequest:
    """One request as it comes."""

    __slots__ = ("body", "complete", "discarded", "expects", "head", "keep_alive", "length",
                 "minor", "taken", "upgrade")  # fmt: skip

    def __init__(self, head: Head, minor: int, *, keep_alive: bool, upgrade: bool) -> None:
        self.head = head
        self.minor = minor  # HTTP/1.0 or 1.1
        self.keep_alive = keep_alive  # the client would like to ask again
        self.upgrade = upgrade
        self.length: int | None = None  # of the body; None: not said, or it comes in chunks
        self.expects = False  # the client waits for `100 Continue`
        self.body = bytearray()  # what came of it and was not taken yet
        self.taken = 0  # bytes of the body so far
        self.discarded = False  # nobody wants the body
        self.complete = False


class RequestReader:
    """Owner of the requests of one connection that nobody has taken yet."""

    __slots__ = ("_fault", "_head", "_head_size", "_header_bytes", "_incoming", "_parser",
                 "_since", "_target", "begun", "fault", "requests", "rest")  # fmt: skip

    def __init__(self, header_bytes: int) -> None:
        self._header_bytes = header_bytes
        self._parser = HttpRequestParser(self)
        self.requests: deque[IncomingRequest] = deque()  # the last one may be incomplete
        self.fault: Unreadable | None = None
        self.begun = False  # part of a head has come
        self.rest = b""  # what came behind a request for an upgrade
        self._fault: Unreadable | None = None  # raised within the parser
        self._incoming: IncomingRequest | None = None  # whose body is being read
        self._head: Head | None = None
        self._target = b""
        self._head_size = 0
        self._since = 0  # bytes since the last that belonged to a body, or ended something

    def feed(self, data: bytes) -> None:
        """Take bytes; what they complete is in `requests`."""
        if self.fault is not None:
            return
        since = self._since
        self._since = -1
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self.rest = data[upgrade.args[0] :]
            self._since = 0
            return
        except HttpParserCallbackError:
            if self._fault is None:
                raise
            self.fault = self._fault
            return
        except HttpParserError as error:
            self.fault = _fault_of(error, data)
            return
        self._since = since + len(data) if self._since < 0 else self._since
        if self._since > self._header_bytes:
            self.fault = Unreadable(431, HEAD_TOO_LARGE)

    def go_on(self) -> None:
        """Ignore that an upgrade was asked for: what follows is another request."""
        rest, self.rest = self.rest, b""
        if rest:
            self.feed(rest)

    def close(self) -> None:
        """Let go of the parser, which holds on to this."""
        del self._parser

    # -- called by the parser -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        self.begun = True
        self._target = b""
        self._head = None
        self._head_size = 0

    def on_url(self, piece: bytes) -> None:
        self._target += piece

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._incoming is not None:
            return  # a trailer: nobody asked for any
        head = self._head
        if head is None:
            head = self._begin_head()
        self._head_size += len(name) + len(value) + _LINE_BYTES
        head.add(name.lower(), value.rstrip(b" \t"))

    def _begin_head(self) -> Head:
        self._head_size = len(self._target)
        self._head = Head(self._parser.get_method().decode("ascii"), self._target)
        return self._head

    def on_headers_complete(self) -> None:
        parser = self._parser
        head = self._begin_head() if self._head is None else self._head
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise self._broken(400, UNREADABLE)
        if self._head_size > self._header_bytes or head.count > _MOST_HEADERS:
            raise self._broken(431, HEAD_TOO_LARGE)
        minor = int(version[2])
        hosts = len(head.values("Host"))
        if hosts > 1 or (minor and not hosts):  # RFC 9112 section 3.2
            raise self._broken(400, UNREADABLE)
        keep_alive = minor == 1 or "keep-alive" in (head.text("Connection") or "").lower()
        incoming = IncomingRequest(
            head,
            minor,
            keep_alive=keep_alive and parser.should_keep_alive(),
            upgrade=parser.should_upgrade(),
        )
        length = head.text("Content-Length")
        coding = head.text("Transfer-Encoding")
        if coding is not None and (not minor or coding.lower() != "chunked"):
            raise self._broken(400, UNREADABLE)
        if length is not None:
            incoming.length = int(length)
        if incoming.upgrade and (coding is not None or incoming.length):
            raise self._broken(400, UNREADABLE)
        if minor and (coding is not None or incoming.length):
            incoming.expects = (head.text("Expect") or "").lower() == "100-continue"
        self._incoming = incoming
        self.begun = False
        self._since = 0
        self.requests.append(incoming)

    def _broken(self, status: int, error: ApiError) -> Unreadable:
        self._fault = Unreadable(status, error)
        return self._fault

    def on_body(self, piece: bytes) -> None:
        incoming = self._incoming
        assert incoming is not None
        incoming.taken += len(piece)
        if not incoming.discarded:
            incoming.body += piece
        self._since = 0

    def on_message_complete(self) -> None:
        assert self._incoming is not None
        self._incoming.complete = True
        self._incoming = None
        self._head = None
        self._since = 0

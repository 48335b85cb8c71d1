"""Where a request ends: what proxies and servers have disagreed on, and what is refused for it.

Each row is one request with `SECOND` right behind it, as an attacker smuggles it. A row is taken
(answered 200 both, and each with its own body) or refused: one answer of 400, and the end of the
connection, so that no byte behind it is ever taken for a request.
"""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.support import running_server
from tests.transport.raw import open_raw

BODY = b'{"receiver_id":"bob","content":"one"}'
LENGTH = len(BODY)
CHUNKS = b"%x\r\n%b\r\n0\r\n\r\n" % (LENGTH, BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
SECOND = b"GET /api/v1/messages/offline HTTP/1.1\r\nHost: localhost\r\nX-User-ID: carol\r\n\r\n"
TAKEN, REFUSED = True, False


def post(framing: bytes, body: bytes, *, line: bytes = b"POST /api/v1/messages HTTP/1.1") -> bytes:
    return b"%b\r\nHost: localhost\r\nX-User-ID: alice\r\n%b\r\n%b" % (line, framing, body)


def length(value: bytes) -> bytes:
    return b"Content-Length:%b\r\n" % value


GOOD = b" %d" % LENGTH
ROWS = {
    "a length": (post(length(GOOD), BODY), TAKEN),
    "no space before a length": (post(length(b"%d" % LENGTH), BODY), TAKEN),
    "a tab before a length": (post(length(b"\t%d" % LENGTH), BODY), TAKEN),
    "space behind a length": (post(length(b" %d \t" % LENGTH), BODY), TAKEN),
    "zeros before a length": (post(length(b" 00%d" % LENGTH), BODY), TAKEN),
    "a length with a plus": (post(length(b" +%d" % LENGTH), BODY), REFUSED),
    "a length below zero": (post(length(b" -1"), BODY), REFUSED),
    "a length in hexadecimal": (post(length(b" 0x%x" % LENGTH), BODY), REFUSED),
    "a length with a fraction": (post(length(b" %d.0" % LENGTH), BODY), REFUSED),
    "an empty length": (post(length(b""), BODY), REFUSED),
    "a length of two numbers": (post(length(b" %d %d" % (LENGTH, LENGTH)), BODY), REFUSED),
    "a list of equal lengths": (post(length(b" %d, %d" % (LENGTH, LENGTH)), BODY), REFUSED),
    "a length of too many digits": (post(length(b" " + b"9" * 30), BODY), REFUSED),
    "a length in Arabic digits": (post(length(" ٣٧".encode()), BODY), REFUSED),
    "two equal lengths": (post(length(GOOD) * 2, BODY), REFUSED),
    "two other lengths": (post(length(GOOD) + length(b" 0"), BODY), REFUSED),
    "space before a length's colon": (post(b"Content-Length :%b\r\n" % GOOD, BODY), REFUSED),
    "a folded length": (post(b"Content-Length:\r\n%b\r\n" % GOOD, BODY), REFUSED),
    "a length behind a fold": (post(b"X: y\r\n Content-Length:%b\r\n" % GOOD, BODY), REFUSED),
    "a length with a NUL": (post(length(GOOD + b"\0"), BODY), REFUSED),
    "an underscore in the name": (post(length(GOOD) + b"Content_Length: 0\r\n", BODY), TAKEN),
    "chunks": (post(CHUNKED, CHUNKS), TAKEN),
    "chunks in capitals": (post(b"TRANSFER-ENCODING: CHUNKED\r\n", CHUNKS), TAKEN),
    "a tab before the coding": (post(b"Transfer-Encoding:\tchunked\r\n", CHUNKS), TAKEN),
    "space behind the coding": (post(b"Transfer-Encoding: chunked \r\n", CHUNKS), TAKEN),
    "a length, then chunks": (post(length(GOOD) + CHUNKED, CHUNKS), REFUSED),
    "chunks, then a length": (post(CHUNKED + length(GOOD), CHUNKS), REFUSED),
    "chunks and a length of zero": (post(CHUNKED + length(b" 0"), CHUNKS), REFUSED),
    "chunked twice": (post(CHUNKED * 2, CHUNKS), REFUSED),
    "chunked, chunked": (post(b"Transfer-Encoding: chunked, chunked\r\n", CHUNKS), REFUSED),
    "chunked and identity": (post(CHUNKED + b"Transfer-Encoding: identity\r\n", CHUNKS), REFUSED),
    "identity": (post(b"Transfer-Encoding: identity\r\n" + length(GOOD), BODY), REFUSED),
    "gzip, chunked": (post(b"Transfer-Encoding: gzip, chunked\r\n", CHUNKS), REFUSED),
    "chunked, gzip": (post(b"Transfer-Encoding: chunked, gzip\r\n", CHUNKS), REFUSED),
    "xchunked": (post(b"Transfer-Encoding: xchunked\r\n", CHUNKS), REFUSED),
    "chunked in quotes": (post(b'Transfer-Encoding: "chunked"\r\n', CHUNKS), REFUSED),
    "chunked with a parameter": (post(b"Transfer-Encoding: chunked;q=1\r\n", CHUNKS), REFUSED),
    "an empty coding": (post(b"Transfer-Encoding:\r\n", CHUNKS), REFUSED),
    "a vertical tab before it": (post(b"Transfer-Encoding: \x0bchunked\r\n", CHUNKS), REFUSED),
    "space before its colon": (post(b"Transfer-Encoding : chunked\r\n", CHUNKS), REFUSED),
    "a folded coding": (post(b"Transfer-Encoding:\r\n chunked\r\n", CHUNKS), REFUSED),
    "chunks of HTTP/1.0": (
        post(CHUNKED, CHUNKS, line=b"POST /api/v1/messages HTTP/1.0"),
        REFUSED,
    ),
    "a chunk with an extension": (
        post(CHUNKED, b'%x;a="b"\r\n%b\r\n0\r\n\r\n' % (LENGTH, BODY)),
        TAKEN,
    ),
    "trailers": (post(CHUNKED, CHUNKS[:-2] + b"X-User-ID: mallory\r\n\r\n"), TAKEN),
    "a length among the trailers": (post(CHUNKED, CHUNKS[:-2] + length(b" 5") + b"\r\n"), REFUSED),
    "a chunk's size with a plus": (post(CHUNKED, b"+" + CHUNKS), REFUSED),
    "a chunk's size with 0x": (post(CHUNKED, b"0x" + CHUNKS), REFUSED),
    "space behind a chunk's size": (
        post(CHUNKED, b"%x \r\n%b\r\n0\r\n\r\n" % (LENGTH, BODY)),
        REFUSED,
    ),
    "a chunk's size that overflows": (post(CHUNKED, b"1" + b"0" * 16 + CHUNKS), REFUSED),
    "a chunk that is longer than it says": (
        post(CHUNKED, b"%x\r\n%b\r\n0\r\n\r\n" % (LENGTH - 1, BODY)),
        REFUSED,
    ),
    "LF behind a chunk's size": (post(CHUNKED, b"%x\n%b\r\n0\r\n\r\n" % (LENGTH, BODY)), REFUSED),
    "LF behind a chunk": (post(CHUNKED, b"%x\r\n%b\n0\r\n\r\n" % (LENGTH, BODY)), REFUSED),
    "LF in a chunk's extension": (
        post(CHUNKED, b"%x;a\n%b\r\n0\r\n\r\n" % (LENGTH, BODY)),
        REFUSED,
    ),
    "LF behind a header": (post(length(GOOD)[:-2] + b"\n", BODY), REFUSED),
    "LF behind the head": (post(length(GOOD), BODY).replace(b"\r\n\r\n", b"\r\n\n"), REFUSED),
    "CR alone behind a header": (post(b"X: y\rContent-Length: 0\r\n", BODY), REFUSED),
    "LF in a value": (post(b"X: y\nContent-Length: 0\r\n" + length(GOOD), BODY), REFUSED),
    "space before the first header": (
        post(length(GOOD), BODY).replace(b"\r\nHost", b"\r\n Host"),
        REFUSED,
    ),
    "an empty line before the request": (b"\r\n" + post(length(GOOD), BODY), TAKEN),
    "no Host": (post(length(GOOD), BODY).replace(b"Host: localhost\r\n", b""), REFUSED),
    "two Hosts": (post(b"Host: localhost\r\n" + length(GOOD), BODY), REFUSED),
    "a body with an upgrade": (
        post(b"Connection: Upgrade\r\nUpgrade: h2c\r\n" + length(GOOD), BODY),
        REFUSED,
    ),
    "another version": (
        post(length(GOOD), BODY, line=b"POST /api/v1/messages HTTP/1.2"),
        REFUSED,
    ),
    "a version in small letters": (
        post(length(GOOD), BODY, line=b"POST /api/v1/messages http/1.1"),
        REFUSED,
    ),
}
assert len(ROWS) >= 43


@pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
@pytest.mark.parametrize("name", ROWS)
async def test_framing(name: str, first: bool) -> None:
    request, taken = ROWS[name]
    async with running_server() as server, open_raw(server) as raw:
        if not first:
            await raw.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await raw.answer())[0] == 200
        await raw.send(request + SECOND)
        status, headers, body = await raw.answer()
        if taken:
            assert status == 200, body
            message = json.loads(body)["message"]
            assert (message["sender_id"], message["content"]) == ("alice", "one")
            status, _, body = await raw.answer()
            assert (status, json.loads(body)) == (200, {"messages": [], "has_more": False})
            return
        assert (status, headers[b"connection"]) == (400, b"close"), body
        assert json.loads(body)["code"] == "invalid_request"
        assert len(headers[b"x-request-id"]) == 32
        await raw.end()


@pytest.mark.parametrize("name", [name for name, row in ROWS.items() if row[1]])
async def test_what_is_taken_is_taken_byte_by_byte_too(name: str) -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send_bytewise(ROWS[name][0])
        assert (await raw.answer())[0] == 200


@pytest.mark.parametrize("what", ["head", "name", "trailers", "extension", "empty lines"])
async def test_what_never_ends_is_refused_before_it_fills_the_memory(what: str) -> None:
    begin, more = {
        "head": (b"GET /health HTTP/1.1\r\n", b"X: " + b"x" * 90 + b"\r\n"),
        "name": (b"GET /health HTTP/1.1\r\n", b"x" * 100),
        "trailers": (post(CHUNKED, b"0\r\n"), b"X: " + b"x" * 90 + b"\r\n"),
        "extension": (post(CHUNKED, b"1;"), b"x" * 100),
        "empty lines": (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\r\n" * 50),
    }[what]
    async with (
        running_server() as server,
        open_raw(server) as raw,
        trio.open_nursery() as sending,
    ):

        async def send_for_ever() -> None:
            with suppress(trio.BrokenResourceError):
                while True:
                    await raw.stream.send_all(more * 100)

        await raw.send(begin)
        sending.start_soon(send_for_ever)
        if what == "empty lines":
            assert (await raw.answer())[0] == 200
        status, headers, body = await raw.answer()
        assert (status, headers[b"connection"]) in ((431, b"close"), (413, b"close"))
        assert json.loads(body)["code"] == "too_large"
        sending.cancel_scope.cancel()


async def test_a_body_in_pieces_of_one_byte_is_one_body() -> None:
    text = b'{"receiver_id":"bob","content":"%b"}' % (b"x" * 60_000)
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n"
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(post(CHUNKED, chunks))
        status, _, body = await raw.answer()
        assert status == 200
        assert len(json.loads(body)["message"]["content"]) == 60_000
        await wait_all_tasks_blocked()

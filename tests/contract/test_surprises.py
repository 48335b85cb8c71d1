"""Whatever is asked, and however oddly: an answer of the catalogue, no defect, no hang, no HTML."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis import given, settings

from imserver.domain.errors import CATALOGUE, Code
from imserver.service.operations import OPERATIONS
from tests.contract.api import PATHS
from tests.support import login, rest, running_server
from tests.transport.raw import open_raw

if TYPE_CHECKING:
    from imserver import Server

SEND = b'{"receiver_id":"bob","content":"hello"}'
OFFLINE = b"/api/v1/messages/offline"


def request(target: bytes, *headers: bytes, method: bytes = b"GET", body: bytes = b"") -> bytes:
    """A request, written by hand; says how long its body is, where it has one."""
    lines = [b"%b %b HTTP/1.1" % (method, target), b"Host: localhost", *headers]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def post(body: bytes, *headers: bytes) -> bytes:
    """A send as Alice."""
    return request(b"/api/v1/messages", b"X-User-ID: alice", *headers, method=b"POST", body=body)


ALICE = b"X-User-ID: alice"

# What is written to the socket, and the status with which it is answered.
ODD_REQUESTS = {
    "an encoded letter": (request(b"/%68ealth"), 200),
    "an absolute target": (request(b"http://example.org:99/health?x"), 200),
    "an absolute target elsewhere": (request(b"http://example.org/nothing"), 404),
    "a broken absolute target": (request(b"http://[/nothing"), 404),
    "no path": (request(b"?x"), 404),
    "an asterisk": (request(b"*", method=b"OPTIONS"), 404),
    "an unknown method": (request(b"/health", method=b"BREW"), 405),
    "CONNECT": (request(b"example.org:443", method=b"CONNECT"), 404),
    "dots": (request(b"/api/v1/messages/../../../etc/passwd", ALICE), 404),
    "encoded dots": (request(b"/api/v1/messages/%2e%2e", ALICE), 404),
    "an encoded slash": (request(b"/api/v1/messages/a%2Fb", ALICE), 404),
    "an encoded NUL": (request(b"/api/v1/messages/%00", ALICE), 404),
    "bytes that are no UTF-8": (request(b"/api/v1/groups/%ff%fe", ALICE), 404),
    "a broken escape": (request(b"/api/v1/groups/%zz", ALICE), 404),
    "a long id": (request(b"/api/v1/groups/" + b"g" * 8000, ALICE), 404),
    "a fragment": (request(b"/health#x"), 404),
    "many parameters": (request(OFFLINE + b"?" + b"a=1&" * 1000, ALICE), 200),
    "a parameter that is no UTF-8": (request(OFFLINE + b"?last_message_id=%ff", ALICE), 400),
    "a parameter with NUL": (request(OFFLINE + b"?limit=%00", ALICE), 400),
    "a parameter twice": (request(OFFLINE + b"?limit=1&limit=0", ALICE), 200),
    "an id of spaces": (request(OFFLINE, b"X-User-ID:    "), 401),
    "an id with a tab": (request(OFFLINE, b"X-User-ID: a\tb"), 400),
    "a long user id": (request(OFFLINE, b"X-User-ID: " + b"x" * 20_000), 400),
    "an id in UTF-8": (request(OFFLINE, "X-User-ID: 张三".encode()), 200),
    "an id in GBK": (request(OFFLINE, "X-User-ID: 张三".encode("gbk")), 400),
    "a surrogate in UTF-8": (request(OFFLINE, b"X-User-ID: \xed\xa0\x80"), 400),
    "a body with GET": (request(b"/health", body=SEND), 200),
    "a content type of nonsense": (post(SEND, b"Content-Type: ;;;"), 200),
    "UTF-16": (post(SEND.decode().encode("utf-16"), b"Content-Type: application/json"), 400),
    "a body in another encoding": (post(SEND, b"Content-Encoding: gzip"), 200),
    "a bad key": (post(SEND, b"Idempotency-Key: \xff"), 400),
    "numbers beyond measure": (post(SEND[:-1] + b',"x":1e999999,"y":' + b"9" * 5000 + b"}"), 200),
    "a duplicate field": (post(SEND[:-1] + b',"content":""}'), 400),
    "an upgrade elsewhere": (
        request(
            b"/api/v1/stats",
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
        400,
    ),
}  # fmt: skip

# What is no HTTP at all: refused by the codec before anyone could ask for JSON.
NO_REQUESTS = {
    "no request": b"hello\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "a header without a colon": b"GET /health HTTP/1.1\r\nHost: localhost\r\nnonsense\r\n\r\n",
    "a header with NUL": request(OFFLINE, b"X-User-ID: a\x00b"),
    "a space in the target": request(b"/a b"),
    "a target that is no ASCII": request("/群".encode()),
    "two lengths": post(SEND, b"Content-Length: 7"),
    "a negative length": request(b"/api/v1/messages", b"Content-Length: -1", method=b"POST"),
    "broken chunks": request(b"/api/v1/messages", ALICE, b"Transfer-Encoding: chunked",
                             method=b"POST") + b"zzz\r\n",
}  # fmt: skip


async def answer_to(server: Server, data: bytes) -> tuple[int, dict[bytes, bytes], bytes]:
    """The answer to whatever is written on a connection of its own."""
    async with open_raw(server) as raw:
        await raw.send(data)
        return await raw.answer()


async def test_odd_requests_have_answers_in_json() -> None:
    async with running_server() as server:
        for oddity, (data, expected) in ODD_REQUESTS.items():
            status, headers, body = await answer_to(server, data)
            assert status == expected, (oddity, status, body)
            assert headers[b"content-type"] == b"application/json", oddity
            answer = json.loads(body)
            if status != 200:
                assert list(answer) == ["error", "code"], oddity
                assert CATALOGUE[Code(answer["code"])].status == status, oddity
        assert await answers_as_ever(server)


async def test_what_is_no_http_is_refused() -> None:
    async with running_server() as server:
        for oddity, data in NO_REQUESTS.items():
            status, headers, body = await answer_to(server, data)
            assert status == 400, oddity
            assert body == b"" or headers[b"content-type"] == b"application/json", oddity
        assert await answers_as_ever(server)


async def answers_as_ever(server: Server) -> bool:
    """Whether the server still does what it is for."""
    async with rest(server, "alice") as alice, login(server, "bob") as bob:
        sent = await alice.post("/api/v1/messages", json.loads(SEND))
        return (await bob.push())["data"] == sent["message"]


# -- anything at all --------------------------------------------------------------------------

# Strings as they are found in the wild: each other's fields, ids, edges, and noise.
STRINGS = st.one_of(
    st.sampled_from(
        ["", "alice", "bob", "system", "msg_1", "msg_0", "msg_9223372036854775807", "text", "read",
         "delivered", "group_1", "optional_group_id", "\u0000", "x" * 65, "😀" * 70, "\u202e"]
    ),
    st.text(max_size=8),
)  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | STRINGS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3),
    max_leaves=6,
)
FIELDS = sorted({name for operation in OPERATIONS for name in operation.request.__struct_fields__})
REQUESTS = st.lists(
    st.tuples(
        st.sampled_from([operation.ws for operation in OPERATIONS if operation.ws]),
        st.dictionaries(st.sampled_from(FIELDS), STRINGS | VALUES, max_size=4) | VALUES,
    ),
    min_size=1,
    max_size=60,
)
ANYTHING = settings(max_examples=20, database=None)


@ANYTHING
@given(REQUESTS)
async def test_any_frame_has_one_answer_and_none_is_a_defect(
    requests: list[tuple[str, Any]],
) -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for number, (kind, data) in enumerate(requests):
            answer = await alice.ask(kind, data, message_id=str(number))
            assert answer["message_id"] == str(number)
            assert answer["type"] == kind
            assert answer["data"].get("code") not in ("internal", "unavailable"), (kind, data)
        await alice.call("heartbeat")


@ANYTHING
@given(REQUESTS)
async def test_any_call_has_an_answer_and_none_is_a_defect(
    requests: list[tuple[str, Any]],
) -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        for kind, data in requests:
            if kind not in PATHS:
                continue
            method, path = PATHS[kind]
            path = path.format(
                message_id="msg_1", group_id="group_1", user_id="bob", token_id="token_1"
            )
            body = json.dumps(data).encode() if method == "POST" else None
            answer = await alice.request(method, path, content=body)
            assert answer.status_code < 500, (kind, data)
            assert answer.headers["content-type"] == "application/json"
            assert (answer.status_code == 200) == ("code" not in answer.json())


@ANYTHING
@given(st.lists(st.tuples(st.sampled_from(["limit", "last_message_id", "include_own"]), STRINGS)))
async def test_any_query_has_an_answer_and_none_is_a_defect(
    parameters: list[tuple[str, str]],
) -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        answer = await alice.request("GET", OFFLINE.decode(), params=parameters)
        assert answer.status_code in (200, 400, 409)
        assert answer.headers["content-type"] == "application/json"

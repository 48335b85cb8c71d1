"""REST over connections that are kept, hurried, cut short or abused."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from urllib.parse import quote

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from imserver.config import Limits, Timeouts
from tests.support import login, rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import open_raw


def get(path: str, user_id: str = "alice") -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nX-User-ID: {user_id}\r\n\r\n".encode()


def post_head(path: str, *headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", "X-User-ID: alice", *headers]
    return "\r\n".join([*lines, "", ""]).encode()


def send(content: str) -> bytes:
    body = json.dumps({"receiver_id": "bob", "content": content}).encode()
    return post_head("/api/v1/messages", f"Content-Length: {len(body)}") + body


async def test_one_connection_serves_many_requests() -> None:
    async with running_server() as server, open_raw(server) as raw:
        for number in range(20):
            await raw.send(send(f"number {number}"))
            status, _, body = await raw.answer()
            assert status == 200
            assert json.loads(body)["message"]["content"] == f"number {number}"


async def test_pipelined_requests_are_answered_in_order() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(
            b"".join(send(f"number {number}") + get("/no/such/path") for number in range(50))
        )
        for number in range(50):
            status, _, body = await raw.answer()
            assert status == 200
            assert json.loads(body)["message"]["content"] == f"number {number}"
            status, _, body = await raw.answer()
            assert status == 404
            assert json.loads(body)["code"] == "not_found"


async def test_a_request_byte_by_byte() -> None:
    async with running_server() as server, open_raw(server) as raw:
        for _ in range(2):
            await raw.send_bytewise(send("slowly"))
            assert (await raw.answer())[0] == 200


async def test_a_chunked_body() -> None:
    async with running_server() as server, open_raw(server) as raw:
        body = json.dumps({"receiver_id": "bob", "content": "in chunks"}).encode()
        await raw.send(post_head("/api/v1/messages", "Transfer-Encoding: chunked"))
        for start in range(0, len(body), 7):
            chunk = body[start : start + 7]
            await raw.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        await raw.send(b"0\r\n\r\n")
        status, _, answer = await raw.answer()
        assert status == 200
        assert json.loads(answer)["message"]["content"] == "in chunks"
        await raw.send(get("/health"))  # the connection goes on behind it
        assert (await raw.answer())[0] == 200


async def test_a_client_that_waits_for_leave_to_send_its_body_gets_it() -> None:
    async with running_server() as server, open_raw(server) as raw:
        body = json.dumps({"receiver_id": "bob", "content": "may I?"}).encode()
        await raw.send(
            post_head("/api/v1/messages", f"Content-Length: {len(body)}", "Expect: 100-continue")
        )
        assert (await raw.head()).startswith(b"HTTP/1.1 100 ")
        await raw.send(body)
        assert (await raw.answer())[0] == 200


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
async def test_a_body_beyond_the_limit_is_refused_though_it_is_still_being_sent(
    declared: bool,
) -> None:
    limits = Limits(body_bytes=100_000, content_bytes=10_000)
    async with (
        running_server(limits=limits) as server,
        open_raw(server) as raw,
        trio.open_nursery() as nursery,
    ):
        body = b"x" * 3_000_000
        if declared:
            sent = post_head("/api/v1/messages", f"Content-Length: {len(body)}") + body
        else:
            sent = post_head("/api/v1/messages", "Transfer-Encoding: chunked")
            sent += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)

        async def keep_sending() -> None:
            with suppress(trio.BrokenResourceError):  # the server stops listening at some point
                await raw.stream.send_all(sent)

        nursery.start_soon(keep_sending)
        status, headers, answer = await raw.answer()
        assert status == 413
        assert json.loads(answer)["code"] == "too_large"
        assert headers[b"connection"] == b"close"


async def test_a_client_that_sends_all_before_it_looks_learns_it_too() -> None:
    # Closed with bytes unread, the connection would be reset, and that may overtake the answer.
    limits = Limits(body_bytes=100_000, content_bytes=10_000)
    async with running_server(limits=limits) as server:
        for _ in range(5):
            async with open_raw(server) as raw:
                body = b"x" * 3_000_000
                await raw.send(post_head("/api/v1/messages", f"Content-Length: {len(body)}") + body)
                assert (await raw.answer())[0] == 413
                await raw.end()


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    limits = Limits(body_bytes=100_000, content_bytes=99_000)
    async with running_server(limits=limits) as server, open_raw(server) as raw:
        body = json.dumps({"receiver_id": "bob", "content": "fits"}).encode().ljust(100_000)
        await raw.send(post_head("/api/v1/messages", f"Content-Length: {len(body)}") + body)
        assert (await raw.answer())[0] == 200


async def test_a_head_beyond_the_limit_is_refused() -> None:
    async with running_server(limits=Limits(header_bytes=4096)) as server, open_raw(server) as raw:
        await raw.send(post_head("/api/v1/messages", "X-Long: " + "x" * 20_000))
        status, headers, body = await raw.answer()
        assert status == 431
        assert json.loads(body) == {"error": "The head is too large", "code": "too_large"}
        assert headers[b"content-type"] == b"application/json"
        assert len(headers[b"x-request-id"]) == 32


@pytest.mark.parametrize(
    "broken",
    [
        b"GET  /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET /health HTTP/1.1\r\n\r\n",  # without Host
        b"\x16\x03\x01\r\n\r\n",
        post_head("/api/v1/messages", "Content-Length: -1"),
        post_head("/api/v1/messages", "Content-Length: 1", "Content-Length: 2"),
        post_head("/api/v1/messages", "Transfer-Encoding: gzip"),
        post_head("/api/v1/messages", "Transfer-Encoding: chunked") + b"!!\r\n",
    ],
)
async def test_what_is_no_request_is_refused_like_everything_else(broken: bytes) -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(broken)
        status, headers, body = await raw.answer()
        assert status in (400, 501)
        assert json.loads(body)["code"] == "invalid_request"
        assert headers[b"content-type"] == b"application/json"
        assert headers[b"connection"] == b"close"
        assert len(headers[b"x-request-id"]) == 32
        async with rest(server, None) as nobody:
            scraped = (await nobody.request("GET", "/metrics")).text
        assert f'imserver_rest_answers_total{{status="{status}"}} 1.0' in scraped
        assert 'imserver_refusals_total{code="invalid_request",transport="rest"} 1.0' in scraped


async def test_a_head_of_what_is_broken_has_no_body() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(
            b"HEAD /health HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n!!\r\n"
        )
        head = await raw.head()
        assert b" 400 " in head.split(b"\r\n")[0]
        await raw.end()


async def test_half_a_body_and_gone() -> None:
    async with running_server() as server, login(server, "bob") as bob:
        for vanish in (True, False):
            async with open_raw(server) as raw:
                await raw.send(send("never whole")[:-5])
                await wait_all_tasks_blocked()
                if vanish:
                    raw.reset()
        async with rest(server, "alice") as alice:
            await alice.get("/health")
        await bob.no_push()


async def test_an_idle_connection_is_closed_in_time() -> None:
    timeouts = Timeouts(rest_idle=0.2)
    async with running_server(timeouts=timeouts) as server, open_raw(server) as raw:
        for _ in range(3):
            await raw.send(get("/health"))
            assert (await raw.answer())[0] == 200
        await raw.end()


async def test_a_server_that_stood_still_reads_before_it_judges() -> None:
    timeouts = Timeouts(rest_idle=0.3, request_head=0.3, request_body=0.3)
    async with (
        running_server(timeouts=timeouts) as server,
        open_raw(server) as idle,
        open_raw(server) as in_a_head,
        open_raw(server) as in_a_body,
    ):
        whole = send("in time")
        for raw in (idle, in_a_head, in_a_body):
            await raw.send(get("/health"))
            assert (await raw.answer())[0] == 200
        await in_a_head.send(whole[:30])
        await in_a_body.send(whole[:-5])
        await wait_all_tasks_blocked()
        await idle.send(whole)
        await in_a_head.send(whole[30:])
        await in_a_body.send(whole[-5:])
        threading.Event().wait(0.7)  # the whole process stands still
        for raw in (idle, in_a_head, in_a_body):
            assert (await raw.answer())[0] == 200


async def test_half_a_head_or_body_is_refused_in_time() -> None:
    timeouts = Timeouts(rest_idle=60.0, request_head=0.3, request_body=0.3)
    async with running_server(timeouts=timeouts) as server:
        for said in (send("never whole")[:30], send("never whole")[:-5]):
            async with open_raw(server) as raw:
                await raw.send(get("/health") + said)
                assert (await raw.answer())[0] == 200
                status, headers, body = await raw.answer()
                assert (status, headers[b"connection"]) == (408, b"close")
                assert json.loads(body)["code"] == "too_slow"
                assert len(headers[b"x-request-id"]) == 32
                await raw.end()


async def test_an_old_client_may_keep_its_connection() -> None:
    async with running_server() as server, open_raw(server) as raw:
        for _ in range(2):
            await raw.send(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            status, headers, _ = await raw.answer()
            assert (status, headers[b"connection"]) == (200, b"keep-alive")


async def test_answers_end_in_a_newline() -> None:
    async with running_server() as server, open_raw(server) as raw:
        for asked in (get("/health"), get("/no/such/path"), send("x"), get("/openapi.json")):
            await raw.send(asked)
            assert (await raw.answer())[2].endswith(b"}\n")


async def test_a_head_request_has_the_length_and_no_body() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(b"HEAD /health HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/health"))
        head = await raw.head()
        assert head.startswith(b"HTTP/1.1 200 ")
        assert b"Content-Length: 4" in head
        assert (await raw.answer())[0] == 200


async def test_pipelined_writes_and_reads_see_each_other_in_order() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(
            b"".join(
                send(str(number)) + get("/api/v1/messages/offline?limit=200", "bob")
                for number in range(20)
            )
        )
        for number in range(20):
            assert (await raw.answer())[0] == 200
            messages = json.loads((await raw.answer())[2])["messages"]
            assert len(messages) == number + 1


async def test_a_client_that_says_it_is_done_sending_still_gets_its_answer() -> None:
    # As `nc -N` and many a script do: half closed is not gone.
    async with running_server() as server:
        for _ in range(5):
            async with open_raw(server) as raw:
                await raw.send(send("and that is all"))
                await raw.send_eof()
                assert (await raw.answer())[0] == 200


async def test_connection_close_is_obeyed() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        status, headers, _ = await raw.answer()
        assert (status, headers[b"connection"]) == (200, b"close")
        await raw.end()


async def test_an_old_client_is_served_and_the_connection_closed() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(b"GET /health HTTP/1.0\r\n\r\n")
        status, _, body = await raw.answer()
        assert status == 200
        assert json.loads(body)["status"] == "ok"
        await raw.end()


async def test_who_does_not_take_its_answer_delays_nobody() -> None:
    async with running_server() as server:
        async with login(server, "alice") as alice:
            for _ in range(8):
                await alice.call("send_message", {"receiver_id": "bob", "content": "x" * 60_000})
        async with open_raw(server, receive_buffer=4096) as stuck:
            await stuck.send(get("/api/v1/messages/offline", "bob") * 10)
            await stuck.head()
            async with rest(server, "bob") as bob:
                with trio.fail_after(PATIENCE):
                    for _ in range(20):
                        await bob.get("/health")


async def test_an_absolute_target_is_understood() -> None:
    # RFC 9112, 3.2.2: a server must accept it.
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(b"GET http://localhost:8080/health?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        status, _, body = await raw.answer()
        assert status == 200
        assert json.loads(body)["status"] == "ok"


@pytest.mark.parametrize("settings", ["AAMAAABkAAQAoAAAAAIAAAAA", "!!!"])
async def test_an_offer_of_http2_is_ignored(settings: str) -> None:
    # As RFC 9110, 7.8 allows: HTTP/2 in clear text is for nobody, and hypercorn's trips over much.
    async with running_server() as server, open_raw(server) as raw:
        for _ in range(2):
            await raw.send(
                b"GET /health HTTP/1.1\r\nHost: [::1]\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                b"Upgrade: h2c\r\nHTTP2-Settings: " + settings.encode() + b"\r\n\r\n"
            )
            status, _, body = await raw.answer()
            assert status == 200
            assert json.loads(body)["status"] == "ok"


async def test_http2_without_asking_is_refused() -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0")
        status, _, _ = await raw.answer()
        assert 400 <= status < 600
        with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
            while await raw.stream.receive_some(1000):
                pass


async def test_ids_in_paths_may_have_any_character_that_ids_may_have() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        group = await alice.post("/api/v1/groups", {"name": "g"})
        path = f"/api/v1/groups/{group['group']['id']}/members"
        for user_id in ("a/b", "a//b", "/", "..", ".", "%2F", "a%b", "a?b#c", "a\\b", "小明/😀"):
            await alice.post(path, {"members": [user_id]})
            escaped = quote(user_id, safe="").replace(".", "%2E")  # dots mean something to clients
            await alice.ask("DELETE", f"{path}/{escaped}")
            assert len((await alice.get(path))["members"]) == 1
        # What is no id names nobody, whatever is made of it.
        for escaped in ("a%00b", "a%FFb", "%00", "x%0"):
            response = await alice.request("DELETE", f"{path}/{escaped}")
            assert response.json()["code"] == "not_found"

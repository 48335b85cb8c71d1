"""Limits of rates, sessions and connections: answered with their error, and over again."""

from __future__ import annotations

import pytest
import trio
from trio_websocket import ConnectionClosed

from imserver.config import Admission, Timeouts
from imserver.domain.errors import CloseCode
from tests.support import Refused, connect, login, rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import HANDSHAKE, PING, frame, open_raw, open_stream, request

HELLO = {"receiver_id": "bob", "content": "hello"}


def rates(**settings: float) -> Admission:
    return Admission(mode="on", **settings)


async def test_a_user_who_sends_too_fast_is_told_how_long_to_wait_and_then_admitted() -> None:
    admission = rates(messages_per_second=5, messages_burst=3)
    async with running_server(admission=admission) as server, login(server, "alice") as alice:
        for _ in range(3):
            await alice.call("send_message", HELLO)
        with pytest.raises(Refused) as refused:
            await alice.call("send_message", HELLO)
        assert refused.value.code == "rate_limited"
        assert 0 < refused.value.answer["retry_after_ms"] <= 201
        await alice.call("heartbeat")  # another budget
        async with login(server, "carol") as carol:  # another user
            await carol.call("send_message", HELLO)
        with trio.fail_after(PATIENCE):
            while True:
                try:
                    await alice.call("send_message", HELLO)
                except Refused as again:
                    await trio.sleep(again.answer["retry_after_ms"] / 1000)
                else:
                    break


async def test_both_transports_draw_on_one_budget_and_rest_says_when_to_retry() -> None:
    admission = rates(messages_per_second=0.1, messages_burst=2)
    async with (
        running_server(admission=admission) as server,
        login(server, "alice") as socket,
        rest(server, "alice") as calls,
    ):
        await socket.call("send_message", HELLO)
        await calls.post("/api/v1/messages", HELLO)
        response = await calls.request("POST", "/api/v1/messages", json=HELLO)
        assert response.status_code == 429
        assert response.json()["code"] == "rate_limited"
        assert int(response.headers["Retry-After"]) * 1000 >= response.json()["retry_after_ms"]
        assert (await calls.get("/health"))["status"] == "ok"


async def test_sync_has_a_budget_of_its_own() -> None:
    admission = rates(messages_per_second=0.1, messages_burst=1, syncs_burst=30)
    async with running_server(admission=admission) as server, login(server, "alice") as alice:
        await alice.call("send_message", HELLO)
        for _ in range(20):
            await alice.call("sync_offline", {"last_message_id": "msg_0"})


async def test_who_ignores_the_refusals_is_let_go_with_4029() -> None:
    admission = rates(requests_per_second=0.01, requests_burst=1)
    async with running_server(admission=admission) as server, connect(server) as alice:
        await alice.call("login", {"user_id": "alice"})
        await alice.call("heartbeat")
        for _ in range(100):
            answer = await alice.ask("heartbeat")
            assert answer["data"]["code"] == "rate_limited"
        with pytest.raises(ConnectionClosed) as closed:
            await alice.receive()
        assert closed.value.reason.code == CloseCode.RATE_LIMITED


@pytest.mark.parametrize("flood", [frame(b"{") * 500, frame(b"", PING) * 500], ids=["{", "ping"])
async def test_before_a_login_ten_refusals_end_it_and_nothing_more_is_answered(
    flood: bytes,
) -> None:
    admission = rates(requests_per_second=0.01, requests_burst=1, address_users=1)
    async with running_server(admission=admission) as server, await open_stream(server) as stream:
        await stream.send_all(HANDSHAKE + flood)
        answer = b""
        goodbye = CloseCode.RATE_LIMITED.to_bytes(2, "big")
        with trio.fail_after(PATIENCE):
            while goodbye not in answer:
                piece = await stream.receive_some()
                assert piece
                answer += piece
        assert answer.count(b"rate_limited") <= 10
        assert answer.count(b"\x8a\x00") <= 11  # pongs


async def test_a_user_has_so_many_sessions_and_no_more() -> None:
    # The last part asks again and again.
    admission = rates(user_sessions=2, connections_burst=1_000_000, logins_burst=1_000_000)
    async with running_server(admission=admission) as server:
        async with login(server, "alice"), login(server, "alice"), connect(server) as third:
            with pytest.raises(Refused) as refused:
                await third.call("login", {"user_id": "alice"})
            assert refused.value.code == "rate_limited"
            await third.call("login", {"user_id": "bob"})
        with trio.fail_after(PATIENCE):
            while True:
                async with connect(server) as again:
                    try:
                        await again.call("login", {"user_id": "alice"})
                    except Refused:  # the server has not noticed yet that the others left
                        await trio.lowlevel.checkpoint()
                    else:
                        break


async def test_an_address_has_so_many_connections_and_no_more() -> None:
    admission = rates(address_connections=2, connections_burst=1_000_000)
    async with running_server(admission=admission) as server:
        async with login(server, "alice"), login(server, "bob"), rest(server, "carol") as carol:
            response = await carol.request("GET", "/health")
            assert response.status_code == 429
            assert response.json()["code"] == "rate_limited"
        with trio.fail_after(PATIENCE):
            while True:
                async with rest(server, "carol") as carol:
                    if (await carol.request("GET", "/health")).status_code == 200:
                        break


async def test_an_address_opens_so_many_connections_a_second() -> None:
    admission = rates(connections_per_second=0.01, connections_burst=3)
    async with running_server(admission=admission) as server:
        statuses = []
        for _ in range(4):
            async with rest(server, "alice") as alice:
                statuses.append((await alice.request("GET", "/health")).status_code)
        assert statuses == [200, 200, 200, 429]


async def test_logins_have_a_budget_for_all() -> None:
    admission = rates(logins_per_second=0.01, logins_burst=2)
    async with (
        running_server(admission=admission) as server,
        login(server, "alice"),
        login(server, "bob"),
        connect(server) as third,
    ):
        with pytest.raises(Refused) as refused:
            await third.call("login", {"user_id": "carol"})
        assert refused.value.code == "rate_limited"


async def test_an_address_has_its_own_budget_of_logins() -> None:
    # Nobody uses up what is everybody's, though a session may log in again and again.
    admission = rates(address_logins_per_second=0.01, address_logins_burst=3, logins_burst=5)
    proxied = ("127.0.0.1",)
    async with running_server(admission=admission, proxies=proxied) as server:
        for number in (1, 2):
            head = HANDSHAKE[:-2] + b"X-Forwarded-For: 192.0.2.%d\r\n\r\n" % number
            async with open_raw(server) as raw:
                await raw.send(head)
                await raw.head()
                codes = []
                for _ in range(4):
                    await raw.send(request("login", {"user_id": "alice"}))
                    codes.append((await raw.frame()).json["data"].get("code"))
                expected = [None, None, None, "rate_limited"] if number == 1 else [None, None]
                assert codes[: len(expected)] == expected


async def test_a_sync_beyond_its_budget_is_refused_and_nothing_else() -> None:
    admission = rates(syncs_per_second=0.01, syncs_burst=2)
    async with running_server(admission=admission) as server, login(server, "alice") as alice:
        for _ in range(2):
            await alice.call("sync_offline", {})
        with pytest.raises(Refused) as refused:
            await alice.call("sync_offline", {})
        assert refused.value.code == "rate_limited"
        assert refused.value.answer["retry_after_ms"] > 1000
        await alice.call("send_message", HELLO)
        await alice.call("heartbeat")


async def test_nothing_is_limited_on_loopback_by_default() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for number in range(500):
            await alice.send("send_message", HELLO | {"content": str(number)})
        for _ in range(500):
            assert (await alice.receive())["data"]["success"] is True


async def test_a_body_that_does_not_come_is_given_up() -> None:
    async with running_server(timeouts=Timeouts(request_body=0.2)) as server:
        answer = b""
        async with await open_stream(server) as stream:
            await stream.send_all(
                b"POST /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nX-User-ID: alice\r\n"
                b"Content-Length: 100\r\n\r\n{"
            )
            with trio.fail_after(PATIENCE):
                async for data in stream:
                    answer += data
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"too_slow"' in answer

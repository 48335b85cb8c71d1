"""Who calls, in open mode: the design's section "Where the API document is silent", Identity."""

from __future__ import annotations

import pytest
import trio
from trio_websocket import open_websocket_url

from imserver import Config, ConfigError, open_server
from tests.contract.api import acting, code_of
from tests.support import Refused, Socket, connect, http_client, login, rest, running_server
from tests.support.clients import PATIENCE

# Ids that are believed. The last ones differ from each other in code points alone.
WELL_FORMED = [
    "a", "张三", "user@example.org", '"hi"\\', "<b>", "😀", "x" * 64, "张" * 64,
    "Alice", "alice", "é", "e\u0301",
]  # fmt: skip
MALFORMED = {
    "too long": "x" * 65,
    "space": "two words",
    "tab": "a\tb",
    "no-break space": "a\u00a0b",
    "ideographic space": "a\u3000b",
    "line separator": "a\u2028b",
    "control": "a\u0001b",
    "delete": "a\u007fb",
    "C1 control": "a\u0085b",
    "joiner": "a\u200db",
    "direction": "a\u202eb",
    "byte order mark": "\ufeffa",
}


async def test_without_an_id_nobody_is_anybody() -> None:
    async with (
        running_server() as server,
        rest(server, None) as nobody,
        connect(server) as socket,
    ):
        for headers in ({}, {"X-User-ID": ""}):
            answer = await nobody.request("GET", "/api/v1/messages/offline", headers=headers)
            assert answer.status_code == 401
            assert answer.json()["code"] == "unauthorized"
        for data in ({}, {"user_id": None}, {"user_id": ""}):
            assert await code_of(socket.call("login", data)) == "unauthorized"


async def test_a_malformed_id_is_refused(transport: str) -> None:
    async with running_server() as server:
        for fault, user_id in MALFORMED.items():
            with pytest.raises(Refused) as refused:
                async with acting(server, transport, user_id) as user:
                    await user.sync_offline()
            assert refused.value.code == "invalid_request", fault


async def test_well_formed_ids_are_different_users(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "sender") as sender:
        sent = {user_id: await sender.send(user_id) for user_id in WELL_FORMED}
        assert len(set(sent.values())) == len(WELL_FORMED)
        for user_id, message_id in sent.items():
            async with acting(server, transport, user_id) as user:
                assert await user.synced() == [message_id]


async def test_an_id_in_utf8_is_one_user_over_both_transports() -> None:
    async with (
        running_server() as server,
        login(server, "张三") as socket,
        rest(server, "张三") as calls,
        rest(server, "李四") as other,
    ):
        sent = await other.post("/api/v1/messages", {"receiver_id": "张三", "content": "你好"})
        assert (await socket.push())["data"]["sender_id"] == "李四"
        page = await calls.get("/api/v1/messages/offline")
        assert page["messages"] == [sent["message"]]


@pytest.mark.parametrize("encoding", ["gbk", "latin-1"])
async def test_a_header_in_another_encoding_is_malformed(encoding: str) -> None:
    user_id = {"gbk": "张三", "latin-1": "José"}[encoding]
    headers = {b"X-User-ID": user_id.encode(encoding)}
    async with running_server() as server, http_client(server) as http:
        answer = await http.get("/api/v1/messages/offline", headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"] == "X-User-ID is not UTF-8"


async def test_two_different_headers_say_nothing() -> None:
    async with running_server() as server, http_client(server) as http:
        for second, status in (("bob", 400), ("alice", 200)):
            headers = [("X-User-ID", "alice"), ("X-User-ID", second)]
            answer = await http.get("/api/v1/messages/offline", headers=headers)
            assert answer.status_code == status


async def test_a_user_exists_once_named(transport: str) -> None:
    async with running_server() as server:
        async with acting(server, transport, "alice") as alice:
            message_id = await alice.send("new")
            group_id = await alice.create_group("newer")
        async with acting(server, transport, "new") as new:
            assert await new.synced() == [message_id]
        async with acting(server, transport, "newer") as newer:
            assert (await newer.get_group(group_id))["members"] == ["newer"]


async def test_nobody_is_the_server_itself(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        with pytest.raises(Refused) as refused:
            async with acting(server, transport, "system") as system:
                await system.sync_offline()
        assert refused.value.code == "forbidden"
        assert await code_of(alice.send("system")) == "forbidden"


async def test_a_header_on_the_handshake_is_no_login() -> None:
    async with running_server() as server:
        url = server.url.replace("http", "ws", 1) + "/ws"
        async with open_websocket_url(url, extra_headers=[(b"X-User-ID", b"alice")]) as connection:
            with pytest.raises(Refused) as refused:
                await Socket(connection).call("heartbeat")
    assert refused.value.code == "not_logged_in"


async def test_a_second_login_is_the_same_users_or_refused() -> None:
    async with (
        running_server() as server,
        login(server, "alice") as alice,
        rest(server, "carol") as carol,
    ):
        assert (await alice.call("login", {"user_id": "alice"}))["success"] is True
        assert await code_of(alice.call("login", {"user_id": "bob"})) == "forbidden"
        # The session is Alice's as before, and once.
        await carol.post("/api/v1/messages", {"receiver_id": "bob", "content": "for bob"})
        await carol.post("/api/v1/messages", {"receiver_id": "alice", "content": "for alice"})
        assert (await alice.push())["data"]["content"] == "for alice"
        await alice.no_push()


async def test_a_login_that_failed_may_be_repeated() -> None:
    async with running_server() as server, connect(server) as socket:
        with pytest.raises(Refused):
            await socket.call("login", {"user_id": "two words"})
        assert (await socket.call("login", {"user_id": "alice"}))["user_id"] == "alice"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
async def test_open_mode_does_not_start_on_an_open_network(host: str) -> None:
    config = Config(host=host, port=0, database=":memory:")
    with trio.fail_after(PATIENCE), pytest.raises(ConfigError, match="allow_open_network"):
        async with open_server(config):
            pytest.fail("it started")
    Config(host=host, port=0, database=":memory:", allow_open_network=True).check()

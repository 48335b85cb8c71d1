"""One answer to each request, in order, in the documented shapes: the design's section, Answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from imserver.service.operations import OPERATIONS
from tests.contract.api import acting
from tests.support import connect, login, rest, running_server

SEND = {"receiver_id": "bob", "content": "hello"}
FRAMES = [operation.ws for operation in OPERATIONS if operation.ws is not None]

UNREADABLE = {
    "nothing": "",
    "no JSON": "hello",
    "half a frame": '{"type": "heartbeat"',
    "two frames": '{"type": "heartbeat"}{"type": "heartbeat"}',
    "a list": "[]",
    "a number": "1",
    "null": "null",
    "a string": '"heartbeat"',
    "no type": '{"data": {}}',
    "type null": '{"type": null}',
    "type a number": '{"type": 1}',
    "NaN": '{"type": "heartbeat", "timestamp": NaN}',
    "a lone surrogate": '{"type": "send_message", "data": {"content": "\\ud800"}}',
    "a raw control character": '{"type": "heart\u0001beat"}',
    "too deep": '{"type": "heartbeat", "data": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "too deep beside": '{"type": "heartbeat", "x": ' + '{"x":' * 100_000 + "1" + "}" * 100_001,
}


async def test_each_request_has_one_answer_and_answers_keep_their_order() -> None:
    async with running_server() as server, connect(server) as socket:
        await socket.send("send_message", SEND, message_id="too early")
        await socket.send("login", {"user_id": "alice"}, message_id="login")
        expected = ["too early", "login"]
        for turn in range(20):
            for kind, data in (
                ("send_message", SEND),
                ("send_message", {}),
                ("get_message", {"message_id": f"msg_{turn + 1}"}),
                ("no_such_type", {}),
                ("heartbeat", {}),
                ("send_message", SEND | {"type": "system"}),
                ("sync_offline", {}),
                ("ack", {"message_id": "msg_1", "status": "read"}),
            ):
                expected.append(f"{turn} {kind} {len(expected)}")
                await socket.send(kind, data, message_id=expected[-1])
        await socket.send("heartbeat", message_id="last")
        expected.append("last")
        answers = [await socket.receive() for _ in expected]
        assert [answer["message_id"] for answer in answers] == expected
        # A client sees its own writes: each message was there when it was asked for.
        asked = [answer["data"] for answer in answers if answer["type"] == "get_message"]
        assert [one["message"]["id"] for one in asked] == [f"msg_{turn + 1}" for turn in range(20)]
        await socket.no_push()


async def test_what_cannot_be_parsed_is_answered_with_an_error_frame() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for fault, text in UNREADABLE.items():
            await alice.connection.send_message(text)
            answer = await alice.receive()
            assert list(answer) == ["type", "data", "timestamp"], fault
            assert answer["type"] == "error", fault
            assert list(answer["data"]) == ["error", "code"], fault
            assert answer["data"]["code"] == "invalid_request", fault
        await alice.no_push()  # the connection stays up


async def test_an_unknown_type_is_answered_with_an_error_frame() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for kind in ("", "no_such_type", "error", "NEW_MESSAGE", "LOGIN", "login ", "health"):
            answer = await alice.ask(kind, SEND)
            assert answer["type"] == "error", kind
            assert answer["data"] == {"error": "Unknown frame type", "code": "unknown_type"}
        await alice.no_push()


@pytest.mark.parametrize("data", [{}, SEND, [], 5], ids=json.dumps)
async def test_before_login_there_is_only_login(data: Any) -> None:
    async with running_server() as server, connect(server) as socket:
        for kind in sorted(set(FRAMES) - {"login"}):
            answer = await socket.ask(kind, data, message_id="c1")
            assert answer["type"] == "error", kind
            assert answer["data"] == {"error": "Log in first", "code": "not_logged_in"}
            assert answer["message_id"] == "c1"
        assert (await socket.call("login", {"user_id": "alice"}))["success"] is True


@pytest.mark.parametrize("data", [[], "", 5, True], ids=json.dumps)
async def test_a_known_type_is_refused_under_its_own_name(data: Any) -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for kind in FRAMES:
            answer = await alice.ask(kind, data)
            assert list(answer) == ["type", "data", "timestamp"]
            assert answer["type"] == kind
            assert list(answer["data"]) == ["success", "error", "code"]
            assert answer["data"]["success"] is False
            assert answer["data"]["code"] == "invalid_request"
        await alice.no_push()


async def test_acks_joins_and_leaves_say_success(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group()
        assert await bob.join_group(group_id) == {"success": True}
        assert await bob.ack(await alice.send("bob")) == {"success": True}
        assert await bob.leave_group(group_id) == {"success": True}


async def test_an_unknown_path_is_a_404_in_json() -> None:
    calls = [
        ("GET", "/app/0123456789abcdef"),
        ("GET", "/c"),
        ("GET", "/favicon.ico"),
        ("GET", "/api"),
        ("GET", "/api/v1"),
        ("GET", "/api/v2/messages/offline"),
        ("POST", "/api/v1/messages/"),
        ("GET", "/health/"),
        ("GET", "/ws/"),
        ("GET", "/api/v1/messages/msg_1/ack/more"),
        ("GET", "/api/v1/groups%2Fg/members"),
        ("DELETE", "/nowhere"),
        ("OPTIONS", "/nowhere"),
    ]
    async with running_server() as server, rest(server, "alice") as alice:
        for method, path in calls:
            answer = await alice.request(method, path)
            assert answer.status_code == 404, path
            assert answer.headers["content-type"] == "application/json", path
            assert answer.json() == {"error": "There is no such path", "code": "not_found"}, path


async def test_a_wrong_method_is_a_405_in_json() -> None:
    calls = [
        ("GET", "/api/v1/messages", {"POST"}),
        ("PUT", "/api/v1/messages", {"POST"}),
        ("PATCH", "/api/v1/groups", {"GET", "HEAD", "POST"}),
        ("POST", "/api/v1/messages/offline", {"GET", "HEAD"}),
        ("DELETE", "/api/v1/messages/msg_1", {"GET", "HEAD"}),
        ("GET", "/api/v1/messages/msg_1/ack", {"POST"}),
        ("GET", "/api/v1/groups/g/join", {"POST"}),
        ("POST", "/health", {"GET", "HEAD"}),
        ("TRACE", "/api/v1/stats", {"GET", "HEAD"}),
        ("OPTIONS", "/api/v1/messages", {"POST"}),
        ("OPTIONS", "/health", {"GET", "HEAD"}),
        ("POST", "/ws", {"GET", "HEAD"}),
    ]
    async with running_server() as server, rest(server, "alice") as alice:
        for method, path, allowed in calls:
            answer = await alice.request(method, path)
            place = f"{method} {path}"
            assert answer.status_code == 405, place
            assert answer.headers["content-type"] == "application/json", place
            assert answer.json() == {"error": "Method not allowed", "code": "method_not_allowed"}
            assert set(answer.headers["allow"].split(", ")) == allowed, place


async def test_a_body_that_does_not_say_otherwise_is_json() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        for headers in (
            {},
            {"Content-Type": "application/json"},
            {"Content-Type": "application/json; charset=utf-8"},
            {"Content-Type": "Application/JSON"},
            {"Content-Type": "application/vnd.api+json"},
        ):
            answer = await alice.request(
                "POST", "/api/v1/messages", content=json.dumps(SEND), headers=headers
            )
            assert answer.status_code == 200, headers


async def test_a_body_that_says_that_it_is_something_else_is_a_415() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        for content_type in (
            "text/plain",
            "text/html",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "application/jsonp",
        ):
            for path in ("/api/v1/messages", "/api/v1/groups", "/api/v1/messages/msg_1/ack"):
                answer = await alice.request(
                    "POST", path, content=json.dumps(SEND), headers={"Content-Type": content_type}
                )
                assert answer.status_code == 415, content_type
                assert answer.json()["code"] == "unsupported_media_type"


async def test_a_body_that_is_no_json_object_is_a_400() -> None:
    bodies = [
        b"[]", b"1", b"null", b'"x"', b"{", b'{"a":1}x', b"\xff", b"\xef\xbb\xbf{}", b"{'a': 1}",
        b'{"content":"\\ud800"}', b'{"content":"\xed\xa0\x80"}', b'{"content":"a\x00b"}',
        b'{"a":NaN}', b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ]  # fmt: skip
    async with running_server() as server, rest(server, "alice") as alice:
        for body in bodies:
            for path in ("/api/v1/messages", "/api/v1/groups", "/api/v1/messages/msg_1/ack"):
                answer = await alice.request("POST", path, content=body)
                assert answer.status_code == 400, body[:20]
                assert answer.json()["code"] == "invalid_request"


async def test_an_empty_body_is_an_empty_object() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        for path, error in (
            ("/api/v1/messages", "receiver_id or group_id is required"),
            ("/api/v1/groups", "name must have 1 to 128 characters"),
            ("/api/v1/messages/msg_1/ack", "status is required"),
        ):
            for body in (b"", b"{}"):
                answer = await alice.request("POST", path, content=body)
                assert answer.status_code == 400
                assert answer.json()["error"] == error


async def test_calls_without_fields_take_any_body() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        group = await alice.post("/api/v1/groups", {"name": "a group"})
        for act in ("join", "leave"):
            path = f"/api/v1/groups/{group['group']['id']}/{act}"
            for body in (b"", b"{}", b"not JSON"):
                answer = await alice.request("POST", path, content=body)
                assert (answer.status_code, answer.json()) == (200, {"success": True})


async def test_head_is_get_without_the_body() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        for path in (
            "/health",
            "/ready",
            "/api/v1/stats",
            "/api/v1/messages/offline",
            "/openapi.json",
        ):
            got = await alice.request("GET", path)
            head = await alice.request("HEAD", path)
            assert head.status_code == got.status_code == 200
            assert head.content == b""
            assert head.headers["content-type"] == "application/json"


async def test_unknown_query_parameters_and_fields_are_ignored() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        page = await alice.get("/api/v1/messages/offline", limit=5, colour="blue")
        assert page == {"messages": [], "has_more": False}
        answer = await alice.post("/api/v1/messages?x=1", SEND | {"colour": "blue"})
        assert "colour" not in answer["message"]


async def test_the_path_says_which_message_is_meant() -> None:
    async with (
        running_server() as server,
        rest(server, "alice") as alice,
        rest(server, "bob") as bob,
    ):
        for _ in range(2):
            await alice.post("/api/v1/messages", SEND)
        await bob.post("/api/v1/messages/msg_1/ack", {"status": "read", "message_id": "msg_2"})
        page = await bob.get("/api/v1/messages/offline")
        assert [message["id"] for message in page["messages"]] == ["msg_2"]


async def test_of_a_field_given_twice_the_last_counts() -> None:
    body = b'{"receiver_id":"bob","receiver_id":"carol","content":"hello"}'
    async with (
        running_server() as server,
        rest(server, "alice") as alice,
        login(server, "alice") as socket,
    ):
        answer = await alice.request("POST", "/api/v1/messages", content=body)
        assert answer.json()["message"]["receiver_id"] == "carol"
        await socket.push()
        await socket.connection.send_message('{"type":"send_message","data":' + body.decode() + "}")
        assert (await socket.receive())["data"]["message"]["receiver_id"] == "carol"

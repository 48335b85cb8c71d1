"""What the API document lists rather than shows; and that the tests leave nothing of it out."""

from __future__ import annotations

from pathlib import Path

import pytest

from imserver import Config
from tests.contract.api import PATHS, acting, code_of
from tests.contract.document import BLOCKS, DOCUMENT, LISTS, assert_as_printed, code, printed
from tests.support import rest, running_server

ORIGINAL = Path(__file__).parents[3] / "shared" / "api" / "im-api.md"

# What `test_document_frames` and `test_document_rest` show, and `test_samples` runs.
FRAMES = {
    "login", "heartbeat", "send_message", "ack", "sync_offline", "join_group", "leave_group",
    "new_message", "new_group_message", "消息格式",
}  # fmt: skip
CALLS = {
    "GET /health", "POST /api/v1/messages", "GET /api/v1/messages/:messageID",
    "POST /api/v1/messages/:messageID/ack", "GET /api/v1/messages/offline", "POST /api/v1/groups",
    "GET /api/v1/groups/:groupID", "GET /api/v1/groups/:groupID/members",
    "POST /api/v1/groups/:groupID/join", "POST /api/v1/groups/:groupID/leave", "GET /api/v1/stats",
}  # fmt: skip
HERE = {"认证", "连接", "错误响应格式"}
SAMPLES = {"JavaScript WebSocket客户端", "Python HTTP客户端"}


@pytest.mark.skipif(not ORIGINAL.exists(), reason="the original stands beside the repository only")
def test_the_copy_of_the_document_is_the_document() -> None:
    assert DOCUMENT.read_bytes() == ORIGINAL.read_bytes()


def test_nothing_that_the_document_prints_is_left_out() -> None:
    assert {block.heading for block in BLOCKS} == FRAMES | CALLS | HERE | SAMPLES


def test_every_call_of_the_document_is_among_the_operations_of_the_tests() -> None:
    listed = {f"{method} {path}" for method, path in PATHS.values()}
    listed |= {"GET /health", "GET /api/v1/stats"}
    spelled = {
        call.replace(":messageID", "{message_id}").replace(":groupID", "{group_id}")
        for call in CALLS
    }
    assert listed >= spelled  # there are more, which the document does not know


def test_the_address_is_the_default() -> None:
    config = Config()
    assert (config.host, config.port) == ("127.0.0.1", 8080)
    assert code("连接") == "const ws = new WebSocket('ws://localhost:8080/ws');\n"


async def test_authentication_is_a_header() -> None:
    name, value = code("认证").strip().split(": ")
    async with running_server() as server, rest(server, None) as nobody:
        answer = await nobody.request("GET", "/api/v1/messages/offline", headers={name: value})
    assert answer.status_code == 200


def test_message_types_are_the_documented_six() -> None:
    assert LISTS["消息类型"] == ["text", "image", "file", "voice", "video", "system"]


async def test_every_type_of_message_but_the_servers_own_can_be_sent(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "user123") as user:
        for kind in LISTS["消息类型"]:
            request = {"receiver_id": "user456", "type": kind, "content": "Hello, world!"}
            if kind == "system":
                assert await code_of(user.send_message(**request)) == "forbidden"
                continue
            answer = await user.send_message(**request)
            assert answer["message"]["type"] == kind


async def test_a_message_goes_through_the_documented_states(transport: str) -> None:
    states = LISTS["消息状态"]
    assert states == ["sent", "delivered", "read", "failed"]  # the last is retention's
    async with (
        running_server() as server,
        acting(server, transport, "user123") as sender,
        acting(server, transport, "user456") as recipient,
    ):
        message_id = await sender.send("user456")
        seen = [await sender.status(message_id)]
        for state in ("delivered", "read"):
            await recipient.ack(message_id, state)
            seen.append(await sender.status(message_id))
        assert seen == states[:3]


async def test_the_documented_error_statuses() -> None:
    listed = [int(item.split()[0]) for item in LISTS["常见错误码"]]
    assert listed == [400, 401, 404, 500]
    example = printed("错误响应格式")
    async with running_server() as server, rest(server, "u") as user, rest(server, None) as nobody:
        for status, answer in (
            (400, await user.request("POST", "/api/v1/messages", json={})),
            (401, await nobody.request("GET", "/api/v1/messages/offline")),
            (404, await user.request("GET", "/api/v1/messages/msg_1")),
        ):
            assert answer.status_code == status
            body = answer.json()
            assert_as_printed(
                body, {"error": body["error"]}, added=frozenset({"code"}), place=str(status)
            )
            assert list(body) == [*example, "code"]


@pytest.mark.expects_error_log
async def test_a_defect_of_the_server_is_a_documented_error_and_says_nothing_of_itself() -> None:
    broken = False

    def clock() -> int:
        if broken:
            raise RuntimeError("the clock fell off the wall")
        return 1_700_000_000_000

    async with running_server(clock=clock) as server, rest(server, None) as nobody:
        broken = True
        answer = await nobody.request("GET", "/health")
        broken = False
    assert answer.status_code == 500
    assert answer.json() == {"error": "Internal error", "code": "internal"}

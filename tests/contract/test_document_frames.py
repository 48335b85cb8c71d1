"""Every frame of the API document, with its own values, held to what is printed there."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.contract.document import ANSWER, REQUEST, assert_as_printed, has, printed, rename
from tests.contract.servers import FIRST_SEQ, GROUP_TIME, document_server
from tests.support import connect, login, rest

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

    from tests.support import Rest, Socket

# Frames that the document describes without an answer; the design gives them one.
SUCCEEDED = {"type": "", "data": {"success": True}, "timestamp": 1640995200000}


async def say(socket: Socket, frame: dict[str, Any]) -> dict[str, Any]:
    """Send a frame exactly as it is printed, and return its answer."""
    await socket.send(frame["type"], frame["data"], timestamp=frame["timestamp"])
    return await socket.receive()


async def found_group(owner: Rest, *members: str) -> str:
    answer = await owner.post("/api/v1/groups", {"name": "My Group", "members": list(members)})
    return answer["group"]["id"]


async def test_login(tmp_path: Path) -> None:
    async with document_server(tmp_path) as server, connect(server) as socket:
        answer = await say(socket, printed("login", REQUEST))
        assert_as_printed(answer, printed("login", ANSWER))


async def test_heartbeat(tmp_path: Path) -> None:
    async with document_server(tmp_path) as server, login(server, "user123") as socket:
        answer = await say(socket, printed("heartbeat", REQUEST))
        assert_as_printed(answer, printed("heartbeat", ANSWER))


async def test_send_message(tmp_path: Path) -> None:
    async with document_server(tmp_path) as server, login(server, "user123") as socket:
        answer = await say(socket, printed("send_message", REQUEST))
        assert_as_printed(answer, printed("send_message", ANSWER))


async def test_ack(tmp_path: Path) -> None:
    async with (
        document_server(tmp_path) as server,
        login(server, "user456") as sender,
        login(server, "user123") as socket,
    ):
        await sender.call("send_message", {"receiver_id": "user123", "content": "Hello!"})
        await socket.push()
        assert not has("ack", ANSWER)
        answer = await say(socket, printed("ack", REQUEST))
        assert_as_printed(answer, SUCCEEDED | {"type": "ack"})
        assert await sender.push() == {
            "type": "message_status",
            "data": {
                "message_id": "msg_123456",
                "status": "read",
                "user_id": "user123",
                "timestamp": 1640995200000,
            },
            "timestamp": 1640995200000,
        }


async def test_sync_offline(tmp_path: Path) -> None:
    async with (
        document_server(tmp_path) as server,
        login(server, "user456") as sender,
        login(server, "user123") as socket,
    ):
        for content in ("Hello!", "Hi there!"):
            await sender.call("send_message", {"receiver_id": "user123", "content": content})
            await socket.push()
        answer = await say(socket, printed("sync_offline", REQUEST))
        assert_as_printed(answer, printed("sync_offline", ANSWER))


async def test_join_and_leave_group(tmp_path: Path) -> None:
    async with (
        document_server(tmp_path) as server,
        rest(server, "user456") as owner,
        login(server, "user123") as socket,
    ):
        names = {"group123": await found_group(owner)}
        for kind in ("join_group", "leave_group"):
            assert not has(kind, ANSWER)
            answer = await say(socket, rename(printed(kind, REQUEST), names))
            assert_as_printed(answer, SUCCEEDED | {"type": kind})
            assert (await socket.push())["data"]["type"] == "system"


async def test_push_of_a_new_message(tmp_path: Path) -> None:
    async with (
        document_server(tmp_path) as server,
        login(server, "user456") as sender,
        login(server, "user123") as socket,
    ):
        await sender.call("send_message", {"receiver_id": "user123", "content": "Hello!"})
        assert_as_printed(await socket.push(), printed("new_message"))


async def test_push_of_a_new_group_message(tmp_path: Path) -> None:
    # The group's own first message takes the place before.
    async with (
        document_server(tmp_path, first_seq=FIRST_SEQ - 1) as server,
        rest(server, "user456") as owner,
        login(server, "user123") as socket,
    ):
        group_id = await found_group(owner, "user123")
        await socket.push()
        await owner.post("/api/v1/messages", {"group_id": group_id, "content": "Hello everyone!"})
        assert_as_printed(await socket.push(), printed("new_group_message"), {"group123": group_id})


async def test_an_envelope_with_an_optional_message_id(tmp_path: Path) -> None:
    envelope = printed("消息格式")
    async with document_server(tmp_path) as server, login(server, "user123") as socket:
        answer = await socket.ask("heartbeat", {}, message_id=envelope["message_id"])
        assert list(answer) == list(envelope)
        assert {key: type(value) for key, value in answer.items()} == {
            key: type(value) for key, value in envelope.items()
        }
        assert answer["message_id"] == envelope["message_id"]


async def test_times_are_milliseconds_in_frames_and_rfc3339_in_groups(tmp_path: Path) -> None:
    async with (
        document_server(tmp_path, time_ms=GROUP_TIME) as server,
        login(server, "user123") as socket,
    ):
        answer = await socket.ask("create_group", printed("POST /api/v1/groups", "请求体"))
        group = answer["data"]["group"]
        example = printed("POST /api/v1/groups", ANSWER)
        assert_as_printed(answer["data"], example, {"group123": group["id"]})
        pushed = await socket.push()
        assert answer["timestamp"] == pushed["timestamp"] == GROUP_TIME
        assert pushed["data"]["timestamp"] == GROUP_TIME

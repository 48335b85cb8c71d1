"""Every REST call of the API document, with its own values, held to what is printed there."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from tests.contract.document import (
    ANSWER,
    BODY,
    HEADERS,
    assert_as_printed,
    has,
    headers,
    printed,
)
from tests.contract.servers import FIRST_SEQ, GROUP_TIME, document_server
from tests.support import connect, http_client, login, rest

if TYPE_CHECKING:
    from pathlib import Path

    from imserver import Server


async def ask(server: Server, heading: str, **ids: str) -> Any:
    """Make the call of a heading exactly as printed; `ids` stand for `:messageID` and `:groupID`.

    Returns the JSON of its answer, which must have come with status 200.
    """
    method, path = heading.split(" ")
    for name, value in ids.items():
        path = path.replace(f":{name}", value)
    body = printed(heading, BODY) if has(heading, BODY) else None
    async with http_client(server) as http:
        answer = await http.request(method, path, headers=headers(heading), json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()


async def test_health(tmp_path: Path) -> None:
    heading = "GET /health"
    assert not has(heading, HEADERS)
    async with document_server(tmp_path) as server:
        assert_as_printed(await ask(server, heading), printed(heading, ANSWER))


async def test_send_message(tmp_path: Path) -> None:
    heading = "POST /api/v1/messages"
    async with document_server(tmp_path) as server:
        answer = await ask(server, heading)
    # The document prints the fields of this answer in another order than those of the frame's;
    # an object of JSON has none, and there is one answer for both.
    example = printed(heading, ANSWER)
    assert list(answer) == ["success", "message_id", "message"]
    assert_as_printed(answer, {key: example[key] for key in answer})
    assert answer.keys() == example.keys()


async def test_get_message(tmp_path: Path) -> None:
    heading = "GET /api/v1/messages/:messageID"
    async with document_server(tmp_path) as server:
        await ask(server, "POST /api/v1/messages")
        answer = await ask(server, heading, messageID="msg_123456")
    assert_as_printed(answer, printed(heading, ANSWER))


async def test_ack(tmp_path: Path) -> None:
    heading = "POST /api/v1/messages/:messageID/ack"
    async with document_server(tmp_path) as server, rest(server, "user456") as sender:
        await sender.post("/api/v1/messages", {"receiver_id": "user123", "content": "Hello!"})
        answer = await ask(server, heading, messageID="msg_123456")
        assert_as_printed(answer, printed(heading, ANSWER))
        stored = await sender.get("/api/v1/messages/msg_123456")
        assert stored["message"]["status"] == printed(heading, BODY)["status"]


async def test_sync_offline(tmp_path: Path) -> None:
    heading = "GET /api/v1/messages/offline"
    async with document_server(tmp_path) as server, rest(server, "user456") as sender:
        await sender.post("/api/v1/messages", {"receiver_id": "user123", "content": "Hi there!"})
        answer = await ask(server, heading)
    assert_as_printed(answer, printed(heading, ANSWER))


async def test_sync_offline_with_the_documented_parameters(tmp_path: Path) -> None:
    async with (
        document_server(tmp_path) as server,
        rest(server, "user456") as sender,
        rest(server, "user123") as user,
    ):
        for content in ("one", "two", "three"):
            await sender.post("/api/v1/messages", {"receiver_id": "user123", "content": content})
        page = await user.get(
            "/api/v1/messages/offline", last_message_id=f"msg_{FIRST_SEQ}", limit=1
        )
    assert [message["content"] for message in page["messages"]] == ["two"]
    assert page["has_more"] is True


async def test_create_group(tmp_path: Path) -> None:
    heading = "POST /api/v1/groups"
    async with document_server(tmp_path, time_ms=GROUP_TIME) as server:
        answer = await ask(server, heading)
    names = {"group123": answer["group"]["id"]}
    assert answer["group"]["id"].startswith("group_")
    assert_as_printed(answer, printed(heading, ANSWER), names)


async def test_get_group(tmp_path: Path) -> None:
    heading = "GET /api/v1/groups/:groupID"
    async with document_server(tmp_path, time_ms=GROUP_TIME) as server:
        group_id = (await ask(server, "POST /api/v1/groups"))["group"]["id"]
        answer = await ask(server, heading, groupID=group_id)
    assert_as_printed(answer, printed(heading, ANSWER), {"group123": group_id})


async def test_get_members(tmp_path: Path) -> None:
    heading = "GET /api/v1/groups/:groupID/members"
    async with document_server(tmp_path, time_ms=GROUP_TIME) as server:
        group_id = (await ask(server, "POST /api/v1/groups"))["group"]["id"]
        answer = await ask(server, heading, groupID=group_id)
    (example,) = printed(heading, ANSWER)["members"]
    assert list(answer) == ["members"]
    assert [(member["user_id"], member["role"]) for member in answer["members"]] == [
        ("user123", "owner"),
        ("user456", "member"),
        ("user789", "member"),
    ]
    assert len({member["id"] for member in answer["members"]}) == 3
    (member,) = (one for one in answer["members"] if one["user_id"] == example["user_id"])
    assert member["id"].startswith("member")
    assert_as_printed(member, example, {"group123": group_id, "member123": member["id"]})


async def test_join_and_leave_group(tmp_path: Path) -> None:
    async with document_server(tmp_path) as server, rest(server, "user456") as owner:
        group_id = (await owner.post("/api/v1/groups", {"name": "My Group"}))["group"]["id"]
        for act, members in (("join", ["user123"]), ("leave", [])):
            heading = f"POST /api/v1/groups/:groupID/{act}"
            answer = await ask(server, heading, groupID=group_id)
            assert_as_printed(answer, printed(heading, ANSWER))
            group = (await owner.get(f"/api/v1/groups/{group_id}"))["group"]
            assert group["members"] == members


async def test_stats(tmp_path: Path) -> None:
    heading = "GET /api/v1/stats"
    example = printed(heading, ANSWER)
    assert not has(heading, HEADERS)
    async with document_server(tmp_path) as server, AsyncExitStack() as sockets:
        for number in range(example["connections"]):
            socket = await sockets.enter_async_context(connect(server))
            if number < example["online_users"]:
                await socket.call("login", {"user_id": f"user{number}"})
        assert_as_printed(await ask(server, heading), example)


async def test_stats_count_users_and_connections_apart(tmp_path: Path) -> None:
    async with (
        document_server(tmp_path) as server,
        login(server, "user123"),
        login(server, "user123"),
        connect(server),
    ):
        stats = await ask(server, "GET /api/v1/stats")
        assert (stats["connections"], stats["online_users"]) == (3, 1)

"""What may be sent to whom: the design's section, Sending."""

from __future__ import annotations

from typing import Any

import pytest

from tests.contract.api import OverWebSocket, acting, code_of, refusal_of
from tests.support import Refused, login, rest, running_server

LIMIT = 64 * 1024  # bytes of content, in UTF-8


@pytest.mark.parametrize("absent", [None, ""])
async def test_null_and_nothing_mean_absent(absent: str | None, transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        answer = await alice.send_message(
            receiver_id="bob", group_id=absent, type=absent, content="hello", client_msg_id=absent
        )
        message = answer["message"]
        assert (message["receiver_id"], message["type"]) == ("bob", "text")
        assert "group_id" not in message
        group_id = await alice.create_group()
        answer = await alice.send_message(receiver_id=absent, group_id=group_id, content="hello")
        assert answer["message"]["group_id"] == group_id


async def test_null_means_absent_for_what_is_yes_or_no_too(transport: str) -> None:
    async with (
        running_server() as server,
        rest(server, "alice") as alice,
        login(server, "alice") as socket,
    ):

        async def call(kind: str, path: str, **request: Any) -> dict[str, Any]:
            if transport == "rest":
                return await alice.post(path, request)
            return await socket.call(kind, request)

        sent = await alice.post("/api/v1/messages", {"receiver_id": "alice", "content": "x"})
        place = sent["message_id"]
        group = await call("create_group", "/api/v1/groups", name="g", private=None)
        assert not group["group"].get("private")
        path = f"/api/v1/messages/{place}/ack"
        assert (await call("ack", path, message_id=place, status="read", cumulative=None))[
            "success"
        ]
        page = await socket.call("sync_offline", {"include_own": None, "include_newest": None})
        assert "newest_message_id" not in page


@pytest.mark.parametrize("missing", ["receiver_id", "content"])
@pytest.mark.parametrize("absent", [None, "", "left out"])
async def test_what_is_required_must_be_there(
    missing: str, absent: str | None, transport: str
) -> None:
    request = {"receiver_id": "bob", "content": "hello", missing: absent}
    if absent == "left out":
        del request[missing]
    async with running_server() as server, acting(server, transport, "alice") as alice:
        answer = await refusal_of(alice.send_message(**request))
        assert answer["code"] == "invalid_request"
        assert missing in answer["error"]


async def test_the_group_wins_over_the_receiver(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "carol") as carol,
    ):
        group_id = await alice.create_group("bob")
        answer = await alice.send_message(
            receiver_id="carol", group_id=group_id, content="for the group"
        )
        assert answer["message"]["group_id"] == group_id
        assert await carol.synced() == []


async def test_beside_a_group_the_receiver_is_not_looked_at(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        group_id = await alice.create_group()
        for receiver_id in ("two words", "system", "x" * 65):
            answer = await alice.send_message(
                receiver_id=receiver_id, group_id=group_id, content="hello"
            )
            assert answer["message"]["group_id"] == group_id


async def test_the_documents_placeholder_is_no_group(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        answer = await alice.send_message(
            receiver_id="bob", group_id="optional_group_id", content="hello"
        )
        assert answer["message"]["receiver_id"] == "bob"
        send = alice.send_message(group_id="optional_group_id", content="hello")
        assert await code_of(send) == "invalid_request"


async def test_direct_messages_show_a_receiver_and_group_messages_a_group(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        common = ["type", "content", "status", "timestamp"]
        for message_id, place in (
            (await alice.send("bob"), "receiver_id"),
            (await alice.send_to_group(group_id), "group_id"),
        ):
            for user in (alice, bob):
                message = await user.get_message(message_id)
                assert list(message) == ["id", "sender_id", place, *common]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("system", "forbidden"),
        ("Text", "invalid_request"),
        ("gif", "invalid_request"),
        (" ", "invalid_request"),
        (1, "invalid_request"),
    ],
)
async def test_types_that_cannot_be_sent(kind: Any, code: str, transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        send = alice.send_message(receiver_id="bob", type=kind, content="hello")
        assert await code_of(send) == code


async def test_content_comes_back_as_it_was(transport: str) -> None:
    contents = [
        " ", "\n", "a\u0000b", "\u0000", "😀", "\ufeff", "<script>", "é", "e\u0301", "\\", "\u2028",
    ]  # fmt: skip
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        login(server, "bob") as bob,
    ):
        for content in contents:
            answer = await alice.send_message(receiver_id="bob", content=content)
            assert answer["message"]["content"] == content
            assert (await bob.push())["data"]["content"] == content
            assert (await alice.get_message(answer["message_id"]))["content"] == content


async def test_content_is_limited_in_bytes(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        for character in ("x", "é", "😀"):
            content = character * (LIMIT // len(character.encode()))
            message_id = await alice.send("bob", content)
            assert (await alice.get_message(message_id))["content"] == content
            assert await code_of(alice.send("bob", content + "x")) == "too_large"


async def test_content_is_a_string(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        for content in (1, True, [], {}, ["hello"]):
            send = alice.send_message(receiver_id="bob", content=content)
            assert await code_of(send) == "invalid_request"


async def test_a_malformed_receiver_is_refused(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        for receiver_id in ("two words", "x" * 65, "\u0000", 5, ["bob"]):
            send = alice.send_message(receiver_id=receiver_id, content="hello")
            assert await code_of(send) == "invalid_request"


async def test_an_unknown_group_does_not_exist(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        for group_id in ("group_none", "bob", " ", "\u0000", "x" * 100_000):
            assert await code_of(alice.send_to_group(group_id)) == "not_found"


async def test_a_group_that_one_may_join_is_forbidden_until_then(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group()
        for _ in range(2):  # before, and after having been in
            assert await code_of(bob.send_to_group(group_id)) == "forbidden"
            await bob.join_group(group_id)
            await bob.send_to_group(group_id)
            await bob.leave_group(group_id)


async def test_a_closed_group_does_not_exist(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        group_id = await alice.create_group()
        await alice.leave_group(group_id)
        assert await code_of(alice.send_to_group(group_id)) == "not_found"


async def test_no_send_slips_in_behind_a_leave() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        group_id = await OverWebSocket(alice).create_group("bob")
        # All at once: whatever is in one batch is decided in the order in which it came.
        await alice.send("send_message", {"group_id": group_id, "content": "before"})
        await alice.send("leave_group", {"group_id": group_id})
        await alice.send("send_message", {"group_id": group_id, "content": "after"})
        answers = []
        while len(answers) < 3:
            frame = await alice.receive()
            if frame["type"] != "new_group_message":
                answers.append(frame["data"])
        assert [answer["success"] for answer in answers] == [True, True, False]
        assert answers[2]["code"] == "forbidden"


async def test_messages_take_their_places_in_one_order(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        assert await alice.send("bob") == "msg_1"
        assert await bob.send("alice") == "msg_2"
        with pytest.raises(Refused):
            await alice.send("bob", "")
        group_id = await alice.create_group("bob")  # has a message of its own
        assert await bob.send_to_group(group_id) == "msg_4"

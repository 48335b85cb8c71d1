"""Frames' envelopes, and what makes a send happen once: the design's section, Envelope."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.api import acting, code_of
from tests.support import Refused, login, rest, running_server

if TYPE_CHECKING:
    from pathlib import Path

SEND = {"receiver_id": "bob", "content": "hello"}


@pytest.mark.parametrize(
    "timestamp", [None, 0, -1, 1.5, 10**30, "yesterday", [], {}, True], ids=json.dumps
)
async def test_the_clients_timestamp_is_its_own_affair(timestamp: Any) -> None:
    async with running_server() as server, login(server, "alice") as alice:
        answer = await alice.ask("heartbeat", {}, timestamp=timestamp)
        assert type(answer["timestamp"]) is int
        assert answer["data"]["timestamp"] > 1_600_000_000_000


async def test_type_and_data_are_enough_and_unknown_fields_are_ignored() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        await alice.connection.send_message('{"type": "heartbeat"}')
        assert (await alice.receive())["type"] == "heartbeat"
        answer = await alice.ask(
            "send_message", SEND | {"colour": "blue", "x": {"y": [1]}}, version=2, extra={"a": []}
        )
        assert answer["data"]["success"] is True
        assert "colour" not in answer["data"]["message"]


@pytest.mark.parametrize("data", ["", ', "data": {}', ', "data": null'])
async def test_no_data_is_empty_data(data: str) -> None:
    async with running_server() as server, login(server, "alice") as alice:
        await alice.connection.send_message(f'{{"type": "sync_offline"{data}}}')
        answer = await alice.receive()
        assert answer["type"] == "sync_offline"
        assert answer["data"] == {"messages": [], "has_more": False}


@pytest.mark.parametrize("message_id", ["", "c-1", "张" * 128])
async def test_message_id_is_echoed_in_answers_and_in_errors(message_id: str) -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for kind, data, answered in (
            ("heartbeat", {}, "heartbeat"),
            ("send_message", SEND, "send_message"),
            ("send_message", {}, "send_message"),
            ("get_message", {"message_id": "msg_99"}, "get_message"),
            ("no_such_type", {}, "error"),
        ):
            answer = await alice.ask(kind, data, message_id=message_id)
            assert answer["type"] == answered
            assert answer["message_id"] == message_id
            assert list(answer) == ["type", "data", "timestamp", "message_id"]


async def test_without_message_id_there_is_none_in_the_answer() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for envelope in ({}, {"message_id": None}):
            answer = await alice.ask("heartbeat", {}, **envelope)
            assert list(answer) == ["type", "data", "timestamp"]


@pytest.mark.parametrize("message_id", ["x" * 129, 5, [], {}, False])
async def test_what_cannot_be_echoed_is_refused(message_id: Any) -> None:
    async with running_server() as server, login(server, "alice") as alice:
        answer = await alice.ask("heartbeat", {}, message_id=message_id)
        assert answer["type"] == "error"
        assert answer["data"]["code"] == "invalid_request"
        assert "message_id" not in answer


async def test_message_id_is_correlation_only() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        sent = [await alice.ask("send_message", SEND, message_id="same") for _ in range(2)]
        assert [answer["data"]["message_id"] for answer in sent] == ["msg_1", "msg_2"]


async def test_a_repeated_send_is_the_first_over_both_transports() -> None:
    request = SEND | {"client_msg_id": "k1"}
    async with (
        running_server() as server,
        login(server, "bob") as bob,
        login(server, "alice") as other_session,
        login(server, "alice") as socket,
        rest(server, "alice") as calls,
    ):
        first = await socket.call("send_message", request)
        again = [
            await socket.call("send_message", request),
            await calls.post("/api/v1/messages", request),
            await calls.post("/api/v1/messages", SEND, headers={"Idempotency-Key": "k1"}),
            await calls.post("/api/v1/messages", request, headers={"Idempotency-Key": "k1"}),
        ]
        assert all(answer == first for answer in again)
        for recipient in (bob, other_session):
            assert (await recipient.push())["data"] == first["message"]
            await recipient.no_push()


async def test_a_key_first_used_in_the_header_is_known_to_frames() -> None:
    async with (
        running_server() as server,
        login(server, "alice") as socket,
        rest(server, "alice") as calls,
    ):
        key = "钥匙"
        first = await calls.post("/api/v1/messages", SEND, headers={"Idempotency-Key": key})
        assert await socket.call("send_message", SEND | {"client_msg_id": key}) == first


async def test_two_different_keys_for_one_send_are_refused() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        body = SEND | {"client_msg_id": "k1"}
        post = alice.post("/api/v1/messages", body, headers={"Idempotency-Key": "k2"})
        assert await code_of(post) == "invalid_request"


async def test_an_empty_key_is_none() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        empty = {"Idempotency-Key": ""}
        ids = [
            (await alice.post("/api/v1/messages", body, headers=headers))["message_id"]
            for body, headers in (
                (SEND | {"client_msg_id": ""}, {}),
                (SEND | {"client_msg_id": None}, {}),
                (SEND, empty),
                (SEND | {"client_msg_id": "k1"}, empty),
                (SEND | {"client_msg_id": "k1"}, {}),
            )
        ]
        assert ids == ["msg_1", "msg_2", "msg_3", "msg_4", "msg_4"]


@pytest.mark.parametrize(("length", "taken"), [(1, True), (128, True), (129, False)])
async def test_a_key_has_128_characters_at_most(length: int, taken: bool, transport: str) -> None:
    key = "钥" * length
    async with running_server() as server, acting(server, transport, "alice") as alice:
        if taken:
            ids = [
                (await alice.send_message(**SEND, client_msg_id=key))["message_id"]
                for _ in range(2)
            ]
            assert ids == ["msg_1", "msg_1"]
            return
        assert await code_of(alice.send_message(**SEND, client_msg_id=key)) == "invalid_request"


async def test_the_header_has_128_characters_at_most() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        for length, status in ((128, 200), (129, 400)):
            answer = await alice.request(
                "POST", "/api/v1/messages", json=SEND, headers={"Idempotency-Key": "钥" * length}
            )
            assert answer.status_code == status


async def test_each_sender_has_keys_of_their_own(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "carol") as carol,
    ):
        ids = [
            (await user.send_message(**SEND, client_msg_id="k1"))["message_id"]
            for user in (alice, carol)
        ]
        assert ids == ["msg_1", "msg_2"]


@pytest.mark.parametrize(
    "change", [{"content": "bye"}, {"receiver_id": "carol"}, {"type": "image"}], ids=json.dumps
)
async def test_a_key_used_for_something_else_is_a_conflict(
    change: dict[str, str], transport: str
) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        await alice.send_message(**SEND, client_msg_id="k1")
        assert await code_of(alice.send_message(**SEND | change, client_msg_id="k1")) == "conflict"
        assert await alice.send("bob") == "msg_2"  # nothing was stored for it


async def test_a_group_and_a_user_of_the_same_name_are_not_the_same(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        group_id = await alice.create_group()
        await alice.send_message(group_id=group_id, content="hello", client_msg_id="k1")
        send = alice.send_message(receiver_id=group_id, content="hello", client_msg_id="k1")
        assert await code_of(send) == "conflict"


async def test_a_conflict_has_status_409() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        statuses = [
            (
                await alice.request(
                    "POST",
                    "/api/v1/messages",
                    json={"receiver_id": "bob", "content": content},
                    headers={"Idempotency-Key": "k1"},
                )
            ).status_code
            for content in ("one", "one", "two")
        ]
        assert statuses == [200, 200, 409]


async def test_a_repeat_is_recognised_before_permission_is_asked(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        group_id = await alice.create_group("bob")
        request = {"group_id": group_id, "content": "hello", "client_msg_id": "k1"}
        first = await alice.send_message(**request)
        await alice.leave_group(group_id)
        assert await alice.send_message(**request) == first
        assert await code_of(alice.send_message(**request | {"client_msg_id": "k2"})) == "forbidden"


async def test_a_repeat_is_answered_with_the_status_of_now(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        statuses = []
        for acked in (None, "delivered", "read"):
            if acked is not None:
                await bob.ack("msg_1", acked)
            answer = await alice.send_message(**SEND, client_msg_id="k1")
            statuses.append(answer["message"]["status"])
        assert statuses == ["sent", "delivered", "read"]


async def test_a_refused_send_does_not_use_up_its_key(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group()
        request = {"group_id": group_id, "content": "hello", "client_msg_id": "k1"}
        with pytest.raises(Refused):
            await bob.send_message(**request)
        await bob.join_group(group_id)
        assert (await bob.send_message(**request))["success"] is True


async def test_a_repeat_after_a_restart_is_the_first(transport: str, tmp_path: Path) -> None:
    answers = []
    for _ in range(2):
        async with (
            running_server(data=str(tmp_path)) as server,
            acting(server, transport, "alice") as alice,
            login(server, "bob") as bob,
        ):
            answers.append(await alice.send_message(**SEND, client_msg_id="k1"))
            if len(answers) == 1:
                await bob.push()
            await bob.no_push()
    assert answers[0] == answers[1]


async def test_a_repeat_among_sends_under_way_is_stored_once() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for _ in range(10):
            await alice.send("send_message", SEND | {"client_msg_id": "k1"})
        answers = [await alice.receive() for _ in range(10)]
        assert {answer["data"]["message_id"] for answer in answers} == {"msg_1"}

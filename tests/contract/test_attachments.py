"""Messages that carry files, from the upload to the last reader."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import trio

from imserver.config import Limits
from tests.contract.api import acting, code_of, refusal_of
from tests.support import login, running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server


@asynccontextmanager
async def calling(server: Server, user_id: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-User-ID": user_id}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20) as client:
        yield client


async def upload(server: Server, user_id: str, name: str = "a.txt") -> dict[str, Any]:
    async with calling(server, user_id) as client:
        answer = await client.post("/api/v1/files", params={"name": name}, content=b"some text")
        return answer.json()["file"]


async def may_read(server: Server, file: dict[str, Any], *users: str) -> list[str]:
    found = []
    for user in users:
        async with calling(server, user) as client:
            if (await client.get(f"/api/v1/files/{file['id']}")).status_code == 200:
                found.append(user)
    return found


async def test_everyone_who_sees_the_message_sees_its_files(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        login(server, "bob") as listening,
    ):
        files = [await upload(server, "alice", name) for name in ("z.txt", "一.txt")]
        plain = (await alice.send_message(receiver_id="bob", content="no files"))["message"]
        assert "attachments" not in plain
        assert "attachments" not in (await listening.push())["data"]
        assert await may_read(server, files[0], "alice", "bob", "eve") == ["alice"]
        ids = [file["id"] for file in files]
        sent = await alice.send_message(receiver_id="bob", content="two", attachments=ids)
        assert sent["message"]["attachments"] == files
        assert (await listening.push())["data"]["attachments"] == files
        assert await may_read(server, files[1], "alice", "bob", "eve") == ["alice", "bob"]
        assert (await bob.get_message(sent["message_id"]))["attachments"] == files
        page = (await bob.sync_offline())["messages"]
        assert [message.get("attachments") for message in page] == [None, files]
        hits = (await bob.call("search_messages", {"q": "z.txt"}))["hits"]
        assert [hit["message"]["attachments"] for hit in hits] == [files]


async def test_a_message_of_files_alone(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        file = await upload(server, "alice")
        group_id = await alice.create_group("bob")
        for content in ({}, {"content": None}, {"content": ""}):
            sent = await alice.send_message(group_id=group_id, attachments=[file["id"]], **content)
            assert sent["message"]["content"] == ""
            assert sent["message"]["attachments"] == [file]
        assert await may_read(server, file, "bob", "carol") == ["bob"]
        for attachments in ({}, {"attachments": None}, {"attachments": []}):
            refusal = await refusal_of(alice.send_message(group_id=group_id, **attachments))
            assert refusal["code"] == "invalid_request"
            assert refusal["error"] == "content is required"


async def test_what_cannot_be_attached_stores_nothing(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        mine = (await upload(server, "alice"))["id"]
        theirs = (await upload(server, "bob"))["id"]
        for attachments, code in (
            ([mine, theirs], "not_found"),  # nobody shows a file by knowing its id
            (["file_00000000000000000000"], "not_found"),
            ([mine, ""], "not_found"),
            ([mine, mine], "invalid_request"),
            ([mine, *(f"file_{number}" for number in range(20))], "invalid_request"),
            (mine, "invalid_request"),
            ([1], "invalid_request"),
        ):
            send = alice.send_message(receiver_id="bob", content="x", attachments=attachments)
            assert await code_of(send) == code
        assert await code_of(
            bob.send_message(receiver_id="carol", content="x", attachments=[mine])
        ) == ("not_found")
        assert (await bob.sync_offline())["messages"] == []
        sent = await alice.send_message(receiver_id="bob", content="x", attachments=[mine])
        # Whoever may read a file does not own it: they forward the message.
        again = bob.send_message(receiver_id="carol", content="x", attachments=[mine])
        assert await code_of(again) == "not_found"
        assert sent["message_id"] == "msg_1"


async def test_a_repeated_send_has_the_same_files_or_conflicts(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        file, other = [await upload(server, "alice") for _ in range(2)]

        async def send(*attachments: dict[str, Any]) -> dict[str, Any]:
            ids = [file["id"] for file in attachments]
            return await alice.send_message(
                receiver_id="bob", content="once", client_msg_id="k", attachments=ids
            )

        first = await send(file)
        assert await send(file) == first
        for different in ([other], [file, other], []):
            assert await code_of(send(*different)) == "conflict"


async def test_a_page_counts_what_its_messages_carry(transport: str) -> None:
    settings = {"limits": Limits(page_bytes=4096)}
    async with (
        running_server(**settings) as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        with trio.fail_after(60):
            ids = [(await upload(server, "alice", "n" * 190))["id"] for _ in range(8)]
            for _ in range(5):
                await alice.send_message(receiver_id="bob", content="many", attachments=ids)
        found: list[str] = []
        more = True
        while more:
            page = await bob.sync_offline(**({"last_message_id": found[-1]} if found else {}))
            more = page["has_more"]
            assert len(page["messages"]) < 3
            found += [message["id"] for message in page["messages"]]
        assert found == [f"msg_{number}" for number in range(1, 6)]
        found = []
        cursor: str | None = None
        while cursor is not None or not found:
            answer = await bob.call(
                "search_messages", {"q": "many"} | ({"cursor": cursor} if cursor else {})
            )
            assert len(answer["hits"]) < 3
            found += [hit["message"]["id"] for hit in answer["hits"]]
            cursor = answer.get("next")
        assert found == [f"msg_{number}" for number in range(5, 0, -1)]


@pytest.mark.parametrize("wanted", ["before", "after", "around"])
async def test_a_page_of_history_counts_it_too(wanted: str, transport: str) -> None:
    settings = {"limits": Limits(page_bytes=4096)}
    async with running_server(**settings) as server, acting(server, transport, "alice") as alice:
        group_id = await alice.create_group()
        ids = [(await upload(server, "alice", "n" * 190))["id"] for _ in range(4)]
        sent = [
            (await alice.send_message(group_id=group_id, content="x", attachments=ids))[
                "message_id"
            ]
            for _ in range(9)
        ]
        place = {"before": "msg_99", "after": "msg_1", "around": sent[4]}[wanted]
        answer = await alice.call("get_history", {"group_id": group_id, wanted: place})
        found = [message["id"] for message in answer["messages"]]
        assert 1 <= len(found) < 4
        first = sent.index(found[0])
        assert found == sent[first : first + len(found)]
        assert answer["has_older"] is True  # the group's first notice, at least
        assert answer["has_newer"] == (wanted != "before")
        expected = {"before": sent[8], "after": sent[0], "around": sent[4]}[wanted]
        assert expected in found

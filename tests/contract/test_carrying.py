"""Answers and their threads, mentions, and messages sent again."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.contract.api import acting, code_of
from tests.contract.test_attachments import may_read, upload
from tests.support import login, running_server

if TYPE_CHECKING:
    from tests.contract.api import Api


async def sent(api: Api, **request: Any) -> dict[str, Any]:
    return (await api.send_message(**{"content": "x"} | request))["message"]


async def test_answers_make_a_thread(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        login(server, "bob") as listening,
    ):
        root = await alice.send("bob", "what is for lunch?")
        await listening.push()
        first = await sent(bob, receiver_id="alice", reply_to=root)
        assert (first["reply_to"], first["thread_id"]) == (root, root)
        assert "replies" not in first
        pushed = (await listening.push())["data"]
        assert (pushed["reply_to"], pushed["thread_id"]) == (root, root)
        second = await sent(alice, receiver_id="bob", reply_to=first["id"])
        assert (second["reply_to"], second["thread_id"]) == (first["id"], root)
        assert (await listening.push())["data"]["thread_id"] == root
        for api in (alice, bob):
            assert (await api.get_message(root))["replies"] == 2
        page = (await bob.sync_offline(include_own=True))["messages"]
        assert [message.get("thread_id") for message in page] == [None, root, root]
        assert [message.get("replies") for message in page] == [2, None, None]
        assert [message.get("reply_to") for message in page] == [None, root, first["id"]]


async def test_only_what_the_sender_sees_in_this_conversation_is_answered(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group()
        early = await alice.send_to_group(group_id)
        await bob.join_group(group_id)
        other = await alice.send("bob")
        theirs = await alice.send("carol")
        for target, reply_to in (
            ({"group_id": group_id}, early),  # from before one's time
            ({"group_id": group_id}, other),
            ({"receiver_id": "alice"}, theirs),
            ({"receiver_id": "dave"}, other),
            ({"receiver_id": "alice"}, "msg_99"),
            ({"receiver_id": "alice"}, "msg_0"),
            ({"receiver_id": "alice"}, "nonsense"),
        ):
            assert await code_of(sent(bob, reply_to=reply_to, **target)) == "not_found"
        late = await sent(alice, group_id=group_id, reply_to=early)
        # Bob may answer the answer, and never sees what it is about.
        answer = await sent(bob, group_id=group_id, reply_to=late["id"])
        assert answer["thread_id"] == early
        assert await code_of(bob.get_message(early)) == "not_found"
        await bob.leave_group(group_id)
        await sent(alice, group_id=group_id, reply_to=early)
        assert (await alice.get_message(early))["replies"] == 3


async def test_who_left_does_not_see_a_thread_grow(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
    ):
        group_id = await alice.create_group("bob")
        root = await alice.send_to_group(group_id)
        await sent(alice, group_id=group_id, reply_to=root)
        await bob.leave_group(group_id)
        await sent(alice, group_id=group_id, reply_to=root)
        assert (await alice.get_message(root))["replies"] == 2
        assert (await bob.get_message(root))["replies"] == 1


async def test_mentions_are_said(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        login(server, "bob") as listening,
    ):
        group_id = await alice.create_group("bob", "carol")
        await listening.push()
        plain = await sent(alice, group_id=group_id, content="@bob and a@b.com")
        assert "mentions" not in plain
        assert "mentions" not in (await listening.push())["data"]
        message = await sent(
            alice, group_id=group_id, mentions=["carol", "alice", "bob"], mention_all=True
        )
        for view in (
            message,
            (await listening.push())["data"],
            await bob.get_message(message["id"]),
        ):
            assert view["mentions"] == ["carol", "alice", "bob"]
            assert view["mention_all"] is True
        for target, mentions, code in (
            ({"group_id": group_id}, ["dave"], "not_found"),
            ({"group_id": group_id}, ["bob", "bob"], "invalid_request"),
            ({"group_id": group_id}, [f"u{number}" for number in range(51)], "invalid_request"),
            ({"receiver_id": "bob"}, ["carol"], "not_found"),
        ):
            assert await code_of(sent(alice, mentions=mentions, **target)) == code
        direct = await sent(alice, receiver_id="new", mentions=["new"])
        assert direct["mentions"] == ["new"]
        assert "mention_all" not in direct
        assert await code_of(sent(alice, receiver_id="bob", mention_all=True)) == "invalid_request"


@pytest.mark.parametrize("members", [50, 51])
async def test_everyone_is_mentioned_by_few_in_large_groups(members: int, transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "u1") as member,
    ):
        others = [f"u{number}" for number in range(1, members)]
        group_id = await alice.create_group(*others)
        call = sent(member, group_id=group_id, mention_all=True)
        if members <= 50:
            assert (await call)["mention_all"]
        else:
            assert await code_of(call) == "forbidden"
            await alice.govern("set_role", group_id, user_id="u1", role="admin")
            assert (await sent(member, group_id=group_id, mention_all=True))["mention_all"]
        assert (await sent(alice, group_id=group_id, mention_all=True))["mention_all"]


async def test_a_forwarded_message_says_whose_words_it_brings(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
    ):
        file = await upload(server, "alice")
        origin = await sent(
            alice, receiver_id="bob", content="words", type="file", attachments=[file["id"]]
        )
        forwarded = {"sender_id": "alice", "timestamp": origin["timestamp"]}
        first = (await bob.send_message(receiver_id="carol", forward_of=origin["id"]))["message"]
        assert first["sender_id"] == "bob"
        assert await may_read(server, file, "carol", "eve") == ["carol"]
        second = (await carol.send_message(receiver_id="eve", forward_of=first["id"]))["message"]
        for api, message in ((carol, first), (carol, second)):
            for view in (message, await api.get_message(message["id"])):
                assert (view["content"], view["type"]) == ("words", "file")
                assert view["attachments"] == [file]
                assert view["forwarded"] == forwarded
        assert await may_read(server, file, "carol", "eve") == ["carol", "eve"]
        group_id = await alice.create_group()
        notice = (await alice.sync_offline())["messages"][-1]["id"]
        for api, request, code in (
            (carol, {"forward_of": origin["id"]}, "not_found"),  # not theirs to see
            (carol, {"forward_of": "x"}, "not_found"),
            (bob, {"forward_of": origin["id"], "content": "mine"}, "invalid_request"),
            (alice, {"forward_of": origin["id"], "attachments": [file["id"]]}, "invalid_request"),
            (alice, {"forward_of": notice, "group_id": group_id}, "invalid_request"),
        ):
            assert await code_of(api.send_message(**{"receiver_id": "bob"} | request)) == code


async def test_a_repeated_send_says_the_same_or_conflicts(transport: str) -> None:
    async with running_server() as server, acting(server, transport, "alice") as alice:
        root, other = await alice.send("bob"), await alice.send("bob")
        request = {"receiver_id": "bob", "client_msg_id": "k", "reply_to": root}
        first = await sent(alice, mentions=["bob"], **request)
        assert await sent(alice, mentions=["bob"], **request) == first
        for different in (
            {"mentions": []},
            {"mentions": ["alice"]},
            {"mentions": ["bob"], "reply_to": other},
            {"mentions": ["bob"], "reply_to": None},
        ):
            assert await code_of(sent(alice, **request | different)) == "conflict"

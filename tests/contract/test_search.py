"""Searching: what is found, for whom, and where in the text it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from imserver.config import Retention
from tests.contract.api import acting, code_of
from tests.support import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from imserver import Server
    from tests.contract.api import Api

INDEXED = "indexed"
SCANNED = "scanned"


@pytest.fixture(params=[INDEXED, SCANNED])
async def server(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Server]:
    """A server with an index, and one in memory that has to look at everything."""
    settings: dict[str, Any] = {"data": str(tmp_path)} if request.param == INDEXED else {}
    async with running_server(**settings) as running:
        yield running


async def hits(user: Api, **request: Any) -> list[dict[str, Any]]:
    """All hits, page by page."""
    found: list[dict[str, Any]] = []
    while True:
        page = await user.call("search_messages", request)
        found += page["hits"]
        if "next" not in page:
            return found
        request["cursor"] = page["next"]


async def contents(user: Api, **request: Any) -> list[str]:
    return [hit["message"]["content"] for hit in await hits(user, **request)]


def marked(hit: dict[str, Any]) -> list[str]:
    """What the ranges of a hit say, counted in UTF-16."""
    text = hit["message"]["content"].encode("utf-16-le")
    return [text[2 * start : 2 * end].decode("utf-16-le") for start, end in hit["ranges"]]


CASES = [
    ("晚", ["今天晚上一起吃饭吧"]),
    ("晚上", ["今天晚上一起吃饭吧"]),
    ("上晚", []),
    ("饭吃", []),
    ("晚上 吃饭", ["今天晚上一起吃饭吧"]),
    ("手机", ["我的iPhone15手机坏了😀手机"]),
    ("iph", ["我的iPhone15手机坏了😀手机"]),
    ("phone", []),
    ("HEL", ["Hello wörld, hello again", "say hello"]),
    ("h", ["Hello wörld, hello again", "say hello"]),
    ('"hello world"', []),
    ('"hello wörld"', ["Hello wörld, hello again"]),
    ('"hel"', []),
    ("hello again", ["Hello wörld, hello again"]),
    ("again hello", ["Hello wörld, hello again"]),
    ("ｈｅｌｌｏ　ａｇａｉｎ", ["Hello wörld, hello again"]),
    ("안녕", ["안녕하세요"]),
    ("녕하", ["안녕하세요"]),
    ("ラメ", ["カﾒラのカメラメ"]),
]


@pytest.mark.parametrize(("query", "expected"), CASES)
async def test_what_is_found(
    server: Server, transport: str, query: str, expected: list[str]
) -> None:
    texts = [
        "今天晚上一起吃饭吧",
        "我的iPhone15手机坏了😀手机",
        "Hello wörld, hello again",
        "say hello",
        "안녕하세요",
        "カﾒラのカメラメ",
        "nothing of it",
    ]
    async with acting(server, transport, "alice") as alice, acting(server, transport, "bob") as bob:
        for text in texts:
            await alice.send("bob", text)
        assert await contents(bob, q=query) == list(reversed(expected))
        assert await contents(alice, q=query) == list(reversed(expected))


async def test_ranges_are_of_the_original(server: Server, transport: str) -> None:
    async with acting(server, transport, "alice") as alice:
        await alice.send("bob", "我的iPhone15手机坏了😀手机")
        await alice.send("bob", "The ﬁnest CAFÉ, cafe\u0301 or ｶﾞ")
        (hit,) = await hits(alice, q="手机 iphone")
        assert marked(hit) == ["iPhone", "手机", "手机"]
        (hit,) = await hits(alice, q="café")
        assert marked(hit) == ["CAFÉ", "cafe\u0301"]
        (hit,) = await hits(alice, q="fin ガ")
        assert marked(hit) == ["ﬁn", "ｶﾞ"]


@pytest.mark.parametrize(
    "query",
    [
        '"',
        '""',
        "a OR b",
        "NEAR(a b)",
        "text:secret",
        "a*",
        "-a",
        "(",
        ")",
        "a AND",
        "^a",
        "'; DROP TABLE x",
        "{text}: x",
        "k1",
        "u1",
        "facet:k1",
        "\0",
        "%",
        "😀",
        "\ud7ff",
        'a"b',
        "a\\",
        "+",
        "t1 OR t2",
    ],
)
async def test_a_query_is_never_syntax(server: Server, transport: str, query: str) -> None:
    async with acting(server, transport, "alice") as alice:
        await alice.send("bob", "secret")
        assert await contents(alice, q=query) == []


async def test_nobody_finds_what_is_not_theirs(server: Server, transport: str) -> None:
    async with (
        acting(server, transport, "alice") as alice,
        acting(server, transport, "bob") as bob,
        acting(server, transport, "carol") as carol,
    ):
        group_id = await alice.create_group("bob")
        await alice.send_to_group(group_id, "plan one")
        await carol.join_group(group_id)
        await alice.send_to_group(group_id, "plan two")
        await bob.leave_group(group_id)
        await alice.send_to_group(group_id, "plan three")
        await alice.send("bob", "plan four")
        assert await contents(alice, q="plan") == [
            "plan four",
            "plan three",
            "plan two",
            "plan one",
        ]
        assert await contents(bob, q="plan") == ["plan four", "plan two", "plan one"]
        assert await contents(carol, q="plan") == ["plan three", "plan two"]
        assert await contents(bob, q="plan", group_id=group_id) == ["plan two", "plan one"]
        assert await contents(alice, q="plan", user_id="bob") == ["plan four"]
        search = carol.call("search_messages", {"q": "plan", "user_id": "bob"})
        assert await code_of(search) == "not_found"
        search = carol.call("search_messages", {"q": "plan", "group_id": "group_none"})
        assert await code_of(search) == "not_found"
    async with acting(server, transport, "nobody") as nobody:
        assert await contents(nobody, q="plan") == []


async def test_filters(server: Server, transport: str) -> None:
    async with acting(server, transport, "alice") as alice, acting(server, transport, "bob") as bob:
        await alice.send("bob", "see https://example.org/page")
        await bob.send("alice", "see you")
        await alice.send_message(receiver_id="bob", type="image", content="see.png")
        await alice.send_message(receiver_id="bob", type="file", content="see.pdf")
        everything = await hits(alice, q="see")
        assert len(everything) == 4
        assert await contents(alice, q="see", **{"from": "bob"}) == ["see you"]
        assert await contents(alice, q="see", **{"from": "carol"}) == []
        assert await contents(alice, q="see", type="image") == ["see.png"]
        assert await contents(alice, q="see", type="text") == [
            "see you",
            "see https://example.org/page",
        ]
        assert await contents(alice, has="link") == ["see https://example.org/page"]
        assert await contents(alice, has="image") == ["see.png"]
        assert await contents(alice, has="file", user_id="bob") == ["see.pdf", "see.png"]
        time = everything[-1]["message"]["timestamp"]
        assert await contents(alice, q="see", before=time) == []
        assert len(await hits(alice, q="see", after=time - 1)) == 4
        assert await code_of(alice.call("search_messages", {})) == "invalid_request"
        assert (
            await code_of(alice.call("search_messages", {"q": "see", "cursor": "x"}))
            == "invalid_request"
        )


async def test_pages_follow_each_other(server: Server, transport: str) -> None:
    async with acting(server, transport, "alice") as alice:
        sent = [f"word {number}" for number in range(7)]
        for text in sent:
            await alice.send("bob", text)
        page = await alice.call("search_messages", {"q": "word", "limit": 3})
        assert [hit["message"]["content"] for hit in page["hits"]] == sent[:-4:-1]
        assert await contents(alice, q="word", limit=3) == sent[::-1]
        assert "next" not in await alice.call("search_messages", {"q": "word", "limit": 7})


async def test_system_messages_are_not_found(server: Server, transport: str) -> None:
    async with acting(server, transport, "alice") as alice:
        await alice.create_group("bob")
        assert await contents(alice, q="alice") == []


async def test_a_member_of_500_conversations(server: Server) -> None:
    async with acting(server, "websocket", "alice") as alice:
        for number in range(500):
            await alice.send(f"u{number}", f"common {number}")
        assert len(await hits(alice, q="common", limit=100)) == 500
        assert await contents(alice, q="common 42", user_id="u42") == ["common 42"]


async def test_words_of_expired_messages_are_gone(tmp_path: Path) -> None:
    now = 1_700_000_000_000
    retention = Retention(days=1, every=1)
    settings = {"data": str(tmp_path), "retention": retention, "clock": lambda: now}
    async with running_server(**settings) as server, acting(server, "rest", "alice") as alice:
        await alice.send("bob", "verysecretword")
        assert await contents(alice, q="verysecretword") == ["verysecretword"]
        now += 2 * 86_400_000
        await alice.send("bob", "later")
        with trio.fail_after(20):
            while await contents(alice, q="verysecretword"):  # noqa: ASYNC110 - a search
                await trio.sleep(0.05)
        assert await contents(alice, q="later") == ["later"]

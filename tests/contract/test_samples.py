"""The API document's two sample clients, their classes run as printed.

Their last lines, which name port 8080 and are not part of the classes, are run by hand.
"""

from __future__ import annotations

import json
import shutil
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING, Any

import pytest
import trio

from tests.contract.document import code
from tests.support import login, rest, running_server
from tests.support.clients import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server

USAGE = "使用示例"  # the comment above the last lines
DRIVER = Path(__file__).parent / "samples" / "drive.cjs"
NODE = shutil.which("node")

needs_node = pytest.mark.skipif(NODE is None, reason="node is not installed")


def class_of(heading: str) -> tuple[str, str]:
    """A sample's class and the lines that show its use."""
    text = code(heading)
    start = text.rindex("\n", 0, text.index(USAGE)) + 1
    return text[:start], text[start:]


def test_only_the_lines_of_use_name_an_address() -> None:
    for heading in ("JavaScript WebSocket客户端", "Python HTTP客户端"):
        of_class, of_use = class_of(heading)
        assert "8080" not in of_class
        assert "localhost:8080" in of_use


class PythonClient:
    """The document's Python class, called from trio."""

    def __init__(self, server: Server, user_id: str) -> None:
        names: dict[str, Any] = {}
        exec(class_of("Python HTTP客户端")[0], names)
        self._client = names["IMClient"](server.url, user_id)

    async def call(self, method: str, *args: Any, **options: Any) -> dict[str, Any]:
        """Call one of its methods, which block, in a thread."""
        return await trio.to_thread.run_sync(
            partial(getattr(self._client, method), *args, **options)
        )


async def test_the_python_client_sends() -> None:
    async with running_server() as server, login(server, "user456") as recipient:
        client = PythonClient(server, "user123")
        result = await client.call("send_message", "user456", "Hello!")
        assert result["success"] is True
        assert (await recipient.push())["data"] == result["message"]
        assert result["message"]["sender_id"] == "user123"
        assert result["message"]["content"] == "Hello!"


async def test_the_python_client_sends_to_a_group_though_it_names_a_receiver() -> None:
    async with running_server() as server, login(server, "user456") as member:
        client = PythonClient(server, "user123")
        group = await client.call("create_group", "My Group", "A test group", ["user456"])
        assert group["group"]["members"] == ["user456"]
        group_id = group["group"]["id"]
        await member.push()
        result = await client.call("send_message", "user789", "Hello!", group_id=group_id)
        assert result["message"]["group_id"] == group_id
        pushed = await member.push()
        assert (pushed["type"], pushed["data"]) == ("new_group_message", result["message"])


async def test_the_python_client_gets_offline_messages() -> None:
    async with running_server() as server, rest(server, "user456") as sender:
        client = PythonClient(server, "user123")
        assert await client.call("get_offline_messages") == {"messages": [], "has_more": False}
        for content in ("one", "two", "three"):
            await sender.post("/api/v1/messages", {"receiver_id": "user123", "content": content})
        page = await client.call("get_offline_messages", limit=2)
        assert [message["content"] for message in page["messages"]] == ["one", "two"]
        assert page["has_more"] is True
        cursor = page["messages"][-1]["id"]
        page = await client.call("get_offline_messages", last_message_id=cursor)
        assert [message["content"] for message in page["messages"]] == ["three"]


async def test_the_python_client_is_told_what_is_wrong() -> None:
    async with running_server() as server:
        result = await PythonClient(server, "user123").call("send_message", "user456", "")
        assert result["code"] == "invalid_request"


class JavaScriptClient:
    """The document's JavaScript class in a process of its own."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._lines = b""

    async def logged(self) -> list[Any]:
        """What the client logs next: the arguments of `console.log`."""
        assert self._process.stdout is not None
        with trio.fail_after(PATIENCE):
            while b"\n" not in self._lines:
                data = await self._process.stdout.receive_some()
                assert data, "the client ended"
                self._lines += data
        line, _, self._lines = self._lines.partition(b"\n")
        return json.loads(line)

    async def send_message(self, receiver_id: str, content: str) -> None:
        """Call its sendMessage."""
        assert self._process.stdin is not None
        await self._process.stdin.send_all(json.dumps([receiver_id, content]).encode() + b"\n")

    async def close(self) -> None:
        """Close its connection, and wait until the process has ended."""
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        with trio.fail_after(PATIENCE):
            assert await self._process.wait() == 0


@asynccontextmanager
async def javascript_client(
    server: Server, user_id: str, folder: Path
) -> AsyncIterator[JavaScriptClient]:
    """The JavaScript client, connecting as a user."""
    assert NODE is not None
    printed = folder / "client.js"
    printed.write_text(class_of("JavaScript WebSocket客户端")[0], "utf-8")
    url = server.url.replace("http", "ws", 1) + "/ws"
    command = [NODE, str(DRIVER), str(printed), url, user_id]
    process = await trio.lowlevel.open_process(command, stdin=PIPE, stdout=PIPE)
    try:
        yield JavaScriptClient(process)
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None
            await pipe.aclose()


@needs_node
async def test_the_javascript_client(tmp_path: Path) -> None:
    async with (
        running_server() as server,
        login(server, "user456") as friend,
        rest(server, "user456") as friends_calls,
        javascript_client(server, "user123", tmp_path) as client,
    ):
        assert await client.logged() == ["Connected to IM server"]
        label, answer = await client.logged()
        assert (label, answer["type"]) == ("Received message:", "login")
        assert answer["data"] == {
            "success": True,
            "message": "Login successful",
            "user_id": "user123",
        }

        await client.send_message("user456", "Hello, 世界! 😀")
        label, answer = await client.logged()
        assert (label, answer["type"]) == ("Received message:", "send_message")
        assert answer["data"]["success"] is True
        assert (await friend.push())["data"] == answer["data"]["message"]

        sent = await friend.call("send_message", {"receiver_id": "user123", "content": "x" * 300})
        assert await client.logged() == ["New message:", sent["message"]]
        large = {"receiver_id": "user123", "content": "字" * 21_845}
        sent = await friends_calls.post("/api/v1/messages", large)
        assert await client.logged() == ["New message:", sent["message"]]

        group = {"name": "My Group", "members": ["user123"]}
        await friends_calls.post("/api/v1/groups", group)
        label, message = await client.logged()
        assert label == "New group message:"
        assert message["type"] == "system"

        await client.send_message("two words", "refused")
        label, answer = await client.logged()
        assert answer["data"]["code"] == "invalid_request"

        await client.close()
        assert await client.logged() == ["Disconnected from IM server"]


@needs_node
async def test_the_javascript_client_hears_of_a_stop(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        async with running_server() as server:
            client = await stack.enter_async_context(javascript_client(server, "user1", tmp_path))
            assert await client.logged() == ["Connected to IM server"]
            assert (await client.logged())[1]["type"] == "login"
        assert await client.logged() == ["Disconnected from IM server"]

"""What the README tells people to type does what the README says."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import pytest
import trio

from imserver import __version__
from imserver.bench.command import bench
from imserver.cli.program import program
from tests.docs.browser import CHROMIUM, browser
from tests.docs.markdown import ROOT, Page
from tests.support import login, running_server
from tests.support.clients import PATIENCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.docs.markdown import Code

README = Page("README.md")
PRINTED_TIME = 1640995200000
PRINTED_ADDRESS = "127.0.0.1:8080"


def blocks(heading: str) -> list[Code]:
    """The blocks of code under a heading."""
    section = README.section(heading)
    return [block for block in README.blocks if f"\n{block.text}\n" in section]


def objects(text: str) -> list[Any]:
    """JSON values one after the other, with or without white space between them."""
    decoder, found = json.JSONDecoder(), []
    while text := text.strip():
        value, end = decoder.raw_decode(text)
        found.append(value)
        text = text[end:]
    return found


def test_every_flag_that_is_named_exists() -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", README.text)) - {"--help"}
    context = click.Context(program)
    loaded = [program.get_command(context, name) for name in program.list_commands(context)]
    known = {
        option
        for command in (program, bench, *loaded)
        for parameter in command.params
        for option in parameter.opts
    }
    assert named <= known


@asynccontextmanager
async def started(command: list[str], **options: Any) -> AsyncIterator[trio.Process]:
    """A process, asked to end when it is not needed any more."""
    run = partial(trio.run_process, command, check=False, stdout=subprocess.PIPE, **options)
    async with trio.open_nursery() as tasks:
        process: trio.Process = await tasks.start(run)
        async with process.stdout:
            with trio.fail_after(PATIENCE):
                yield process
            process.terminate()


async def appears(process: trio.Process, text: bytes) -> None:
    """Wait until a process has printed something."""
    seen = b""
    while text not in seen:
        data = await process.stdout.receive_some()
        assert data, seen
        seen += data


def test_the_commands_are_those_that_ci_runs() -> None:
    shown = subprocess.run(
        ["bash", ".ci/run", "--commands"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    commands = [blocks("Run it")[0].text, blocks("Test it")[0].text]
    assert shown.stdout.splitlines() == commands


async def test_ready_looks_as_it_is_printed(tmp_path: Path) -> None:
    async with started([sys.executable, "-m", "imserver", "--port", "0"], cwd=tmp_path) as process:
        line = b""
        while not line.endswith(b"\n"):
            line += await process.stdout.receive_some()
    printed = blocks("Run it")[1].text
    assert f"imserver {__version__} " in printed
    before, after = printed.split(PRINTED_ADDRESS)
    assert line.decode().startswith(before)
    assert line.decode().endswith(after + "\n")


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")
async def test_the_conversation_with_curl_goes_as_it_is_printed() -> None:
    conversation = blocks("With curl")
    assert [block.language for block in conversation] == ["bash", "json"] * 3
    async with running_server(clock=lambda: PRINTED_TIME) as server:
        for command, answer in zip(conversation[::2], conversation[1::2], strict=True):
            said = await trio.run_process(
                ["bash", "-euc", command.text.replace(PRINTED_ADDRESS, server.url[7:])],
                capture_stdout=True,
            )
            assert objects(said.stdout.decode()) == objects(answer.text)


async def test_the_chat_in_two_windows_goes_both_ways() -> None:
    commands = [block.text.split() for block in blocks("In two windows")]
    async with running_server() as server:
        ours = [sys.executable, "-m", "imserver"]
        here, there = ([*ours, *command[1:], "--url", server.url] for command in commands)
        async with (
            started(here, stdin=subprocess.PIPE) as alice,
            started(there, stdin=subprocess.PIPE) as bob,
        ):
            await alice.stdin.send_all(b"Hello from here\n")
            await appears(bob, b"Hello from here")
            await bob.stdin.send_all(b"Hello from there\n")
            await appears(alice, b"Hello from there")
            for window in (alice, bob):
                await window.stdin.aclose()


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no node")
async def test_the_script_for_the_browser_logs_in_and_sends() -> None:
    (script,) = blocks("In a browser")
    async with running_server() as server, login(server, "bob") as bob:
        text = script.text.replace(PRINTED_ADDRESS, server.url[7:])
        async with started(["node", "--experimental-websocket", "--eval", text]):
            pushed = await bob.push()
        assert pushed["data"]["sender_id"] == "carol"
        assert pushed["data"]["content"] in text


@pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium")
async def test_it_works_in_the_console_of_the_page_that_is_named(tmp_path: Path) -> None:
    (script,) = blocks("In a browser")
    (page,) = set(re.findall(r"`(http://\S+)`", README.section("In a browser")))
    async with (
        running_server() as server,
        login(server, "bob") as bob,
        browser(tmp_path) as console,
    ):
        await console.open(page.replace(f"http://{PRINTED_ADDRESS}", server.url))
        await console.type(script.text.replace(PRINTED_ADDRESS, server.url[7:]))
        pushed = await bob.push()
        assert pushed["data"]["sender_id"] == "carol"
        await bob.call("send_message", {"receiver_id": "carol", "content": "Hello, Carol"})
        await console.logs("Hello, Carol")


async def test_the_program_that_embeds_a_server_runs() -> None:
    (example,) = blocks("Embedding")
    said = await trio.run_process(
        [sys.executable, "-W", "error", "-c", example.text], capture_stdout=True
    )
    assert b"listening at ('127.0.0.1', " in said.stdout
    assert b"'status': 'ok'" in said.stdout


async def test_the_program_with_two_clients_runs() -> None:
    (example,) = blocks("The Python client")
    async with running_server() as server:
        text = example.text.replace(PRINTED_ADDRESS, server.url[7:])
        said = await trio.run_process(
            [sys.executable, "-W", "error", "-c", text], capture_stdout=True
        )
    assert said.stdout == b"alice: Hello from Python\n"


async def test_the_example_of_embedding_runs() -> None:
    said = await trio.run_process(
        [sys.executable, "-W", "error", str(ROOT / "docs" / "embedding.py")], capture_stdout=True
    )
    text = said.stdout.decode()
    assert "(:memory:)" in text
    assert text.count('"type":"new_message"') == 2
    assert text.endswith("after a restart: ['hello, file']\n")

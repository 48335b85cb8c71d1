"""docs/client.md: its program runs, and what it names is what there is."""

from __future__ import annotations

import inspect
import re
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec
import trio

from imserver import client as package
from imserver.client import Client, Patience, open_client
from tests.client.support import LONG, hosted_process, messages, stored
from tests.docs.markdown import ROOT, Page
from tests.e2e.process import environment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

GUIDE = Page("docs/client.md")


def table(heading: str) -> set[str]:
    """What stands in the first column of the table under a heading."""
    rows = re.findall(r"^\|(.+?)\|", GUIDE.section(heading), re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(\w+)", row)}


def test_every_call_is_in_the_guide() -> None:
    calls = {
        name
        for name, value in inspect.getmembers(Client, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert table("Calls") == calls


def test_every_argument_and_time_is_in_the_guide() -> None:
    assert table("Opening") == set(inspect.signature(open_client).parameters)
    assert table("Waiting") == {field.name for field in msgspec.structs.fields(Patience)}
    for field in msgspec.structs.fields(Patience):
        assert re.search(rf"`{field.name}` \| {field.default:g} \|", GUIDE.text), field.name


def test_every_event_and_error_is_in_the_guide() -> None:
    errors = {
        name
        for name in package.__all__
        if inspect.isclass(value := getattr(package, name))
        and issubclass(value, package.ClientError)
        and value is not package.ClientError
    }
    assert table("Errors") == errors
    assert table("Events") >= {event.__name__ for event in package.Event.__args__}


@asynccontextmanager
async def bot(folder: Path, url: str) -> AsyncIterator[None]:
    """The guide's program, until it is killed."""
    [program] = [block.text for block in GUIDE.blocks if "trio.run" in block.text]
    (folder / "bot.py").write_text(program, "utf-8")
    process = await trio.lowlevel.open_process(
        [sys.executable, "bot.py", url],
        cwd=folder,
        stdout=-1,
        env=environment(PYTHONPATH=str(ROOT)),
    )
    assert process.stdout is not None
    async with process.stdout:
        try:
            said = b""
            with trio.fail_after(LONG):
                while not said.endswith(b"\n"):
                    said += await process.stdout.receive_some()
            assert said == b"bot is there\n"
            yield
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def test_the_program_answers_each_question_once(tmp_path: Path) -> None:
    async with (
        hosted_process(tmp_path) as host,
        open_client(host.url, "alice") as alice,
    ):
        async with bot(tmp_path, host.url):
            await alice.send("one", to="bot")
            assert await messages(alice, 1) == ["you said: one"]
            await host.stop()
            await host.start()
            await alice.send("two", to="bot")
            assert await messages(alice, 1) == ["you said: two"]
        await alice.send("three", to="bot")
        async with bot(tmp_path, host.url):
            assert await messages(alice, 1) == ["you said: three"]
        (tmp_path / "bot.cursor").write_text("msg_0")  # as if it had died before it wrote it
        async with bot(tmp_path, host.url):
            await alice.send("four", to="bot")
            assert await messages(alice, 1) == ["you said: four"]
        assert await stored(host.url, "alice") == [
            text
            for question in ("one", "two", "three", "four")
            for text in (question, f"you said: {question}")
        ]

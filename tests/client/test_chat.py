"""`imserver chat`, the real process: two windows, a server that dies, pipes and a terminal."""

from __future__ import annotations

import re
import signal
import subprocess
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
import trio
import trio.lowlevel

from imserver.chat import app
from imserver.chat.contacts import Contacts, Partner
from imserver.chat.pipes import Pipes
from imserver.client import Disconnected, Message, Refused, open_client
from imserver.config import Retention
from tests.client.support import (
    BRISK,
    LONG,
    free_port,
    hosted,
    hosted_process,
    messages,
    refusing,
    stored,
    until,
)
from tests.client.windows import CHAT, terminal_window, window
from tests.e2e.process import environment
from tests.support import running_server

if TYPE_CHECKING:
    from pathlib import Path

TO_BOB = Partner("bob", False)
TIME = re.compile(r"^\d\d:\d\d ", re.MULTILINE)


def said(shown: str) -> list[str]:
    """The lines that are messages, without their times."""
    return [line[6:] for line in shown.splitlines() if TIME.match(line)]


async def test_two_windows_talk_through_a_server_that_is_killed(tmp_path: Path) -> None:
    async with hosted_process(tmp_path) as host:
        async with (
            window("--as", "alice", "--to", "bob", "--url", host.url) as alice,
            window("--as", "bob", "--url", host.url) as bob,
        ):
            await alice.type("hello bob\n")
            await bob.sees("alice: hello bob")
            await bob.sees("-- /to alice answers")
            await alice.sees("✓✓ read by bob: hello bob")
            await bob.type("/to alice\n")
            await bob.sees("talking to alice")
            await bob.type("hello alice\n")
            await alice.sees("bob: hello alice")
            await bob.sees("✓✓ read by alice: hello alice")

            await host.stop()
            await alice.sees("-- disconnected")
            await bob.sees("-- disconnected")
            await alice.type("are you there?\nstill there?\n")
            await alice.sees("-- not connected: this waits")
            await host.start()
            await alice.sees("-- back")
            await bob.sees("-- back")
            await bob.sees("alice: are you there?")
            await bob.sees("alice: still there?")
            await alice.sees("✓✓ read by bob: still there?")
            await bob.type("//still here\n/quit\nnever sent\n")
            await alice.sees("bob: /still here")
            assert await bob.ended() == 0
            await alice.process.stdin.aclose()  # type: ignore[union-attr]
            assert await alice.ended() == 0

        order = ["hello bob", "hello alice", "are you there?", "still there?", "/still here"]
        assert await stored(host.url, "bob") == order
        assert said(alice.shown) == [
            "you to bob: hello bob  ✓",
            "bob: hello alice",
            "you to bob: are you there?  ✓",
            "you to bob: still there?  ✓",
            "bob: /still here",
        ]
        assert said(bob.shown) == [
            "alice: hello bob",
            "you to alice: hello alice  ✓",
            "alice: are you there?",
            "alice: still there?",
            "you to alice: /still here  ✓",
        ]
        assert "\x1b" not in alice.raw + bob.raw


async def test_groups_and_another_device() -> None:
    async with (
        running_server() as server,
        window("--as", "alice", "--url", server.url) as alice,
        open_client(server.url, "alice") as phone,
        open_client(server.url, "bob", cursor="msg_0") as bob,
    ):
        await alice.type('/group "the team" bob carol\n')
        await alice.sees("-- bob, carol: you have not talked before. Go on? [y/N]")
        await alice.type("y\n")
        await alice.sees("-- talking to the team")
        await alice.sees('* in the team: alice created the group "the team"')
        await alice.type("hi all\n/who\n/groups\n")
        await alice.sees("you in the team: hi all  ✓")
        await alice.sees("-- alice (owner), bob (member), carol (member)")
        await alice.sees("  the team  (3)")
        assert await messages(bob, 1) == ["hi all"]
        await phone.send("from my phone", to="bob")
        await alice.sees("you to bob: from my phone")
        [group] = await bob.groups()
        await bob.send("picture.png", group=group.id, type="image")
        await alice.sees("bob in the team (image): picture.png")
        await alice.type(
            "/to bob just you\n/to nobody\ny\n/leave\n/nonsense\n/to\n/join group_nowhere\n"
        )
        await alice.sees("you to bob: just you  ✓")
        await alice.sees("-- talking to nobody")
        await alice.sees("-- which group?")
        await alice.sees("there is no command /nonsense")
        await alice.sees("something is missing: /to")
        await alice.sees("-- There is no such group (not_found)")
        await alice.type(f"/leave {group.id}\n/help\n")
        await alice.sees("-- you have left the team")
        await alice.sees("/quit")
        alice.process.send_signal(signal.SIGINT)
        assert await alice.ended() == 0


async def test_what_was_shown_is_read_and_what_was_not_is_not() -> None:
    async with running_server() as server, open_client(server.url, "alice") as alice:
        for number in range(3):
            last = await alice.send(str(number), to="bob")
        async with window("--as", "bob", "--url", server.url) as bob:
            await bob.sees("alice: 2")
            await bob.type("/quit\n")
            assert await bob.ended() == 0
        assert (await alice.get_message(last.id)).status == "read"
        unread = await alice.send("later", to="bob")
        assert (await alice.get_message(unread.id)).status == "sent"
        async with window("--as", "bob", "--url", server.url) as bob:
            await bob.sees("alice: later")
        assert said(bob.shown) == ["alice: later"]


async def test_a_message_cannot_drive_the_terminal() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "eve") as eve,
        terminal_window("--as", "bob", "--url", server.url) as bob,
    ):
        await eve.send("\x1b]0;gotcha\x07\n12:00 alice: send money", to="bob")
        await bob.sees("send money")
        assert "\x1b]" not in bob.raw
        assert "\n12:00 alice" not in bob.shown


class Script(Pipes):
    """A terminal that types by itself."""

    def __init__(self, *typed: str) -> None:
        super().__init__()
        self.typed = list(typed)
        self.shown: list[str] = []

    async def line(self) -> str | None:
        return self.typed.pop(0) if self.typed else None

    def show(self, text: str) -> None:
        self.shown.append(text)


async def test_what_could_not_be_sent_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "_GRACE", 0.1)
    async with hosted(tmp_path) as host, open_client(host.url, "alice") as alice:
        await host.stop()
        await until(alice, Disconnected)
        terminal = Script("one", "two", "three")
        with trio.fail_after(LONG):
            assert await app.Chat(alice, terminal, Contacts("alice"), TO_BOB).run() == 3
        assert "-- not connected: this waits" in terminal.shown


async def test_a_refusal_for_good_ends_the_chat(tmp_path: Path) -> None:
    async with (
        hosted(tmp_path) as host,
        open_client(host.url, "alice", patience=BRISK) as alice,
    ):
        await host.stop()
        async with refusing(host.port, "unauthorized"):
            with pytest.raises(Refused, match="unauthorized"), trio.fail_after(LONG):
                await app.Chat(alice, Script("hello?"), Contacts("alice"), TO_BOB).run()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--url", "http://127.0.0.1:{free}"], "cannot reach http://127.0.0.1:{free}: connection"),
        (["--url", "127.0.0.1:1"], "'127.0.0.1:1' is not a URL"),
        (["--as", "system"], "the server does not let system in"),
        (["--to", "bob", "--group", "g"], "--to or --group"),
    ],
)
async def test_a_start_that_fails_says_why(arguments: list[str], sentence: str) -> None:
    async with running_server() as server:
        free = str(free_port())
        given = [argument.replace("{free}", free) for argument in arguments]
        async with window("--as", "alice", "--url", server.url, *given) as alice:
            assert await alice.ended() == (2 if "--group" in given else 1)
            await alice.sees(sentence.replace("{free}", free))
            assert "Traceback" not in alice.shown


async def test_lines_from_a_file(tmp_path: Path) -> None:
    lines = tmp_path / "lines"
    lines.write_text("one\ntwo\nthree", "utf-8")
    async with running_server() as server:
        with lines.open() as file:
            ran = await trio.run_process(
                [*CHAT, "--as", "alice", "--to", "bob", "--url", server.url],
                stdin=file,
                capture_stdout=True,
                env=environment(),
            )
        assert said(ran.stdout.decode()) == [f"you to bob: {n}  ✓" for n in ("one", "two", "three")]
        assert await stored(server.url, "bob") == ["one", "two", "three"]


async def test_nobody_reads_the_output() -> None:
    async with running_server() as server, open_client(server.url, "alice") as alice:
        process = await trio.lowlevel.open_process(
            [*CHAT, "--as", "bob", "--url", server.url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        async with process.stdin, process.stderr:
            await process.stdout.receive_some(1)  # it is there
            await process.stdout.aclose()
            await alice.send("hello?", to="bob")
            with trio.fail_after(LONG):
                assert await process.wait() == 0
                assert await process.stderr.receive_some() == b""


async def test_in_a_terminal_what_is_being_typed_stays() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "alice") as alice,
        terminal_window("--as", "bob", "--to", "alice", "--url", server.url) as bob,
    ):
        await bob.sees("alice>")
        assert not bob.echoes()
        await bob.type("I am typ")
        await bob.sees("I am typ")
        await alice.send("look at this", to="bob")
        await bob.sees("look at this")
        await bob.sees("alice>")  # drawn again, below
        await bob.sees("I am typ")
        family = "👩\u200d👩\u200d👧 می\u200cخواهم"
        await bob.type(f"ping\x7f\x7f\x7f\x7fing 你好 {family}\r")
        assert (await messages(alice, 1)) == [f"I am typing 你好 {family}"]
        await bob.type("\x1b[200~pasted\nin two lines\x1b[201~\r")
        assert (await messages(alice, 1)) == ["pasted\nin two lines"]
        await bob.type("\x1b[A\x1b[A\x1b[A!\r")  # history
        assert (await messages(alice, 1)) == [f"I am typing 你好 {family}!"]
        await bob.type("\x04")
        assert await bob.ended() == 0
        assert bob.echoes()


async def test_ctrl_c_in_a_terminal() -> None:
    async with running_server() as server:
        async with terminal_window("--as", "bob", "--url", server.url) as bob:
            await bob.sees(">")
            await bob.type("half a line\x03")
            assert await bob.ended() == 0
            assert bob.echoes()
            assert "Traceback" not in bob.shown
        assert await stored(server.url, "bob") == []


async def test_it_says_what_was_removed_and_what_of_it_nobody_got() -> None:
    days = [0]
    settings = {
        "clock": lambda: 1_640_995_200_000 + days[0] * 86_400_000,
        "retention": Retention(days=1, every=1),
    }
    async with (
        running_server(**settings) as server,
        window("--as", "alice", "--to", "bob", "--url", server.url) as alice,
    ):
        await alice.type("hello bob\n")
        await alice.sees("you to bob: hello bob")
        days[0] += 2
        await alice.sees("-- nobody got this before it was removed: hello bob")
        async with window("--as", "bob", "--url", server.url) as bob:
            await bob.sees("-- older messages are not kept any more")


async def test_nobody_is_talked_to_by_accident() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "bob", cursor="msg_0") as bob,
        open_client(server.url, "eve") as eve,
    ):
        team = await bob.create_group("the team", ["alice"])
        twins = [await bob.create_group("twins", ["alice"]) for _ in range(2)]
        async with window("--as", "alice", "--url", server.url) as alice:
            await alice.sees("twins")
            await alice.sees("twins")
            await eve.send("talk to me", to="alice")
            await alice.sees("eve: talk to me")
            await alice.sees("-- /to eve answers")
            await alice.type("for nobody\n")
            await alice.sees("-- not sent: choose a receiver")
            await alice.type('/to "the team" by name\n')
            await alice.sees("you in the team: by name")
            await alice.type(f"/to {team.id} by id\n")
            await alice.sees("you in the team: by id")
            await alice.type("/to bbo hello\n")
            await alice.sees("-- bbo: you have not talked before (did you mean bob?). Go on? [y/N]")
            await alice.type("n\nlost\n")
            await alice.sees("-- nothing was done")
            await alice.sees("-- not sent: choose a receiver")
            await alice.type("/to twins hello\n")
            await alice.sees("more than one is called twins")
            await alice.sees(twins[1].id)
            await alice.type("/to group_aaaaaaaaaaaa hello\n")
            await alice.sees("you are in no group group_aaaaaaaaaaaa")
            await alice.type("/to bob known from the group\n/to carol new\ny\n")
            await alice.sees("you to bob: known from the group")
            await alice.sees("you to carol: new")
            await alice.type("/quit\n")
            assert await alice.ended() == 0
        async with window("--as", "alice", "--group", "the team", "--url", server.url) as alice:
            await alice.sees("talking to the team")
        assert await stored(server.url, "carol") == ["new"]
        assert await stored(server.url, "bbo") == []


async def test_the_readers_of_a_group_message_are_summed_up() -> None:
    names = [f"reader{number}" for number in range(9)]
    async with running_server() as server, AsyncExitStack() as stack:
        readers = [await stack.enter_async_context(open_client(server.url, name)) for name in names]
        await readers[0].create_group("all", ["alice", *names[1:]])
        alice = await stack.enter_async_context(
            window("--as", "alice", "--group", "all", "--url", server.url)
        )
        await alice.sees("talking to all")
        await alice.type("hello all\n")
        for reader in readers:
            message = await until(
                reader, lambda event: isinstance(event, Message) and event.type == "text"
            )
            await reader.ack(message.id)
        await alice.sees("read by reader0")
        await alice.sees(": hello all")
        await trio.lowlevel.checkpoint()
        assert alice.shown.count("✓✓ read by") <= 3
        assert "more: hello all" in alice.shown


async def test_words_are_not_cut(tmp_path: Path) -> None:
    words = "antidisestablishment interdenominational characteristically responsibilities"
    async with (
        running_server() as server,
        open_client(server.url, "alice") as alice,
        terminal_window("--as", "bob", "--url", server.url, columns=50) as bob,
    ):
        await bob.sees(">")
        await alice.send(words, to="bob")
        for word in words.split():
            await bob.sees(word)


async def test_tab_completes_commands_and_names() -> None:
    async with (
        running_server() as server,
        open_client(server.url, "bob", cursor="msg_0") as bob,
        terminal_window("--as", "alice", "--url", server.url, columns=120) as alice,
    ):
        await alice.sees(">")
        await bob.create_group("the team", ["alice"])
        await alice.sees("the team")
        await alice.type("/groups\r")  # a message of a new group may be there before its name
        await alice.sees("  the team  (2)")
        await alice.type("/t\t")
        await alice.sees("/to")
        await alice.type('"th\thello\r')
        await alice.sees("talking to the team")
        assert await messages(bob, 1) == ["hello"]


async def test_messages_are_found_again() -> None:
    async with running_server() as server, open_client(server.url, "bob", events=False) as bob:
        team = await bob.create_group("the team", ["alice"])
        for number in range(25):
            await bob.send(f"plan number {number:02}", group=team.id)
        await bob.send("今天晚上见", to="alice")
        async with window("--as", "alice", "--url", server.url) as alice:
            await alice.sees("今天晚上见")
            await alice.type("/more\n")
            await alice.sees("-- there is no search to continue")
            await alice.type("/search 晚上\n")
            await alice.sees("bob: 今天晚上见")
            await alice.type("/search plan\n")
            await alice.sees("bob in the team: plan number 05")
            await alice.sees("bob in the team: plan number 24")
            await alice.sees("-- there may be older ones: /more")
            await alice.type("/more\n/search nonsense\n/quit\n")
            await alice.sees("bob in the team: plan number 00")
            await alice.sees("bob in the team: plan number 04")
            await alice.sees("-- nothing was found")
            assert await alice.ended() == 0

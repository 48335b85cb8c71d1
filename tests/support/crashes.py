"""The real process is killed at random moments while everybody talks, and nothing may be lost.

Used by the test of it (tests/e2e/test_crash.py) and by the bench (tests/bench/crashes.py).
"""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.e2e.process import COMMAND, environment, run, started
from tests.support.clients import Refused, login, rest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.e2e.process import Process
    from tests.support.clients import Socket

View = dict[int, dict[str, Any]]  # the messages that a user sees, by their place

USERS = ("ann", "bob", "cy", "李雷")
IN_FLIGHT = 8  # sends of one user that wait for their answer
MOST_ANSWERS = 300  # before the process is killed
DELAY = 0.02  # seconds from the last of them, at the most
START = 0.5  # seconds that a start may last which is killed
REPEATS = 20  # acknowledged sends that each user sends again after a crash


@dataclass
class Offer:
    """A message that somebody wants to be stored; its content says which one it is."""

    sender: str
    content: str
    target: dict[str, str]


@dataclass
class Ledger:
    """What the clients know. Everything in it must be true of the server, crash or no crash."""

    group_id: str = ""
    offers: dict[str, Offer] = field(default_factory=dict)  # by client_msg_id
    promised: dict[str, int] = field(default_factory=dict)  # the place that was acknowledged
    pushed: dict[str, set[int]] = field(default_factory=lambda: {user: set() for user in USERS})
    read: dict[str, set[int]] = field(default_factory=lambda: {user: set() for user in USERS})
    repeats: int = 0
    unanswered: int = 0  # sends without an answer when the process died
    found: int = 0  # of those, how many were stored
    views: dict[str, View] = field(default_factory=lambda: {user: {} for user in USERS})

    def promise(self, key: str, seq: int) -> None:
        """A send was acknowledged; a repeated one must be told what the first one was."""
        assert self.promised.setdefault(key, seq) == seq


def place(message_id: str) -> int:
    """The place in the one order that a message's id names."""
    return int(message_id.removeprefix("msg_"))


class Chatter:
    """One user who sends, receives and acknowledges until the connection dies."""

    def __init__(self, socket: Socket, user: str, ledger: Ledger, answered: trio.Event) -> None:
        self._socket = socket
        self._user = user
        self._ledger = ledger
        self._answered = answered
        self._waiting: list[str] = []  # keys of sends without an answer, in order
        self._newest = 0  # push on this connection
        self.goal = 0  # how many promises of the ledger set `answered`

    async def chat(self) -> None:
        """Keep some sends in flight; ends when the server is gone."""
        try:
            while True:
                while len(self._waiting) < IN_FLIGHT:
                    await self._send()
                await self._take(await self._socket.receive())
        except ConnectionClosed:
            self._ledger.unanswered += len(self._waiting)

    async def _send(self) -> None:
        ledger = self._ledger
        key = f"{self._user}-{len(ledger.offers)}"
        choices = [{"receiver_id": other} for other in USERS] + 3 * [{"group_id": ledger.group_id}]
        offer = ledger.offers[key] = Offer(self._user, f"this is {key}", random.choice(choices))
        self._waiting.append(key)
        data = offer.target | {"content": offer.content, "client_msg_id": key}
        await self._socket.send("send_message", data, message_id=key)

    async def _take(self, frame: dict[str, Any]) -> None:
        ledger = self._ledger
        data = frame["data"]
        match frame["type"]:
            case "send_message":
                assert data["success"]
                assert self._waiting.pop(0) == frame["message_id"], "answered out of order"
                ledger.promise(frame["message_id"], place(data["message_id"]))
                if len(ledger.promised) >= self.goal:
                    self._answered.set()
            case "new_message" | "new_group_message":
                seq = place(data["id"])
                assert seq > self._newest, "pushed out of order, or twice"
                self._newest = seq
                ledger.pushed[self._user].add(seq)
                if data["sender_id"] != self._user and random.random() < 0.2:
                    request = {"message_id": data["id"], "status": "read", "cumulative": True}
                    await self._socket.send("ack", request, message_id=data["id"])
            case "ack":
                assert data["success"]
                ledger.read[self._user].add(place(frame["message_id"]))
            case kind:
                assert kind == "message_status"


async def talk_until_killed(server: Process, ledger: Ledger, most_answers: int) -> None:
    """Everybody talks at once; after some answers, at no moment in particular, a `kill -9`."""
    answered = trio.Event()
    begin = trio.Event()
    chatters: list[Chatter] = []
    goal = len(ledger.promised) + random.randint(1, most_answers)

    async def live(user: str) -> None:
        async with login(server, user) as socket:
            chatter = Chatter(socket, user, ledger, answered)
            chatter.goal = goal
            chatters.append(chatter)
            if len(chatters) == len(USERS):
                begin.set()
            await begin.wait()
            await chatter.chat()

    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            for user in USERS:
                nursery.start_soon(live, user)
            await answered.wait()
            await trio.sleep(random.uniform(0, DELAY))  # nothing waits for this: it is the dice
            server.process.kill()
        await server.ended()


async def sync(socket: Socket, after: int) -> View:
    """Everything after a place that a user may see, own messages included."""
    messages: View = {}
    cursor = f"msg_{after}"
    while True:
        request = {"last_message_id": cursor, "limit": 200, "include_own": True}
        page = await socket.call("sync_offline", request)
        for message in page["messages"]:
            assert place(message["id"]) > place(cursor), "out of order, or twice"
            cursor = message["id"]
            messages[place(cursor)] = message
        if not page["has_more"]:
            return messages


def check(ledger: Ledger, after: int) -> None:
    """Hold what the users find against what they know; they looked at what is after a place."""
    stored: View = {}
    views = ledger.views
    for user, view in views.items():
        for seq, message in view.items():
            body = {name: value for name, value in message.items() if name != "status"}
            assert stored.setdefault(seq, body) == body, "two users see two messages at one place"
        assert ledger.pushed[user] <= view.keys(), "what was pushed is gone"
        for seq in ledger.read[user]:
            if seq <= after:
                continue
            assert view[seq]["status"] == "read", "an acknowledgement is gone"
    copies = Counter(message["content"] for message in stored.values())
    for key, offer in ledger.offers.items():
        assert copies[offer.content] <= 1, "stored twice"
        if key not in ledger.promised:
            continue
        seq = ledger.promised[key]
        assert stored[seq]["content"] == offer.content
        assert stored[seq]["sender_id"] == offer.sender
        readers = (
            USERS if "group_id" in offer.target else (offer.sender, offer.target["receiver_id"])
        )
        for user in USERS:
            assert (seq in views[user]) is (user in readers)
    for user in USERS:
        own = [ledger.promised[key] for key, offer in ledger.offers.items()
               if offer.sender == user and key in ledger.promised]  # fmt: skip
        assert own == sorted(own), "not in the order in which they were sent"


async def send_again(socket: Socket, user: str, ledger: Ledger) -> None:
    """Repeat what had no answer, and some of what had one: nothing is stored a second time."""
    view = ledger.views[user]
    mine = [key for key, offer in ledger.offers.items() if offer.sender == user]
    unanswered = [key for key in mine if key not in ledger.promised]
    answered = [key for key in mine if key in ledger.promised]
    by_content = {message["content"]: seq for seq, message in view.items()}
    for key in unanswered + random.sample(answered, min(REPEATS, len(answered))):
        offer = ledger.offers[key]
        request = offer.target | {"content": offer.content, "client_msg_id": key}
        answer = await socket.call("send_message", request)
        seq = place(answer["message_id"])
        assert answer["message"]["content"] == offer.content
        if offer.content in by_content:
            assert seq == by_content[offer.content]
            ledger.found += key in unanswered
        else:
            assert key in unanswered
            assert seq > max(view, default=0)
        ledger.promise(key, seq)
        ledger.repeats += 1
    if answered:
        request = ledger.offers[answered[0]].target | {"content": "!", "client_msg_id": answered[0]}
        with pytest.raises(Refused) as refusal:
            await socket.call("send_message", request)
        assert refusal.value.code == "conflict"


async def look(server: Process, ledger: Ledger, after: int) -> None:
    """Everybody syncs what is after a place; it must be what is known."""
    for user in USERS:
        async with login(server, user) as socket:
            kept = {seq: message for seq, message in ledger.views[user].items() if seq <= after}
            ledger.views[user] = kept | await sync(socket, after)
    check(ledger, after)


async def look_back(server: Process, ledger: Ledger, *, whole: bool) -> None:
    """Compare, repeat, and compare again: everything, or what is new since the last time."""
    newest = max((seq for view in ledger.views.values() for seq in view), default=0)
    after = 0 if whole else newest
    await look(server, ledger, after)
    for user in USERS:
        async with login(server, user) as socket:
            await send_again(socket, user, ledger)
    await look(server, ledger, after)
    assert ledger.promised.keys() == ledger.offers.keys()


async def die_while_starting(folder: Path) -> None:
    """A start that is killed at no moment in particular, perhaps while it mends the database."""
    process = await trio.lowlevel.open_process(
        [*COMMAND, "--port", "0"],
        cwd=folder,
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with trio.move_on_after(random.uniform(0, START)):
        await process.wait()
    if process.returncode is None:
        process.kill()
    await process.wait()


async def crash_again_and_again(
    folder: Path,
    cycles: int,
    progress: Callable[[int, Ledger], None] = lambda cycle, ledger: None,
    *,
    whole_every: int = 1,
    most_answers: int = MOST_ANSWERS,
) -> Ledger:
    """Kill the server in `folder` so many times; returns what the clients know in the end.

    After each `whole_every`th time, and in the end, they look at everything that there is; after
    the others at what is new.

    Raises:
        AssertionError: something that was promised is not so.
    """
    ledger = Ledger()
    for cycle in range(cycles + 1):
        if random.random() < 0.25:
            await die_while_starting(folder)
        async with started(folder, "--port", "0", "--log-level", "warning") as server:
            if cycle == 0:
                async with rest(server, USERS[0]) as first:
                    body = {"name": "all of us", "members": list(USERS[1:])}
                    ledger.group_id = (await first.post("/api/v1/groups", body))["group"]["id"]
            else:
                whole = cycle == cycles or cycle % whole_every == 0
                await look_back(server, ledger, whole=whole)
                progress(cycle, ledger)
            if cycle < cycles:
                await talk_until_killed(server, ledger, most_answers)
        assert server.log == ""
    assert all(ledger.pushed.values())
    found = await trio.to_thread.run_sync(run, folder, "check", "--quiet")
    assert found.returncode == 0, found.stdout + found.stderr
    return ledger

"""The engine against the oracle: random lives of a small server, and everything said compared.

Each example is one server on one file: users with several sessions, slow and broken ones, send,
repeat, acknowledge, found, join, leave and govern groups, alone or many in one transaction; the
engine is restarted, killed, runs into a full disk, a disk that is gone, and a defect. Every answer,
every page of sync and every push to every session is what the oracle says.

The default takes some ten seconds. A heavier run is chosen by environment variables:

- `TEST_EXAMPLES`: how many lives (default 60)
- `TEST_STEPS`: how many steps in each (default 40)
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
)

from imserver.domain.errors import ApiError, CloseCode, Code
from imserver.service.engine import Caller, Change, Outcome, RequestLimits
from imserver.service.upkeep.retention import RemovePiece
from imserver.store.retention import removal
from imserver.store.tools.check import check
from tests.properties.oracle import LABELS, Device, Oracle
from tests.service.engines import Engines, MemoryLink, answered
from tests.store.failures import disk_gone, full_disk
from tests.support.writing import say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imserver.live.hub import Session

USERS = ["ann", "bob", "李雷", "di-ann", "e"]
STRANGER = "nobody"  # is never named by anyone
MOST_MEMBERS = 4

users = st.sampled_from(["ann", "ann", "bob", "bob", "李雷", "李雷", "di-ann", "e"])
levels = st.integers(1, 2)
often = st.sampled_from([True, True, True, False])
rarely = st.sampled_from([False, False, False, True])
numbers = st.integers(0, 1000)  # picks something out of what there is
keys = st.sampled_from([None, None, None, "k1", "k2", "k\0", "鍵"])
kinds = st.sampled_from(["text", "text", "text", "image", None])
# How far back in a conversation, up to what level, and whether cumulative.
few_acks = st.lists(st.tuples(st.integers(0, 7), levels, rarely), min_size=1, max_size=5)
# What owners and admins do, and what the oracle calls it.
TOLD = {
    "update_group": "update",
    "add_members": "add",
    "remove_member": "remove",
    "set_role": "appoint",
    "transfer_group": "transfer",
    "dissolve_group": "dissolve",
    "invite": "invite",
}
governance = st.one_of(
    st.tuples(
        st.just("update_group"),
        st.sampled_from(
            [
                {"name": "renamed"},
                {"description": "new"},
                {"private": True},
                {"private": False},
                {"name": "again", "description": "", "private": True},
                {"retention_days": 30},
                {"retention_days": 0.5, "name": "brief"},
                {"retention_days": 0},
            ]
        ),
    ),
    st.tuples(
        st.just("add_members"),
        st.fixed_dictionaries({"members": st.lists(users, max_size=2)}),
    ),
    st.tuples(st.just("remove_member"), st.just({})),
    st.tuples(
        st.just("set_role"),
        st.fixed_dictionaries({"role": st.sampled_from(["admin", "admin", "member"])}),
    ),
    st.tuples(st.just("transfer_group"), st.just({})),
    st.tuples(st.sampled_from(["invite", "invite", "invite", "dissolve_group"]), st.just({})),
)
CONTENTS = {  # by what a failing example prints
    "short": "hi",
    "chinese": "你好",
    "quoted": 'a "quoted" \\ line\n',
    "escaped": "\x01" * 200,  # six times as long in JSON
    "odd": "a\0b\u2028\U0001f600\ufeff",
    "long": "x" * 300,
    "longer": "y" * 1500,
}
contents = st.sampled_from(sorted(CONTENTS))


class Poisoned(Exception):
    """The defect that a poisoned command has."""


class Poison(Change[Any, bytes]):
    """A write with a defect: it fails when it has written already."""

    def apply(self, tx: Any) -> Any:
        """Write something, and fail."""
        tx.direct(tx.name_user("poisoner"), tx.name_user("ann"))
        say(tx, 1, 1, "must not be seen")
        raise Poisoned

    def conclude(self, stored: Any) -> Outcome[bytes]:
        """Never called."""
        raise AssertionError("a command that failed was concluded")


class Hush(logging.Filter):
    """Drops the errors that a machine provokes on purpose, and no other."""

    store_fails = False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.exc_info and isinstance(record.exc_info[1], Poisoned):
            return False
        return not (self.store_fails and "refuses writes" in record.getMessage())


@dataclass
class Action:
    """One write: what the engine is asked, and how the oracle is told of it."""

    name: str
    user: str
    device: Device | None
    request: dict[str, Any]
    tell: Callable[[Oracle, Any], Any]  # gets the engine's answer, for ids that it chose


class EngineMachine(RuleBasedStateMachine):
    """One life of a server. Owner of its folder, engine, oracle and sessions."""

    @initialize(
        page_bytes=st.sampled_from([700, 2500, 512 * 1024]),
        batch=st.sampled_from([1, 3, 1000]),
        outbox_bytes=st.sampled_from([600, 5000, 1 << 20]),
        remembered=st.sampled_from([1, 4, 200_000]),
        piece=st.sampled_from([1, 3, 200]),
    )
    def begin(
        self, page_bytes: int, batch: int, outbox_bytes: int, remembered: int, piece: int
    ) -> None:
        self.patches = pytest.MonkeyPatch()
        self.piece = piece
        self.patches.setattr(removal, "MOST_SECONDS", float("inf"))
        self.patches.setattr("imserver.store.remembered.MOST", remembered)
        self.folder = tempfile.mkdtemp(prefix="imserver-")
        self.page_bytes = page_bytes
        self.engines = Engines(
            Path(self.folder),
            batch=batch,
            outbox_bytes=outbox_bytes,
            limits=RequestLimits(65536, page_bytes, MOST_MEMBERS),
        )
        self.oracle = Oracle(MOST_MEMBERS)
        self.oracle.now = self.engines.now_ms
        self.sessions: dict[Device, Session] = {}
        self.overflowed: set[Device] = set()
        self.waiting: list[Action | None] = []  # None: poison
        self.connected = 0
        self.hush = Hush()
        logging.getLogger("imserver.store.writer").addFilter(self.hush)
        for user in ("ann", "bob", "李雷", "ann"):
            self.connect(user, prompt=True)
        self.create_group("ann", ["bob", "李雷"])

    def teardown(self) -> None:
        if not hasattr(self, "hush"):
            return
        try:
            self.commit()
            self.check_everything()
            self.engines.stop()
            assert [found for found in check(Path(self.engines.path)) if found.problems] == []
        finally:
            logging.getLogger("imserver.store.writer").removeFilter(self.hush)
            self.patches.undo()
            shutil.rmtree(self.folder)

    # -- writes -------------------------------------------------------------------------------

    @rule(sender=users, receiver=users, content=contents, kind=kinds, key=keys, via=numbers,
          held=st.booleans())  # fmt: skip
    def send(self, sender: str, receiver: str, content: str, kind: str | None, key: str | None,
             via: int, held: bool) -> None:  # fmt: skip
        self._send(sender, {"receiver_id": receiver}, CONTENTS[content], kind, key, via, held)

    @precondition(lambda self: self.oracle.circles)
    @rule(sender=users, group=numbers, content=contents, kind=kinds, key=keys, via=numbers,
          held=st.booleans())  # fmt: skip
    def send_to_group(self, sender: str, group: int, content: str, kind: str | None,
                      key: str | None, via: int, held: bool) -> None:  # fmt: skip
        where = self._group(group)
        members = list(self.oracle.circles[where].members)
        if members and via % 4:
            sender = members[via % len(members)]
        target = {"receiver_id": "ann", "group_id": where}
        self._send(sender, target, CONTENTS[content], kind, key, via, held)

    @precondition(lambda self: self.oracle.keys)
    @rule(pick=numbers, change=st.sampled_from(["nothing", "nothing", "content", "receiver"]),
          via=numbers, held=st.booleans())  # fmt: skip
    def send_again(self, pick: int, change: str, via: int, held: bool) -> None:
        known = list(self.oracle.keys.items())
        (sender, key), ((receiver, group, kind, content), _) = known[pick % len(known)]
        if change == "content":
            content += "!"
        elif change == "receiver":
            receiver, group = "bob" if receiver != "bob" else "ann", None
        target = {"group_id": group} if group else {"receiver_id": receiver}
        self._send(sender, target, content, kind, key, via, held)

    def _send(self, sender: str, target: dict[str, str], content: str, kind: str | None,
              key: str | None, via: int, held: bool) -> None:  # fmt: skip
        device = self._device(sender, via)
        group = target.get("group_id")
        what = {
            "receiver": None if group else target["receiver_id"],
            "group": group,
            "kind": kind or "text",
            "content": content,
            "key": key,
        }
        request = target | {"content": content, "type": kind, "client_msg_id": key}

        def tell(oracle: Oracle, _: Any) -> Any:
            return oracle.send(sender, device, **what)

        self._write(Action("send_message", sender, device, request, tell), held)

    @rule(pick=numbers, senders=st.lists(users, min_size=2, max_size=6))
    def talk(self, pick: int, senders: list[str]) -> None:
        """A few short messages in one conversation, in one transaction."""
        if not self.oracle.posts:
            self.send("ann", "bob", "short", None, None, 0, held=False)
        post = self.oracle.posts[pick % self.oracle.newest]
        for number, sender in enumerate(senders):
            if post.group is not None:
                target = {"group_id": post.group}
            else:
                receiver, other = post.pair
                target = {"receiver_id": receiver if sender != receiver else other}
            self._send(sender, target, "hi", None, None, number, held=True)
        self.commit()

    @precondition(lambda self: self.oracle.posts)
    @rule(user=users, pick=numbers, level=levels, cumulative=st.booleans(), via=numbers)
    def ack_anything(self, user: str, pick: int, level: int, cumulative: bool, via: int) -> None:
        self._ack(user, pick % (self.oracle.newest + 2), level, cumulative, via)

    @precondition(lambda self: self.oracle.posts)
    @rule(user=users, pick=numbers, via=numbers, held=st.booleans(), acks=few_acks)
    def ack(
        self, user: str, pick: int, via: int, held: bool, acks: list[tuple[int, int, bool]]
    ) -> None:
        """Acknowledge some of the last messages of a conversation, in any order."""
        received = [post for post in self.oracle.posts if self.oracle.is_for(user, post)]
        if not received:
            return
        conversation = received[pick % len(received)].conversation
        received = [post for post in received if post.conversation == conversation]
        for back, level, cumulative in acks:
            seq = received[-1 - back % len(received)].seq
            self._ack(user, seq, level, cumulative, via)
        if not held:
            self.commit()

    def _ack(self, user: str, seq: int, level: int, cumulative: bool, via: int) -> None:
        device = self._device(user, via)
        request = {"message_id": f"msg_{seq}", "status": LABELS[level], "cumulative": cumulative}

        def tell(oracle: Oracle, _: Any) -> Any:
            return oracle.ack(user, device, seq=seq, level=level, cumulative=cumulative)

        self._write(Action("ack", user, device, request, tell), held=True)

    @precondition(lambda self: len(self.oracle.circles) < 4)
    @rule(owner=users, members=st.lists(users, max_size=MOST_MEMBERS), private=rarely)
    def create_group(self, owner: str, members: list[str], private: bool = False) -> None:
        members = [m for m in members if m != owner][: MOST_MEMBERS - 1] + members[:1]
        if len({owner, *members}) > MOST_MEMBERS:
            members = members[:-1]
        name = f"group {len(self.oracle.circles)}"
        request = {"name": name, "description": "d", "members": members, "private": private}

        def tell(oracle: Oracle, answer: Any) -> Any:
            group = answer["group"]["id"]
            assert group.startswith("group_")
            assert len(group) == len("group_") + 12
            assert group not in oracle.circles
            what = {"name": name, "description": "d", "members": members, "private": private}
            return oracle.create(owner, group, **what)

        self._write(Action("create_group", owner, None, request, tell), held=False)

    @precondition(lambda self: self.oracle.circles)
    @rule(pick=numbers, group=numbers, sensible=often, via=numbers, held=st.booleans())
    def join(self, pick: int, group: int, sensible: bool, via: int, held: bool) -> None:
        circle = self.oracle.circles[self._group(group)]
        outside = [user for user in USERS if user not in circle.members]
        choices = outside if sensible and outside else USERS
        self._come_or_go("join", choices[pick % len(choices)], circle.id, via, held)

    @precondition(lambda self: self.oracle.circles)
    @rule(pick=numbers, group=numbers, sensible=often, via=numbers, held=st.booleans())
    def leave(self, pick: int, group: int, sensible: bool, via: int, held: bool) -> None:
        circle = self.oracle.circles[self._group(group)]
        choices = list(circle.members) if sensible and circle.members else USERS
        self._come_or_go("leave", choices[pick % len(choices)], circle.id, via, held)

    @precondition(lambda self: self.oracle.circles)
    @rule(group=numbers, by_owner=often, by=users, whom=users, what=governance, via=numbers,
          held=st.booleans())  # fmt: skip
    def govern(self, group: int, by_owner: bool, by: str, whom: str, what: tuple[str, dict],
               via: int, held: bool) -> None:  # fmt: skip
        circle = self.oracle.circles[self._group(group)]
        where = circle.id
        by = circle.owner if by_owner else by
        name, details = what
        details = dict(details)
        if name == "add_members":
            details["members"] = [whom, *details["members"]]
        elif name in ("remove_member", "set_role", "transfer_group", "invite"):
            fitting = [user for user in USERS if (user in circle.members) is (name != "invite")]
            details["user_id"] = fitting[via % len(fitting)] if fitting and via % 4 else whom
        device = self._device(by, via)

        def tell(oracle: Oracle, _: Any) -> Any:
            return getattr(oracle, TOLD[name])(by, group=where, **details)

        self._write(Action(name, by, device, {"group_id": where} | details, tell), held)

    @precondition(lambda self: self.oracle.invitations)
    @rule(pick=numbers, what=st.sampled_from(["join", "join", "decline"]), held=st.booleans())
    def answer_invitation(self, pick: int, what: str, held: bool) -> None:
        invitations = list(self.oracle.invitations)
        user, group = invitations[pick % len(invitations)]

        def tell(oracle: Oracle, _: Any) -> Any:
            return getattr(oracle, what)(user, group=group)

        name = "join_group" if what == "join" else "decline_invitation"
        self._write(Action(name, user, None, {"group_id": group}, tell), held)

    @precondition(lambda self: self.oracle.circles)
    @rule(pick=numbers, group=numbers, senders=st.lists(users, max_size=3), held=st.booleans())
    def be_away(self, pick: int, group: int, senders: list[str], held: bool) -> None:
        """Leave, miss something, and come back."""
        circle = self.oracle.circles[self._group(group)]
        user = (list(circle.members) or USERS)[pick % (len(circle.members) or len(USERS))]
        self._come_or_go("leave", user, circle.id, pick, held=True)
        for sender in senders:
            self._send(sender, {"group_id": circle.id}, "hi", None, None, pick, held=True)
        self._come_or_go("join", user, circle.id, pick, held)

    @rule(user=users, what=st.sampled_from(["join", "leave"]))
    def come_or_go_nowhere(self, user: str, what: str) -> None:
        def tell(oracle: Oracle, _: Any) -> Any:
            return getattr(oracle, what)(user, group="group_nowhere")

        self._write(Action(f"{what}_group", user, None, {"group_id": "group_nowhere"}, tell), True)

    def _come_or_go(self, what: str, user: str, group: str, via: int, held: bool) -> None:
        def tell(oracle: Oracle, _: Any) -> Any:
            return getattr(oracle, what)(user, group=group)

        device = self._device(user, via)
        self._write(Action(f"{what}_group", user, device, {"group_id": group}, tell), held)

    @precondition(lambda self: self.oracle.posts)
    @rule(pick=numbers, group=st.one_of(st.none(), st.none(), numbers), pieces=st.integers(1, 4),
          held=st.booleans())  # fmt: skip
    def remove(self, pick: int, group: int | None, pieces: int, held: bool) -> None:
        """Retention removes some of the oldest: in one transaction with what waits, or not."""
        before = self.oracle.posts[pick % self.oracle.newest].at + 1
        where = None if group is None or not self.oracle.circles else self._group(group)

        def tell(oracle: Oracle, _: Any) -> Any:
            return oracle.expire(before, where, self.piece)

        for _ in range(pieces):
            self.waiting.append(Action("remove", "", None, {"before": before, "in": where}, tell))
        if not held:
            self.commit()

    def _remove(self, request: dict[str, Any]) -> RemovePiece:
        cid = None
        if request["in"] is not None:
            question = 'SELECT cid FROM "group" WHERE group_id = ?'
            cid = self.engines.database.writer.execute(question, (request["in"],)).fetchone()[0]
        before, most = request["before"], self.piece
        return RemovePiece(lambda tx: removal.remove_older(tx, before, cid, most=most))

    @rule()
    def poison(self) -> None:
        self.waiting.append(None)

    @rule()
    def commit(self) -> None:
        """Hand everything that waits to the writer at one moment, and compare what it says."""
        waiting, self.waiting = self.waiting, []
        answers = self._perform(waiting) if waiting else []
        for action, answer in zip(waiting, answers, strict=True):
            if action is None:
                assert answer == Code.INTERNAL
            else:
                assert answer == action.tell(self.oracle, answer), action
        self.check_pushes()

    @precondition(lambda self: self.waiting)
    @rule(room=st.integers(0, 6))
    def commit_on_a_full_disk(self, room: int) -> None:
        """The disk takes a few pages more; a transaction that does not fit leaves nothing."""
        with full_disk(self.engines.database, room):
            self._commit_what_can_be()

    @precondition(lambda self: self.waiting)
    @rule()
    def commit_without_a_disk(self) -> None:
        """Every read and write of the files fails; only what is in memory already can be said."""
        with disk_gone(self.engines.database):
            self._commit_what_can_be()

    def _commit_what_can_be(self) -> None:
        waiting, self.waiting = self.waiting, []
        self.hush.store_fails = True
        answers = self._perform(waiting)
        self.hush.store_fails = False
        for action, answer in zip(waiting, answers, strict=True):
            if answer == Code.UNAVAILABLE:
                continue
            if action is None:
                assert answer == Code.INTERNAL
            else:
                assert answer == action.tell(self.oracle, answer), action
        self.check_pushes()

    def _perform(self, actions: list[Action | None]) -> list[Any]:
        commands = [
            Poison()
            if action is None
            else self._remove(action.request)
            if action.name == "remove"
            else self.engines.command(action.name, self._caller(action), action.request)
            for action in actions
        ]
        answers = self.engines.run(self.engines.burst, commands)
        return [
            answer.code
            if isinstance(answer, ApiError)
            else answer
            if isinstance(command, RemovePiece)
            else answered(action.name, answer)
            for action, command, answer in zip(actions, commands, answers, strict=True)
        ]

    def _write(self, action: Action, held: bool) -> None:
        self.waiting.append(action)
        if not held:
            self.commit()

    # -- what happens around ------------------------------------------------------------------

    @rule(ms=st.sampled_from([1, 999, 60_000]))
    def pass_time(self, ms: int) -> None:
        self.commit()
        self.engines.now_ms += ms
        self.oracle.now += ms

    @rule(user=users, prompt=st.sampled_from([True, True, False]))
    def connect(self, user: str, prompt: bool) -> None:
        self.commit()
        self.connected += 1
        device = Device(self.connected, user)
        self.sessions[device] = self.engines.connect(user, prompt=prompt)
        self.oracle.connect(device)

    @precondition(lambda self: self.sessions)
    @rule(pick=numbers)
    def disconnect(self, pick: int) -> None:
        self.commit()
        self._forget(self._pick_device(pick))

    @precondition(lambda self: self.sessions)
    @rule(pick=numbers, appetite=st.integers(0, 2000))
    def slow_down(self, pick: int, appetite: int) -> None:
        self.commit()
        self._link(self._pick_device(pick)).appetite = appetite

    @precondition(lambda self: self.sessions)
    @rule(pick=numbers)
    def speed_up(self, pick: int) -> None:
        self.commit()
        self._speed_up(self._pick_device(pick))

    @rule(how=st.sampled_from(["stop", "kill"]))
    def restart(self, how: str) -> None:
        """Everyone is cut off, and comes back."""
        self.commit()
        online = [device.user for device in self.sessions]
        for device in list(self.sessions):
            self._forget(device)
        if how == "stop":
            self.engines.restart()
        else:
            self.engines.crash()
        for user in online:
            self.connect(user, prompt=True)

    # -- questions ----------------------------------------------------------------------------

    @rule(user=st.sampled_from([*USERS, STRANGER]), cursor=st.one_of(st.none(), numbers),
          limit=st.sampled_from([1, 2, 3, 50, 200]), own=st.booleans())  # fmt: skip
    def sync(self, user: str, cursor: int | None, limit: int, own: bool) -> None:
        self.commit()
        newest = self.oracle.newest
        after = None if cursor is None else cursor % (newest + 2)
        request = _sync_request(after, limit, own)
        if after is not None and after > newest:
            assert self._ask("sync_offline", user, request) == Code.CURSOR_AHEAD
            return
        self._check_pages(user, after, limit, own)

    @precondition(lambda self: self.oracle.posts)
    @rule(user=users, pick=numbers)
    def look(self, user: str, pick: int) -> None:
        self.commit()
        seq = pick % (self.oracle.newest + 2)
        shown = self._ask("get_message", user, {"message_id": f"msg_{seq}"})
        assert shown == self.oracle.look(user, seq)

    @precondition(lambda self: self.oracle.circles)
    @rule(user=users, group=numbers)
    def look_at_group(self, user: str, group: int) -> None:
        self.commit()
        self._check_group(user, self._group(group))

    # -- what always holds --------------------------------------------------------------------

    def check_pushes(self) -> None:
        """Each session got what the oracle says, in order and once; a slow one the beginning."""
        for device, session in self.sessions.items():
            link = self._link(device)
            got = link.received()
            expected = self.oracle.devices[device]
            if session.outbox.closed:
                # Who takes all at once is never too slow; a pipe is while nobody reads it out.
                assert device in self.overflowed or not (link.hungry and link.prompt)
                assert link.expired
                self.overflowed.add(device)
            if session.outbox.closed or not link.hungry:
                assert got == expected[: len(got)]
            else:
                assert got == expected
            seqs = [int(push["data"]["id"][4:]) for push in got if "id" in push["data"]]
            assert seqs == sorted(set(seqs))

    def check_everything(self) -> None:
        """The end of a life: every link is read out, and every user asks for everything."""
        for device in list(self.sessions):
            self._speed_up(device)
        newest = self.oracle.newest
        looks = [(user, seq) for user in USERS for seq in range(1, newest + 2)]
        syncs = [
            (user, after, own)
            for user in USERS
            for after in (None, 0, newest // 2)
            for own in (False, True)
        ]
        shown, pages = self.engines.run(self._ask_everything, looks, syncs)
        for (user, seq), message in zip(looks, shown, strict=True):
            assert message == self.oracle.look(user, seq)
        for (user, after, own), page in zip(syncs, pages, strict=True):
            self._check_page(user, page, after, own, 200)
        for user in USERS:
            self.check_conversations(user)

    def check_conversations(self, user: str) -> None:
        """The list, what is unread in each, and the history, read backwards in small pages."""
        listed = self._ask("list_conversations", user, {"limit": 200})
        expected = self.oracle.conversations(user)
        counts = {
            one.get("group_id") or one["user_id"]: one["unread"] for one in listed["conversations"]
        }
        assert counts == {name: unread for name, (unread, _) in expected.items()}
        assert listed["unread"] == sum(counts.values())
        unread = self._ask("list_conversations", user, {"limit": 200, "unread_only": True})
        assert unread["conversations"] == [one for one in listed["conversations"] if one["unread"]]
        for one in listed["conversations"]:
            name = one.get("group_id") or one["user_id"]
            field = "group_id" if "group_id" in one else "user_id"
            history: list[Any] = []
            request: dict[str, Any] = {field: name, "limit": 3}
            while True:
                page = self._ask("get_history", user, request)
                history = page["messages"] + history
                if not page["has_older"]:
                    break
                request["before"] = page["messages"][0]["id"]
            assert history == expected[name][1]
            assert one.get("last_message") == (history[-1] if history else None)

    async def _ask_everything(self, looks: list[Any], syncs: list[Any]) -> tuple[Any, Any]:
        ask = self.engines.ask
        shown = [
            await ask("get_message", Caller(user), {"message_id": f"msg_{seq}"})
            for user, seq in looks
        ]
        pages = [
            await ask("sync_offline", Caller(user), _sync_request(after, 200, own))
            for user, after, own in syncs
        ]
        return shown, pages

    # -- how ----------------------------------------------------------------------------------

    def _ask(self, name: str, user: str, request: dict[str, Any]) -> Any:
        return self.engines.run(self.engines.ask, name, Caller(user), request)

    def _check_pages(self, user: str, after: int | None, limit: int, own: bool) -> None:
        """Page after page, each from the end of the last one."""
        cursor = after
        for _ in range(self.oracle.newest + 1):
            page = self._ask("sync_offline", user, _sync_request(cursor, limit, own))
            self._check_page(user, page, cursor, own, limit)
            if not page["has_more"]:
                return
            cursor = int(page["messages"][-1]["id"][4:])
        raise AssertionError("the pages do not end")

    def _check_page(self, user: str, page: Any, after: int | None, own: bool, limit: int) -> None:
        backlog = self.oracle.backlog(user, after, own)
        got = page["messages"]
        assert got == [self.oracle.show(user, post) for post in backlog[: len(got)]]
        assert page["has_more"] is (len(got) < len(backlog))
        assert len(got) <= limit
        assert page["newest_message_id"] == f"msg_{self.oracle.newest}"
        missed = self.oracle.misses(user, after, own)
        assert page.get("gap", False) is missed
        assert page.get("oldest_message_id") == (self.oracle.oldest(user) if missed else None)
        last = int(got[-1]["id"][4:]) if page["has_more"] else None
        assert page.get("failed", []) == self.oracle.failures(user, after, last)
        size = sum(len(msgspec.json.encode(message)) for message in got)
        assert len(got) <= 1 or size <= self.page_bytes
        if len(got) < min(limit, len(backlog)):
            assert got
            # Cut for its size: the next one, and what all weigh beside their contents, is too much.
            following = self.oracle.show(user, backlog[len(got)])
            size += len(msgspec.json.encode(following))
            assert size + 300 * (len(got) + 1) > self.page_bytes

    def _check_group(self, user: str, group: str) -> None:
        request = {"group_id": group}
        assert self._ask("get_group", user, request) == self.oracle.look_group(user, group)
        listed = self._ask("get_members", user, request)
        if listed != Code.NOT_FOUND:
            ids = {member.pop("id") for member in listed["members"]}
            assert len(ids) == len(listed["members"])
            listed = listed["members"]
        assert listed == self.oracle.list_members(user, group)
        groups: list[Any] = []
        cursor: dict[str, Any] = {}
        while True:  # page after page
            page = self._ask("list_groups", user, cursor)
            groups += page["groups"]
            if "next" not in page:
                break
            cursor = {"cursor": page["next"]}
        assert groups == self.oracle.list_groups(user)
        invitations = self._ask("list_invitations", user, {})["invitations"]
        assert invitations == self.oracle.list_invitations(user)

    def _group(self, pick: int) -> str:
        circles = list(self.oracle.circles)
        return circles[pick % len(circles)]

    def _devices(self, user: str) -> Iterator[Device]:
        return (device for device in self.sessions if device.user == user)

    def _device(self, user: str, pick: int) -> Device | None:
        """One of the user's sessions, or none: over REST."""
        choices = [*self._devices(user), None]
        return choices[pick % len(choices)]

    def _pick_device(self, pick: int) -> Device:
        devices = list(self.sessions)
        return devices[pick % len(devices)]

    def _link(self, device: Device) -> MemoryLink:
        link = self.sessions[device].link
        assert isinstance(link, MemoryLink)
        return link

    def _caller(self, action: Action) -> Caller:
        session = None if action.device is None else self.sessions[action.device]
        return Caller(action.user, session)

    def _speed_up(self, device: Device) -> None:
        """Let a session read all; one that overflowed is told so, and everything was in order."""
        link = self._link(device)
        outbox = self.sessions[device].outbox
        link.appetite = None
        self.engines.run(link.drain)
        self.check_pushes()
        if device in self.overflowed:
            assert link.goodbye is CloseCode.TOO_SLOW
            self._forget(device)
        else:
            assert link.received() == self.oracle.devices[device]
            assert outbox.size == 0

    def _forget(self, device: Device) -> None:
        self.engines.hub.close(self.sessions.pop(device))
        self.oracle.disconnect(device)
        self.overflowed.discard(device)


def _sync_request(after: int | None, limit: int, own: bool) -> dict[str, Any]:
    cursor = {} if after is None else {"last_message_id": f"msg_{after}"}
    return {"limit": limit, "include_own": own, "include_newest": True} | cursor


EngineMachine.TestCase.settings = settings(
    max_examples=int(os.environ.get("TEST_EXAMPLES", "60")),
    stateful_step_count=int(os.environ.get("TEST_STEPS", "40")),
    print_blob=True,
    report_multiple_bugs=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
TestEngine = EngineMachine.TestCase

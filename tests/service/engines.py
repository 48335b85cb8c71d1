"""An engine on a real file without any transport, and links that carry frames to nowhere.

The loop runs only while something is asked of the engine (`Engines.run`), so that synchronous
tests, hypothesis' machines among them, can drive it step by step.
"""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import argon2
import msgspec
import trio

from imserver.domain.errors import ApiError, CloseCode, Code
from imserver.live.backoff import FORGOTTEN_AFTER, Backoff
from imserver.live.hub import Hub
from imserver.service.accounts.hashing import Passwords
from imserver.service.accounts.keeping import begin
from imserver.service.accounts.registry import Accounts
from imserver.service.engine import Caller, Engine, Immediate, Procedure, Read, RequestLimits, Write
from imserver.service.identity.modes import OpenIdentity
from imserver.service.identity.token_identity import TokenIdentity
from imserver.service.operations import OPERATIONS
from imserver.store.database import open_database
from imserver.store.reader import Reader
from imserver.store.writer import FOLDED_PAGES, RETRY, Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from imserver.live.hub import Session
    from imserver.store.transaction import Transaction

T = TypeVar("T")

BY_NAME = {operation.name: operation for operation in OPERATIONS}
PATIENCE = 20.0  # seconds of real time before a test gives up on the engine


def frame(payload: bytes) -> bytes:
    """A payload behind its length: what stands in for a WebSocket frame here."""
    return len(payload).to_bytes(4, "big") + payload


class MemoryLink:
    """A `live.outbox.Link` that takes as much as it is told to, and keeps what it took.

    A prompt one may take half of a frame at once, as a socket does; another takes nothing at once
    and everything in `send`.
    """

    def __init__(self, *, prompt: bool) -> None:
        self.prompt = prompt
        self.appetite: int | None = None  # bytes still taken; None: any number
        self.taken = bytearray()
        self.expired = False
        self.goodbye: CloseCode | None = None
        self._tasks: list[Callable[[], Awaitable[None]]] = []

    @property
    def hungry(self) -> bool:
        """Whether it takes everything."""
        return self.appetite is None

    def send_now(self, data: bytes) -> int:
        """See `Link`."""
        assert self.goodbye is None, "sent after the goodbye"
        if not self.prompt:
            return 0
        count = len(data) if self.appetite is None else min(self.appetite, len(data))
        if self.appetite is not None:
            self.appetite -= count
        self.taken += data[:count]
        return count

    async def send(self, data: bytes) -> None:
        """See `Link`."""
        assert self.goodbye is None, "sent after the goodbye"
        await trio.lowlevel.checkpoint()
        self.taken += data

    def ping(self) -> None:
        """See `Link`."""

    def expire(self) -> None:
        """See `Link`."""
        self.expired = True

    def close(self, code: CloseCode) -> None:
        """See `Link`."""
        assert self.goodbye is None, "two goodbyes"
        self.goodbye = code

    def spawn(self, task: Callable[[], Awaitable[None]]) -> None:
        """See `Link`: the task waits for `drain`."""
        self._tasks.append(task)

    async def drain(self) -> None:
        """Let the tasks run that wait for the network."""
        while self._tasks and self.hungry:
            await self._tasks.pop(0)()

    def received(self) -> list[dict[str, Any]]:
        """The whole frames that came out at the other end."""
        frames = []
        at = 0
        while at + 4 <= len(self.taken):
            size = int.from_bytes(self.taken[at : at + 4], "big")
            if at + 4 + size > len(self.taken):
                break
            frames.append(msgspec.json.decode(self.taken[at + 4 : at + 4 + size]))
            at += 4 + size
        return frames


class Engines:
    """One engine after the other on the same data. Owner of the folder's files while open.

    Without a folder everything is in memory, and there is one engine only.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        batch: int = 1000,
        capacity: int = 10_000,
        outbox_bytes: int = 1 << 20,
        limits: RequestLimits | None = None,
        synchronous: str = "NORMAL",
        folded_pages: int = FOLDED_PAGES,
        retry: float = RETRY,
        with_accounts: bool = False,
    ) -> None:
        self.now_ms = 1_700_000_000_000
        self.path = ":memory:" if folder is None else str(folder / "0" / "imserver.db")
        self.limits = limits or RequestLimits(65536, 512 * 1024, 20_000)
        self.outbox_bytes = outbox_bytes
        self._folder = folder
        self._batch = batch
        self._capacity = capacity
        self._synchronous = synchronous
        self._with_accounts = with_accounts  # `token` mode; hashes are quick, and guessing is free
        self._folded_pages = folded_pages
        self._retry = retry
        self._crashes = 0
        self._open()

    def _open(self) -> None:
        self._files = ExitStack()
        self.database = self._files.enter_context(
            open_database(self.path, synchronous=self._synchronous)
        )
        self.hub = Hub(frame, outbox_bytes=self.outbox_bytes)
        self.accounts = self._accounts() if self._with_accounts else None
        self.writer = Writer(
            self.database,
            lambda: self.now_ms,
            capacity=self._capacity,
            max_batch=self._batch,
            after_batch=self.hub.flush,
            folded_pages=self._folded_pages,
            retry=self._retry,
            accounts_only=self._with_accounts,
        )
        self.engine = Engine(
            writer=self.writer,
            reader=Reader(self.database, 2),
            hub=self.hub,
            clock=lambda: self.now_ms,
            limits=self.limits,
            identity=OpenIdentity() if self.accounts is None else TokenIdentity(self.accounts),
            accounts=self.accounts,
        )
        if self.accounts is not None:
            self.run(begin, self.accounts, self.engine)

    def _accounts(self) -> Accounts:
        quick = Passwords(argon2.PasswordHasher(1, 8, 1))
        return Accounts(
            self.hub,
            lambda: self.now_ms,
            quick,
            Backoff(count(step=FORGOTTEN_AFTER).__next__),
            token_days=30,
        )

    def stop(self) -> None:
        """End in order."""
        self.writer.close()
        self.run(self.writer.wait_closed)
        self._files.close()

    def restart(self) -> None:
        """End in order and begin again."""
        self.stop()
        self._open()

    def crash(self) -> None:
        """Begin again on what a killed process would have left at this moment."""
        assert self._folder is not None
        self._crashes += 1
        folder = self._folder / str(self._crashes)
        folder.mkdir()
        for suffix in ("", "-wal"):
            shutil.copyfile(f"{self.path}{suffix}", folder / f"imserver.db{suffix}")
        self._files.close()
        self.path = str(folder / "imserver.db")
        self._open()

    def run(self, function: Callable[..., Awaitable[T]], *args: Any) -> T:
        """Run one asynchronous function beside the writer."""
        return trio.run(self._run, partial(function, *args))

    async def _run(self, function: Callable[[], Awaitable[T]]) -> T:
        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                await nursery.start(self.writer.run)
                result = await function()
                for session in self.hub.sessions():
                    assert isinstance(session.link, MemoryLink)
                    await session.link.drain()
                nursery.cancel_scope.cancel()
        return result

    # -- what clients do ----------------------------------------------------------------------

    def connect(self, user_id: str, *, prompt: bool = True) -> Session:
        """A session of a user, logged in."""
        session = self.hub.open(MemoryLink(prompt=prompt))
        answer = self.immediate("login", Caller("", session), {"user_id": user_id})
        assert answer == {"success": True, "message": "Login successful", "user_id": user_id}
        return session

    def immediate(self, name: str, caller: Caller, request: dict[str, Any]) -> Any:
        """What an operation answers from memory."""
        operation = BY_NAME[name]
        assert isinstance(operation, Immediate)
        asked = msgspec.convert(request, operation.request)
        return answered(name, operation.handle(self.engine, caller, asked))

    async def ask(self, name: str, caller: Caller, request: dict[str, Any]) -> Any:
        """What the store answers: the payload, or the code of the refusal."""
        operation = BY_NAME[name]
        assert isinstance(operation, Read | Procedure)
        asked = msgspec.convert(request, operation.request)
        try:
            return answered(name, await operation.handle(self.engine, caller, asked))
        except ApiError as refusal:
            return refusal.code

    def command(self, name: str, caller: Caller, request: dict[str, Any]) -> Any:
        """The command that an operation makes of a request.

        Raises:
            ApiError: the request is refused for its form.
        """
        operation = BY_NAME[name]
        assert isinstance(operation, Write)
        return operation.handle(self.engine, caller, msgspec.convert(request, operation.request))

    def apply(self, tx: Transaction, name: str, user: str, request: dict[str, Any]) -> Any:
        """One command in a transaction of its own, past the writer: what it stored, or the code."""
        tx.begin()
        try:
            return self.command(name, Caller(user), request).apply(tx)
        except ApiError as refusal:
            return refusal.code
        finally:
            tx.commit()

    async def burst(self, commands: Sequence[Any]) -> list[bytes | ApiError]:
        """Submit commands at one moment; their answers, in that order, when all are there."""
        answers: list[Any] = [None] * len(commands)
        order: list[int] = []
        finished = trio.Event()

        def done(place: int, answer: bytes | ApiError) -> None:
            answers[place] = answer
            order.append(place)
            if len(order) == len(commands):
                finished.set()

        for place, command in enumerate(commands):
            self.engine.submit(command, partial(done, place))
        if commands:
            await finished.wait()
        assert order == sorted(order), "answered out of order"
        return answers

    async def write(self, name: str, caller: Caller, request: dict[str, Any]) -> Any:
        """Do one write: the payload of its answer, or the code of the refusal."""
        if isinstance(BY_NAME[name], Procedure):
            return await self.ask(name, caller, request)
        try:
            answer = await self.engine.write(self.command(name, caller, request))
        except ApiError as refusal:
            return refusal.code
        return answered(name, answer)


def answered(name: str, answer: bytes | ApiError) -> Any:
    """An answer as clients see it; one that is not of the shape in the table is an error."""
    if isinstance(answer, ApiError):
        return answer.code
    msgspec.json.decode(answer, type=BY_NAME[name].answer)
    return msgspec.json.decode(answer)


__all__ = ["BY_NAME", "Caller", "Code", "Engines", "MemoryLink", "answered", "frame"]

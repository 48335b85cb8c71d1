"""Receiving uploaded files, and deleting unused ones.

Laws:

- A content is complete on disk before its file is in the database, and a file is removed from the
  database before its content is deleted. A killed process can therefore only leave contents without
  a file; the next start deletes them.
- `Cabinet.placing` keeps these two apart: no content is deleted while an upload finds that it
  already exists.
- If the disk is full, the upload is refused (503) and nothing of it is left.
"""

from __future__ import annotations

import logging
import secrets
from collections import Counter
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from imserver.domain.errors import ApiError, Code
from imserver.domain.media import clean_name
from imserver.pictures import studio
from imserver.service.engine import Change
from imserver.store.files import uploaded
from imserver.store.files.contents import PICTURES
from imserver.store.files.sniffing import sniff

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path

    from imserver.service.engine import Engine
    from imserver.store.files.contents import Contents, Incoming
    from imserver.store.files.uploaded import FileLimits, StoredFile, Swept
    from imserver.store.transaction import Transaction

T = TypeVar("T")
logger = logging.getLogger(__name__)

FILE_PREFIX: Final = "file_"
_BUFFER: Final = 1024 * 1024  # bytes that are written at once
_SWEPT: Final = 200  # files dropped in one transaction
_SWEEP_EVERY: Final = 600.0  # seconds


def new_file_id() -> str:
    """An id that nobody guesses."""
    return FILE_PREFIX + secrets.token_hex(10)


class _AddFile(Change["StoredFile", "StoredFile"]):
    __slots__ = ("_file", "_limits", "_user_id")

    def __init__(self, user_id: str, file: StoredFile, limits: FileLimits) -> None:
        self._user_id = user_id
        self._file = file
        self._limits = limits

    def apply(self, tx: Transaction) -> StoredFile:
        return uploaded.add(tx, self._user_id, self._file, self._limits)


class _Sweep(Change["Swept", "Swept"]):
    __slots__ = ("_before_ms",)

    def __init__(self, before_ms: int) -> None:
        self._before_ms = before_ms

    def apply(self, tx: Transaction) -> Swept:
        return uploaded.sweep(tx, self._before_ms, _SWEPT)


class Cabinet:
    """Owner of the uploads under way."""

    def __init__(
        self,
        engine: Engine,
        contents: Contents,
        limits: FileLimits,
        *,
        unused_ms: int,
        strip_location: bool,
    ) -> None:
        self.contents = contents
        self.limits = limits
        self._engine = engine
        self.unused_ms = unused_ms
        self._strip_location = strip_location
        self._studio = studio.Studio()
        self._coming: Counter[str] = Counter()  # bytes of each user that are not files yet
        self._placing = trio.Lock()

    async def receive(
        self, user_id: str, body: AsyncIterator[bytes], name: str, length: int | None = None
    ) -> StoredFile:
        """Take in a file of a user; `length` is what the client says of it, if it does.

        Raises:
            ApiError: `too_large`, naming the limit; `unavailable` where the disk does not take it.
        """
        room = await self.room(user_id, length or 0)
        incoming = await on_disk(self.contents.begin)
        try:
            await self.fill(incoming, body, user_id, room)
            return await self.keep(incoming, user_id, new_file_id(), name)
        finally:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(incoming.drop)

    async def room(self, user_id: str, size: int) -> int:
        """How many bytes a user may add; they want to add `size`.

        Raises:
            ApiError: `too_large`: not so many.
        """
        uploaded.refuse_larger(size, self.limits.file, "max_megabytes")

        used = await self._engine.reader.ask(lambda db: uploaded.used_by(db, user_id))
        used += self._coming[user_id]
        uploaded.refuse_larger(used + size, self.limits.user, "user_megabytes")
        return self.limits.user - used if self.limits.user else 0

    async def fill(
        self, incoming: Incoming, body: AsyncIterator[bytes], user_id: str, room: int
    ) -> None:
        """Write a body to the disk, as it comes.

        Raises:
            ApiError: `too_large`, `unavailable`.
        """
        pieces: list[bytes] = []
        waiting = size = 0
        before = incoming.size
        try:
            async for piece in body:
                pieces.append(piece)
                waiting += len(piece)
                size += len(piece)
                self._coming[user_id] += len(piece)
                uploaded.refuse_larger(before + size, self.limits.file, "max_megabytes")
                if room and size > room:
                    uploaded.refuse_larger(self.limits.user + 1, self.limits.user, "user_megabytes")
                if waiting >= _BUFFER:
                    data, pieces, waiting = b"".join(pieces), [], 0
                    await on_disk(partial(incoming.write, data))
        finally:
            self._coming[user_id] -= size
            if not self._coming[user_id]:
                del self._coming[user_id]
            if pieces:  # also of a body that broke off: an upload may go on from there
                with trio.CancelScope(shield=True):
                    await on_disk(partial(incoming.write, b"".join(pieces)))

    async def keep(self, incoming: Incoming, user_id: str, file_id: str, name: str) -> StoredFile:
        """Make a file of a content that has come whole.

        Raises:
            ApiError: `too_large`, `unavailable`.
        """
        written = await on_disk(incoming.finish)
        kind = sniff(written.head)
        made = {picture: incoming.beside(picture) for picture in PICTURES}
        looked = studio.Looked()
        if kind in studio.TYPES:
            looked = await self._studio.look_at(
                incoming.path,
                kind,
                made["thumbnail"],
                made["preview"],
                strip_location=self._strip_location,
            )
            if looked.stripped:
                written = await on_disk(incoming.look_again)
        file = uploaded.StoredFile(
            file_id,
            written.digest,
            clean_name(name),
            written.size,
            kind,
            looked.width,
            looked.height,
            int(looked.shown),
        )
        # Whoever began to place it ends it: a shutdown waits for that, as it does for the writer.
        with trio.CancelScope(shield=True):
            async with self._placing:
                file = await self._place(incoming, user_id, file, made)
        return file

    async def _place(
        self, incoming: Incoming, user_id: str, file: StoredFile, made: dict[str, Path]
    ) -> StoredFile:
        def place() -> None:
            self.contents.keep(incoming, file.digest)
            for kind, path in made.items():
                if file.shown:
                    path.replace(self.contents.picture_path(file.digest, kind))

        try:
            await on_disk(place)
            return await self._engine.write(_AddFile(user_id, file, self.limits))
        except ApiError:
            await self._clear([file.digest])
            raise

    # -- out again ----------------------------------------------------------------------------

    async def find(self, user_id: str, file_id: str) -> StoredFile:
        """A file that a user may read.

        Raises:
            ApiError: `not_found`.
        """
        found = await self._engine.reader.ask(
            lambda db: uploaded.find_readable(db, user_id, file_id)
        )
        if found is None:
            raise ApiError(Code.NOT_FOUND, "There is no such file")
        return found

    async def find_own(self, user_id: str, file_id: str) -> StoredFile | None:
        """A file that a user has uploaded."""
        return await self._engine.reader.ask(lambda db: uploaded.find_own(db, user_id, file_id))

    # -- clearing away ------------------------------------------------------------------------

    async def run(self, also: Callable[[], Awaitable[None]]) -> None:
        """Clear away what is not used, and what else there is, again and again until cancelled."""
        await self._try(self.clear_strays)
        while True:
            await trio.sleep(_SWEEP_EVERY)
            await self._try(self.sweep)
            await self._try(also)

    async def _try(self, clear: Callable[[], Awaitable[None]]) -> None:
        try:
            await clear()
        except Exception as error:
            expected = isinstance(error, ApiError)
            logger.warning("files could not be cleared away: %s", error, exc_info=not expected)

    async def sweep(self) -> None:
        """Drop the files that no message carries any more, or none has for too long.

        Raises:
            ApiError: `unavailable`.
        """
        before = self._engine.clock() - self.unused_ms
        more = True
        while more:
            async with self._placing:
                gone = await self._engine.write(_Sweep(before))
                await self._clear(gone.digests)
            more = gone.more

    async def clear_strays(self) -> None:
        """Delete contents that no file has, as a killed process leaves them."""
        async with self._placing:
            known = await self._engine.reader.ask(uploaded.digests)
            there = await on_disk(lambda: set(self.contents.digests()))
            await self._clear(there - known)

    async def _clear(self, digests: Iterable[str]) -> None:
        strays = await self._engine.reader.ask(lambda db: uploaded.strays(db, digests))
        for digest in strays:
            with suppress(ApiError):
                await on_disk(partial(self.contents.delete, digest))


async def on_disk(work: Callable[[], T]) -> T:
    """Do something to files in a worker thread.

    Raises:
        ApiError: `unavailable`: the disk is full, or fails.
    """
    try:
        return await trio.to_thread.run_sync(work)
    except OSError as error:
        logger.error("a file cannot be stored: %s", error)
        raise ApiError(Code.UNAVAILABLE) from error

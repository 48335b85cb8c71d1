"""Uploads that go on where they were cut off: what tus 1.0 needs, without HTTP.

Laws:

- An upload is one file under way and, beside it, what it is to become; so it survives a restart.
  Its offset is the size of that file, and nothing else.
- It is its user's alone, and one request at a time adds to it.
- The file that it becomes has the id that the upload had.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import msgspec
import trio
from msgspec import Struct

from imserver.domain.errors import ApiError, Code
from imserver.service.files.cabinet import new_file_id, on_disk

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from imserver.service.engine import Engine
    from imserver.service.files.cabinet import Cabinet

_ID: Final = re.compile("file_[0-9a-f]{20}")
MOST: Final = 100  # of one user at once


class Upload(Struct, frozen=True):
    """An upload under way."""

    id: str
    user_id: str
    name: str
    length: int
    expires_ms: int
    offset: int = 0  # bytes that are on the disk


class Uploads:
    """Owner of what is under way."""

    def __init__(self, engine: Engine, cabinet: Cabinet) -> None:
        self._engine = engine
        self._cabinet = cabinet
        self._contents = cabinet.contents
        self._busy: set[str] = set()
        self._known: dict[str, Upload] = {}

    async def load(self) -> None:
        """Take up what was under way when the server ended."""
        for note in await on_disk(self._contents.notes):
            try:
                upload = msgspec.json.decode(note, type=Upload)
            except msgspec.MsgspecError:
                continue
            self._known[upload.id] = upload
        await self.expire()

    async def create(self, user_id: str, length: int, name: str) -> Upload:
        """Begin one.

        Raises:
            ApiError: `too_large`, `rate_limited` for too many at once, `unavailable`.
        """
        await self.expire()
        mine = [upload for upload in self._known.values() if upload.user_id == user_id]
        if len(mine) >= MOST:
            raise ApiError(Code.RATE_LIMITED, f"You may have {MOST} unfinished uploads at once")
        await self._cabinet.room(user_id, length + sum(upload.length for upload in mine))
        expires = self._engine.clock() + self._cabinet.unused_ms
        upload = Upload(new_file_id(), user_id, name, length, expires)
        await on_disk(lambda: self._contents.note(upload.id, msgspec.json.encode(upload)))
        self._known[upload.id] = upload
        if not length:
            await self._finish(upload)
        return upload

    async def look(self, user_id: str, upload_id: str) -> Upload:
        """One of a user's, with its offset; a whole one is a file and stays to be looked at.

        Raises:
            ApiError: `not_found`.
        """
        upload = self._known.get(upload_id)
        if upload is None or upload.user_id != user_id:
            if _ID.fullmatch(upload_id):
                file = await self._cabinet.find_own(user_id, upload_id)
                if file is not None:
                    return Upload(upload_id, user_id, file.name, file.size, 0, file.size)
            raise ApiError(Code.NOT_FOUND, "There is no such upload")
        size = await on_disk(lambda: self._contents.upload_size(upload_id))
        return msgspec.structs.replace(upload, offset=size)

    async def append(
        self, user_id: str, upload_id: str, offset: int, body: AsyncIterator[bytes]
    ) -> Upload:
        """Add to one; what comes before a connection breaks off is kept.

        Raises:
            ApiError: `not_found`; `conflict`: it is elsewhere, or another request is at it;
                `too_large`: more than it was to be; `unavailable`.
        """
        with self._alone(upload_id):
            upload = await self.look(user_id, upload_id)
            if offset != upload.offset or upload_id not in self._known:
                raise ApiError(Code.CONFLICT, f"Upload-Offset must be {upload.offset}")
            incoming = await on_disk(lambda: self._contents.go_on(upload_id))
            left = upload.length - offset
            try:
                await self._cabinet.fill(incoming, _at_most(body, left), user_id, 0)
            finally:
                with trio.CancelScope(shield=True):
                    await on_disk(incoming.pause)
            upload = msgspec.structs.replace(upload, offset=incoming.size)
            if upload.offset == upload.length:
                await self._finish(upload)
            return upload

    async def end(self, user_id: str, upload_id: str) -> None:
        """Give one up.

        Raises:
            ApiError: `not_found`, `conflict`.
        """
        with self._alone(upload_id):
            await self.look(user_id, upload_id)
            if upload_id not in self._known:
                raise ApiError(Code.CONFLICT, "The upload is finished already")
            await self._drop(upload_id)

    async def expire(self) -> None:
        """Drop those that were not ended in time."""
        now = self._engine.clock()
        for upload in list(self._known.values()):
            if upload.expires_ms < now and upload.id not in self._busy:
                await self._drop(upload.id)

    async def _finish(self, upload: Upload) -> None:
        incoming = await on_disk(lambda: self._contents.whole(upload.id))
        try:
            await self._cabinet.keep(incoming, upload.user_id, upload.id, upload.name)
        finally:
            with trio.CancelScope(shield=True):
                await self._drop(upload.id)

    async def _drop(self, upload_id: str) -> None:
        self._known.pop(upload_id, None)
        await on_disk(lambda: self._contents.drop_upload(upload_id))

    @contextmanager
    def _alone(self, upload_id: str) -> Iterator[None]:
        if upload_id in self._busy:
            raise ApiError(Code.CONFLICT, "Another request is adding to this upload")
        self._busy.add(upload_id)
        try:
            yield
        finally:
            self._busy.discard(upload_id)


async def _at_most(body: AsyncIterator[bytes], left: int) -> AsyncIterator[bytes]:
    async for piece in body:
        left -= len(piece)
        if left < 0:
            raise ApiError(Code.TOO_LARGE, "The upload is larger than its Upload-Length")
        yield piece

"""Files over HTTP: uploads in one piece and by tus 1.0, downloads with ranges."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import msgspec
import trio

from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import encode_json
from imserver.domain.media import INLINE, FileView, disposition
from imserver.domain.ranges import choose
from imserver.pictures.studio import MADE_TYPE
from imserver.service.engine import Who
from imserver.service.files.cabinet import on_disk
from imserver.store.files.contents import PICTURES
from imserver.transport.routes import Answer, RawCall, RawRoute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from imserver.service.files.cabinet import Cabinet
    from imserver.service.files.resumable import Upload, Uploads

FILES: Final = "/api/v1/files"
UPLOADS: Final = "/api/v1/uploads"
_TUS: Final = (("Tus-Resumable", "1.0.0"),)
_TUS_SENT: Final = ("Tus-Resumable", "Upload-Length", "Upload-Metadata", "Upload-Offset",
                    "X-HTTP-Method-Override")  # fmt: skip
_TUS_SEEN: Final = ("Location", "Tus-Resumable", "Tus-Version", "Tus-Extension", "Tus-Max-Size",
                    "Upload-Offset", "Upload-Length", "Upload-Expires")  # fmt: skip
_RANGE_SENT: Final = ("Range", "If-Range", "If-None-Match")
_RANGE_SEEN: Final = ("Accept-Ranges", "Content-Disposition", "Content-Length", "Content-Range",
                      "ETag")  # fmt: skip
_PIECE: Final = 256 * 1024  # bytes of a download that are read at once
# Whatever a file is, nothing in it may run, and nobody else may keep it.
_SAFE: Final = (
    ("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'"),
    ("Cache-Control", "private, max-age=0, must-revalidate"),
    ("Cross-Origin-Resource-Policy", "same-site"),
    ("Accept-Ranges", "bytes"),
)


class OneFile(msgspec.Struct, frozen=True):
    """The answer to an upload."""

    file: FileView


def file_routes(cabinet: Cabinet, uploads: Uploads) -> list[RawRoute]:
    """All of them."""
    desk = _Desk(cabinet, uploads)
    tus = partial(RawRoute, request_headers=_TUS_SENT, response_headers=_TUS_SEEN)
    down = partial(RawRoute, request_headers=_RANGE_SENT, response_headers=_RANGE_SEEN)
    return [
        RawRoute("POST", FILES, desk.receive),
        down("GET", FILES + "/{file_id}", desk.give),
        down("GET", FILES + "/{file_id}/{picture}", desk.give),
        RawRoute("OPTIONS", UPLOADS, desk.describe, who=Who.ANYONE),
        tus("POST", UPLOADS, desk.create),
        tus("HEAD", UPLOADS + "/{upload_id}", desk.look),
        tus("PATCH", UPLOADS + "/{upload_id}", desk.append),
        tus("DELETE", UPLOADS + "/{upload_id}", desk.end),
    ]


class _Desk:
    def __init__(self, cabinet: Cabinet, uploads: Uploads) -> None:
        self._cabinet = cabinet
        self._uploads = uploads

    async def receive(self, call: RawCall) -> Answer:
        """`POST /api/v1/files?name=`: the body is the file."""
        name = call.head.parameters().get("name", "")
        length = _number(call.head.text("Content-Length"))
        file = await self._cabinet.receive(call.caller.user_id, call.body, name, length)
        return Answer(200, encode_json(OneFile(file.view)) + b"\n")

    async def give(self, call: RawCall) -> Answer:
        """`GET /api/v1/files/{file_id}`, and what was made of a picture."""
        file = await self._cabinet.find(call.caller.user_id, call.path["file_id"])
        picture = call.path.get("picture")
        kind, name, path = file.type, file.name, self._cabinet.contents.path(file.digest)
        if picture is not None:
            if picture not in PICTURES or not file.shown:
                raise ApiError(Code.NOT_FOUND, "There is no such picture of this file")
            kind, name = MADE_TYPE, f"{picture}.webp"
            path = self._cabinet.contents.picture_path(file.digest, picture)
        try:
            size = (await trio.Path(path).stat()).st_size
        except FileNotFoundError:
            raise ApiError(Code.NOT_FOUND, "The content of this file is missing") from None
        etag = f'"{file.digest[:32]}{"." + picture if picture else ""}"'
        head = call.head
        part = choose(
            size,
            etag,
            range_=head.text("Range"),
            if_range=head.text("If-Range"),
            if_none_match=head.text("If-None-Match"),
        )
        headers = [
            ("Content-Type", kind),
            ("Content-Disposition", disposition(name, inline=kind in INLINE)),
            ("ETag", etag),
            *_SAFE,
        ]
        if part.status == 206:
            headers.append(("Content-Range", f"bytes {part.start}-{part.end - 1}/{size}"))
        elif part.status == 416:
            headers.append(("Content-Range", f"bytes */{size}"))
        if part.status in (304, 416):
            return Answer(part.status, b"", tuple(headers))
        return Answer(
            part.status, _read(path, part.start, part.length), tuple(headers), part.length
        )

    # -- tus 1.0: https://tus.io/protocols/resumable-upload -----------------------------------

    async def describe(self, call: RawCall) -> Answer:
        """What we understand of tus."""
        headers = [
            *_TUS,
            ("Tus-Version", "1.0.0"),
            ("Tus-Extension", "creation,termination,expiration"),
        ]
        if self._cabinet.limits.file:
            headers.append(("Tus-Max-Size", str(self._cabinet.limits.file)))
        return Answer(204, b"", tuple(headers))

    async def create(self, call: RawCall) -> Answer:
        """Begin an upload."""
        if (wrong := _other_version(call)) is not None:
            return wrong
        length = _number(call.head.text("Upload-Length"))
        if length is None:
            raise ApiError(Code.INVALID_REQUEST, "Upload-Length is required")
        name = _metadata(call.head.text("Upload-Metadata") or "").get("filename", "")
        upload = await self._uploads.create(call.caller.user_id, length, name)
        location = ("Location", f"{UPLOADS}/{upload.id}")
        return Answer(201, b"", (*_TUS, location, *_state(upload)))

    async def look(self, call: RawCall) -> Answer:
        """How far an upload is."""
        if (wrong := _other_version(call)) is not None:
            return wrong
        upload = await self._uploads.look(call.caller.user_id, call.path["upload_id"])
        length = ("Upload-Length", str(upload.length))
        return Answer(200, b"", (*_TUS, length, *_state(upload)))

    async def append(self, call: RawCall) -> Answer:
        """Add to an upload."""
        if (wrong := _other_version(call)) is not None:
            return wrong
        if call.head.text("Content-Type") != "application/offset+octet-stream":
            text = "The body must be application/offset+octet-stream"
            raise ApiError(Code.UNSUPPORTED_MEDIA_TYPE, text)
        offset = _number(call.head.text("Upload-Offset"))
        if offset is None:
            raise ApiError(Code.INVALID_REQUEST, "Upload-Offset is required")
        upload = await self._uploads.append(
            call.caller.user_id, call.path["upload_id"], offset, call.body
        )
        return Answer(204, b"", (*_TUS, *_state(upload)))

    async def end(self, call: RawCall) -> Answer:
        """Give an upload up."""
        if (wrong := _other_version(call)) is not None:
            return wrong
        await self._uploads.end(call.caller.user_id, call.path["upload_id"])
        return Answer(204, b"", _TUS)


def _other_version(call: RawCall) -> Answer | None:
    if call.head.text("Tus-Resumable") == "1.0.0":
        return None
    return Answer(412, b"", (*_TUS, ("Tus-Version", "1.0.0")))


def _state(upload: Upload) -> list[tuple[str, str]]:
    headers = [("Upload-Offset", str(upload.offset)), ("Cache-Control", "no-store")]
    if upload.offset < upload.length:
        expires = datetime.fromtimestamp(upload.expires_ms / 1000, UTC)
        headers.append(("Upload-Expires", format_datetime(expires, usegmt=True)))
    return headers


def _number(text: str | None) -> int | None:
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        return None
    return int(text)


def _metadata(text: str) -> dict[str, str]:
    found = {}
    for pair in text.split(","):
        key, _, value = pair.strip().partition(" ")
        try:
            found[key] = base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise ApiError(Code.INVALID_REQUEST, "Upload-Metadata is not base64 of UTF-8") from None
    return found


async def _read(path: Path, start: int, length: int) -> AsyncIterator[bytes]:
    file = await on_disk(lambda: path.open("rb", 0))
    try:
        file.seek(start)
        while length > 0:
            data = await on_disk(partial(file.read, min(length, _PIECE)))
            if not data:
                return
            length -= len(data)
            yield data
    finally:
        file.close()

"""The type of a content, by its first bytes. What the client says is never believed."""

from __future__ import annotations

import re
from typing import Final

import filetype

from imserver.domain.media import ANY_TYPE

# What a browser might run. Such a content is never anything else, whatever else it also is.
_MARKUP: Final = re.compile(
    rb"<(?:!doctype|html|head|body|script|svg|iframe|xml|\?xml|style|title|meta|img|a\s|div|table|x:)",
    re.IGNORECASE,
)
_NAMES: Final = {
    "image/x-icon": "image/vnd.microsoft.icon",
    "image/heif": "image/heic",
    "audio/x-wav": "audio/wav",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "video/x-m4v": "video/mp4",
}
_HEIC_BRANDS: Final = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def sniff(head: bytes) -> str:
    """The media type of a content that begins so; `application/octet-stream` if unknown.

    Markup is `text/plain` to us: nobody shows it as what it is.
    """
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        return "image/heic"
    if head[4:8] == b"ftyp" and head[8:12] in (b"avif", b"avis"):
        return "image/avif"
    kind = filetype.guess(head)
    if kind is not None:
        mime = str(kind.mime)
        return _NAMES.get(mime, mime)
    return "text/plain" if _is_text(head) else ANY_TYPE


def is_markup(head: bytes) -> bool:
    """Whether a browser might take a content for a page if it were asked to guess."""
    return _MARKUP.search(head[:1024]) is not None


def _is_text(head: bytes) -> bool:
    if not head or b"\0" in head:
        return False
    try:
        head.decode()
    except UnicodeDecodeError as error:
        return error.start > len(head) - 4 and len(head) > 4  # cut within a character
    return True

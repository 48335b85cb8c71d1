"""Types of files, and file names that every client can handle."""

from __future__ import annotations

import re
from typing import Final
from unicodedata import category, normalize
from urllib.parse import quote

from msgspec import Struct

MAX_NAME: Final = 200  # characters
MAX_NAME_BYTES: Final = 255  # the limit of most file systems
ANY_TYPE: Final = "application/octet-stream"

# Types that a browser may show. None of them can run code: no SVG, no HTML, no XML, no PDF.
PICTURES: Final = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/heic", "image/bmp"}
)
INLINE: Final = (
    PICTURES - {"image/heic", "image/bmp"}
    | {"audio/mpeg", "audio/ogg", "audio/wav", "audio/flac", "audio/mp4", "audio/aac", "audio/webm"}
    | {"video/mp4", "video/webm", "video/ogg", "video/quicktime"}
)
_RESERVED: Final = re.compile(r"(?i:con|prn|aux|nul|com\d|lpt\d)(\..*)?")


class FileView(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A file, as clients see it."""

    id: str
    name: str
    size: int
    type: str
    sha256: str
    width: int | None = None
    height: int | None = None
    thumbnail: bool = False  # there are a thumbnail and a preview


def clean_name(name: str) -> str:
    """A file name that is safe to show and to save; "file" if nothing is left of it.

    Folders, control and formatting characters (U+202E among them) are removed, and dots and
    spaces at both ends. A long name is cut, but keeps its extension.
    """
    name = normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    name = "".join(
        " " if character.isspace() else character
        for character in name
        if character.isspace() or category(character)[0] != "C"
    )
    name = re.sub(r'[<>:"|?*]', "_", " ".join(name.split())).strip(". ")
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    stem, dot, extension = name.rpartition(".")
    if not dot or len(extension) > 16:
        stem, dot, extension = name, "", ""
    while (
        len(stem) + len(dot + extension) > MAX_NAME
        or _size(stem + dot + extension) > MAX_NAME_BYTES
    ):
        stem = stem[:-1]
    return stem + dot + extension or "file"


def _size(text: str) -> int:
    return len(text.encode())


def disposition(name: str, *, inline: bool) -> str:
    """`Content-Disposition` (RFC 6266): an ASCII name for old clients, and the real name."""
    plain = name.encode("ascii", "replace").decode().replace("?", "_")
    plain = plain.replace("\\", "_").replace('"', "_").replace("%", "_")
    kind = "inline" if inline else "attachment"
    real = quote(name, safe="!#$&+-.^_`|~")  # RFC 8187, attr-char
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{real}"

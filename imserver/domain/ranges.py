"""Parts of a representation: `Range`, `If-Range`, `If-None-Match` (RFC 9110, 13 and 14)."""

from __future__ import annotations

import re
from typing import Final, NamedTuple

_RANGE: Final = re.compile(r"bytes=\s*(\d*)-(\d*)\s*")
_MOST_DIGITS: Final = 18


class Slice(NamedTuple):
    """The part to send, and the status of the answer."""

    status: int  # 200, 206, 304 or 416
    start: int
    end: int  # the first byte that is not sent

    @property
    def length(self) -> int:
        """Bytes that are sent."""
        return self.end - self.start


def choose(
    size: int,
    etag: str,
    *,
    range_: str | None = None,
    if_range: str | None = None,
    if_none_match: str | None = None,
) -> Slice:
    """The part of `size` bytes to send. Several ranges, or invalid ones, are ignored."""
    whole = Slice(200, 0, size)
    if if_none_match is not None:
        tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
        if "*" in tags or etag in tags:
            return Slice(304, 0, 0)
    if range_ is None or (if_range is not None and if_range.strip() != etag):
        return whole
    found = _RANGE.fullmatch(range_.strip())
    if found is None or max(map(len, found.groups())) > _MOST_DIGITS:
        return whole
    first, last = found.groups()
    if not first and not last:
        return whole
    if not first:
        count = min(int(last), size)
        return Slice(206, size - count, size) if count else Slice(416, 0, 0)
    start = int(first)
    if last and int(last) < start:
        return whole
    if start >= size:
        return Slice(416, 0, 0)
    return Slice(206, start, min(int(last) + 1, size) if last else size)

"""The head of one REST request, whichever version of HTTP carried it.

Law: nothing here is normalised. A path is cut into segments first and decoded then, so that `%2F`
is part of a segment, and a user whose id is `..` is named by `%2E%2E`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote

if TYPE_CHECKING:
    from collections.abc import Sequence

_NO_TEXT: Final = "\ufffd"  # what the standard library makes of bytes that are not UTF-8


@lru_cache(maxsize=256)
def _key(name: str) -> bytes:
    return name.lower().encode("latin-1")


class Head:
    """Method, target and headers of one request."""

    __slots__ = ("_fields", "_repeated", "method", "path", "query")

    def __init__(self, method: str, target: bytes) -> None:
        """`target` is ASCII, as it came: a path, or a whole URL (RFC 9112 section 3.2)."""
        self.method = method
        path, _, query = target.decode("ascii", "replace").partition("?")
        if not path.startswith("/") and path != "*":
            path = "/" + path.partition("://")[2].partition("/")[2]
        self.path = path  # as it came
        self.query = query
        self._fields: dict[bytes, bytes] = {}  # names in lower case
        self._repeated: dict[bytes, list[bytes]] | None = None  # those that came more than once

    def add(self, name: bytes, value: bytes) -> None:
        """One header, its name in lower case."""
        known = self._fields.setdefault(name, value)
        if known is not value:
            if self._repeated is None:
                self._repeated = {}
            self._repeated.setdefault(name, [known]).append(value)

    def values(self, name: str) -> Sequence[bytes]:
        """Every value of a header, in order, as it came."""
        key = _key(name)
        if self._repeated is not None and key in self._repeated:
            return self._repeated[key]
        value = self._fields.get(key)
        return () if value is None else (value,)

    def text(self, name: str) -> str | None:
        """A header as text, None without it. What comes twice is joined and matches nothing."""
        key = _key(name)
        value = self._fields.get(key)
        if value is None:
            return None
        if self._repeated is not None and key in self._repeated:
            value = b", ".join(self._repeated[key])
        return value.decode("latin-1")

    @property
    def count(self) -> int:
        """How many headers there are."""
        return len(self._fields) + sum(map(len, (self._repeated or {}).values()))

    def lines(self, minor: int) -> bytes:
        """The head as HTTP/1.`minor` has it; the order of different names may be another."""
        target = f"{self.path}?{self.query}" if self.query else self.path
        lines = [f"{self.method} {target} HTTP/1.{minor}".encode()]
        repeated = self._repeated or {}
        for name, value in self._fields.items():
            lines += (b"%b: %b" % (name, each) for each in repeated.get(name, (value,)))
        return b"\r\n".join([*lines, b"", b""])

    def segments(self) -> list[str]:
        """The path's segments, decoded one by one."""
        raw = self.path[1:].split("/")
        if "%" not in self.path:
            return raw
        # No id has a NUL: what is not text and what is no character name nobody alike.
        return [unquote(each.replace("%00", _NO_TEXT)) for each in raw]

    def parameters(self) -> dict[str, str]:
        """The query's fields; if one comes twice, the first counts, and an empty one is absent."""
        return dict(reversed(parse_qsl(self.query))) if self.query else {}

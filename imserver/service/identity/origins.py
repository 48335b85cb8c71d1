"""Which web pages may use the server from a visitor's browser.

A browser says in `Origin` whose page asks; programs say nothing, and are not concerned. WebSockets
are not bound by the browser's same-origin policy, so it is the server that has to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple
from urllib.parse import urlsplit

from imserver.service.identity.hosts import is_this_machine

if TYPE_CHECKING:
    from collections.abc import Collection

    from imserver.service.identity.hosts import Hosts

_PORTS: Final = {"http": 80, "https": 443}
_ANY: Final = "*"
_OPAQUE: Final = ("null", "file://")  # what browsers say for pages that have no origin


class Origins:
    """Admits pages of the server's own origin and those that are allowed expressly.

    A server that listens on loopback only admits the pages of this machine: there, anybody's page
    may pass for one of the server's own origin (see `hosts`), unless its name is a listed one.
    """

    def __init__(self, allowed: Collection[str], hosts: Hosts, *, loopback: bool) -> None:
        """`allowed`: as in the settings.

        Raises:
            ValueError: one of them is no origin; the text is a sentence for the operator.
        """
        self._hosts = hosts
        self._allowed = {listed_origin(origin) for origin in allowed}
        self._any = _ANY in self._allowed
        self._loopback = loopback

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin are allowed expressly."""
        return self._any or (_parsed(origin) or origin) in self._allowed

    def admits(self, origin: str | None, host: str | None) -> bool:
        """Whether a request with these headers may be served."""
        if origin is None or self.allows(origin):
            return True
        page = _parsed(origin)
        if page is None:
            return False
        if self._loopback and not self._hosts.lists(page.name):
            return is_this_machine(page.name)
        return host is not None and _parsed(f"{page.scheme}://{host}") == page


class _Origin(NamedTuple):
    scheme: str
    name: str
    port: int


def listed_origin(text: str) -> _Origin | str:
    """An origin of the settings; `*`, `null` and `file://` stand for themselves.

    Raises:
        ValueError: it is none; the text is a sentence for the operator.
    """
    text = text.strip()
    if text == _ANY or text.lower() in _OPAQUE:
        return text.lower()
    origin = _parsed(text.rstrip("/"))
    if origin is None:
        raise ValueError(
            f"{text!r} is no origin: write https://name or https://name:port, without a path"
        )
    return origin


def _parsed(origin: str) -> _Origin | None:
    """An origin with its port, said or not (RFC 6454 section 4)."""
    try:
        parts = urlsplit(origin)
        name, port = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not name or parts.path or parts.query or parts.fragment:
        return None
    if "@" in parts.netloc or any(character.isspace() for character in origin):
        return None
    return _Origin(parts.scheme, name, _PORTS[parts.scheme] if port is None else port)

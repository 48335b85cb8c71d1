"""Which web pages may use the server from a visitor's browser.

A browser says in `Origin` whose page asks; programs say nothing, and are not concerned. WebSockets
are not bound by the browser's same-origin policy, so it is the server that has to look.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from imserver.service.identity.hosts import is_this_machine

if TYPE_CHECKING:
    from collections.abc import Collection

    from imserver.service.identity.hosts import Hosts


class Origins:
    """Admits pages of the server's own origin and those that are allowed expressly.

    A server that listens on loopback only admits the pages of this machine: there, anybody's page
    may pass for one of the server's own origin (see `hosts`), unless its name is a listed one.
    """

    def __init__(self, allowed: Collection[str], hosts: Hosts, *, loopback: bool) -> None:
        self._hosts = hosts
        self._allowed = {origin.lower().rstrip("/") for origin in allowed}
        self._loopback = loopback

    def allows(self, origin: str) -> bool:
        """Whether pages of this origin are allowed expressly."""
        return "*" in self._allowed or origin.lower() in self._allowed

    def admits(self, origin: str | None, host: str | None) -> bool:
        """Whether a request with these headers may be served."""
        if origin is None or self.allows(origin):
            return True
        try:
            parts = urlsplit(origin)
            name = parts.hostname
        except ValueError:
            return False
        if parts.scheme not in ("http", "https") or not name:
            return False
        if self._loopback and not self._hosts.lists(name):
            return is_this_machine(name)
        return host is not None and parts.netloc.lower() == host.lower()

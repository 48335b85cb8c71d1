"""The names under which the server may be reached, checked against a request's `Host`.

Any web page can point its own host name at the visitor's machine (DNS rebinding). To the browser,
page and server are then one origin, and in open mode the page could act as any user. But it cannot
change the name that the browser sends in `Host`.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\s:/?#@,\\\[\]]+)(:[0-9]*)?")


class Hosts:
    """Tells the server's own names from others."""

    def __init__(self, listed: Collection[str], *, guarded: bool) -> None:
        """`listed`: names or addresses; `*` is any, and so is every name where none is listed.

        `guarded`: where none is listed, only this machine's names are the server's.
        """
        self._listed = {_plain(name) for name in listed}
        self._any = "*" in self._listed or not (listed or guarded)

    def admits(self, host: str | None) -> bool:
        """Whether a request with this `Host` may be served; one without is no browser's."""
        if self._any or not host:
            return True
        found = _HOST.fullmatch(host)
        if found is None:
            return False
        name = _plain(found[1])
        return name in self._listed or is_this_machine(name)

    def lists(self, name: str) -> bool:
        """Whether a name, without a port, is listed expressly."""
        return _plain(name) in self._listed


def _plain(name: str) -> str:
    return name.lower().strip("[]").removesuffix(".")


@lru_cache(maxsize=64)  # every request says one of few names
def is_this_machine(name: str) -> bool:
    """Whether a name, without a port, is this machine's own, whoever looks it up."""
    if name == "localhost" or name.endswith(".localhost"):  # RFC 6761 section 6.3
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False

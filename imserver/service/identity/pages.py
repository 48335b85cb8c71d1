"""Whether a browser's page may use the server: `Host` and `Origin`, for both transports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.domain.errors import ApiError, Code

if TYPE_CHECKING:
    from imserver.domain.model import Peer
    from imserver.service.identity.hosts import Hosts
    from imserver.service.identity.modes import Head
    from imserver.service.identity.origins import Origins

STRANGE_HOST: Final = (
    "The server does not go by the name in Host: if it should, list that in its setting hosts"
)
_STRANGE_ORIGIN: Final = "Pages of this origin may not use the server"


class Pages:
    """Holds requests to the server's names and to the origins that are allowed."""

    def __init__(self, hosts: Hosts, origins: Origins) -> None:
        self._hosts = hosts
        self._origins = origins

    def check(self, peer: Peer, head: Head) -> None:
        """Look at the `Origin` and `Host` of a request; `peer` is the other end of its connection.

        Raises:
            ApiError: `forbidden`.
        """
        origin, host = _text(head, "Origin"), _text(head, "Host")
        # A client of a Unix socket has no address, and may say any name.
        if peer.address and not self._hosts.admits(host):
            raise ApiError(Code.FORBIDDEN, STRANGE_HOST)
        if not self._origins.admits(origin, host):
            raise ApiError(Code.FORBIDDEN, _STRANGE_ORIGIN)

    def allows(self, origin: str) -> bool:
        """Whether the pages of an origin are allowed by name, so that CORS is answered."""
        return self._origins.allows(origin)


def _text(head: Head, name: str) -> str | None:
    """A header's value; a header that comes twice matches nothing."""
    values = head(name)
    return ", ".join(value.decode("latin-1") for value in values) if values else None

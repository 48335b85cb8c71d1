"""The client's address behind trusted reverse proxies. Only this module reads their headers.

`X-Forwarded-For` is a list. Each proxy appends, at the right, the address of its own client.
Entries left of the one that the outermost trusted proxy appended can be forged.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Final

from imserver.domain.model import Peer

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    Address = ipaddress.IPv4Address | ipaddress.IPv6Address

UNIX: Final = "unix"  # stands for connections through the Unix socket
FORWARDED_FOR: Final = "X-Forwarded-For"
# Some proxies add the port, and put IPv6 addresses in brackets.
_WITH_PORT: Final = re.compile(r"\[(?P<v6>[^\]]+)\](:\d{1,5})?|(?P<v4>[\d.]+):\d{1,5}")


class Proxies:
    """The trusted proxies."""

    def __init__(self, listed: Collection[str]) -> None:
        """Addresses and networks as `ipaddress` reads them, and `unix`.

        Raises:
            ValueError: one is none of these.
        """
        self._networks = [ipaddress.ip_network(each) for each in listed if each != UNIX]
        self._unix = UNIX in listed

    def peer(self, address: str) -> Peer:
        """The other end of a socket. An empty address is that of a Unix socket."""
        if not address:
            return Peer("", self._unix)
        parsed = _parse(address)
        if parsed is None:
            return Peer(address)
        return Peer(str(parsed), self._lists(parsed))

    def client(self, peer: Peer, forwarded: Iterable[str]) -> Peer:
        """The client of a request that came from `peer` with these `X-Forwarded-For` headers.

        It is the rightmost address that is not a trusted proxy. If an entry on the way there is
        malformed, it is the proxy itself.
        """
        if not peer.proxied:
            return peer
        client: Address | None = None
        for hop in reversed(",".join(forwarded).split(",")):
            parsed = _parse(hop.strip())
            if parsed is None:
                return peer
            client = parsed
            if not self._lists(parsed):
                break
        return Peer(str(client), proxied=True)

    def _lists(self, address: Address) -> bool:
        return any(address in network for network in self._networks)


def _parse(text: str) -> Address | None:
    with_port = _WITH_PORT.fullmatch(text)
    if with_port is not None:
        text = with_port["v6"] or with_port["v4"]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    # An IPv4-mapped IPv6 address (RFC 4291, 2.5.5.2) is the same client.
    return getattr(address, "ipv4_mapped", None) or address

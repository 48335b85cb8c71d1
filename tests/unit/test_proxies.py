"""Who a client is behind listed proxies: nobody else's word counts."""

from __future__ import annotations

import pytest

from imserver.domain.model import Peer
from imserver.transport.proxies import Proxies

PROXIES = Proxies(["127.0.0.1", "10.0.0.0/8", "2001:db8::/32"])


@pytest.mark.parametrize("address", ["127.0.0.1", "10.9.8.7", "2001:db8::7", "::ffff:10.1.1.1"])
def test_addresses_and_networks_are_listed(address: str) -> None:
    assert PROXIES.peer(address).proxied


@pytest.mark.parametrize("address", ["127.0.0.2", "11.0.0.1", "2001:db9::1", "fe80::1%eth0", ""])
def test_others_are_not(address: str) -> None:
    assert PROXIES.peer(address) == Peer(address)


def test_the_unix_socket_is_listed_by_its_name() -> None:
    assert Proxies(["unix"]).peer("") == Peer("", proxied=True)


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        (["203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9, 10.0.0.5"], "203.0.113.9"),
        (["198.51.100.1, 203.0.113.9,10.0.0.5 , 10.0.0.6"], "203.0.113.9"),
        (["198.51.100.1", "203.0.113.9", "10.0.0.5"], "203.0.113.9"),
        (["what, ever, 203.0.113.9"], "203.0.113.9"),
        (["2001:0DB9:0:0:0:0:0:1"], "2001:db9::1"),
        (["::ffff:203.0.113.9"], "203.0.113.9"),
        (["203.0.113.9:4711"], "203.0.113.9"),
        (["[2001:db9::1]"], "2001:db9::1"),
        (["[2001:db9::1]:4711, 10.0.0.5:80"], "2001:db9::1"),
        (["10.0.0.7, 10.0.0.5"], "10.0.0.7"),  # a proxy asks for itself
    ],
)
def test_the_last_address_that_is_not_listed_is_the_clients(
    headers: list[str], client: str
) -> None:
    assert PROXIES.client(PROXIES.peer("10.0.0.1"), headers) == Peer(client, proxied=True)


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [""],
        [","],
        ["203.0.113.9,"],
        ["203.0.113.9, unknown"],
        ["203.0.113.9, unknown, 10.0.0.5"],
        ["203.0.113.9:x"],
        ["203.0.113.9:123456"],
        ["2001:db9::1]"],
        ["[203.0.113.9"],
        ["203.0.113.009"],
        ["203.0.113.9 203.0.113.8"],
        ["203.0.113.9\0"],
    ],
)
def test_where_the_way_is_malformed_it_is_the_proxy_itself(headers: list[str]) -> None:
    proxy = PROXIES.peer("10.0.0.1")
    assert PROXIES.client(proxy, headers) is proxy


def test_nobody_elses_word_counts() -> None:
    stranger, operator = PROXIES.peer("203.0.113.1"), Peer(operator=True)
    for peer in (stranger, operator):
        assert PROXIES.client(peer, ["198.51.100.1"]) is peer

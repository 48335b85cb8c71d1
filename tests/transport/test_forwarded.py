"""What reverse proxies say of their clients: believed from listed ones, over both lanes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from imserver import log
from imserver.config import Admission, Log
from tests.support import rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import HANDSHAKE, Raw, open_raw
from tests.transport.test_request_ids import logged

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from imserver import Server

ACCESS = Log(access=True)


@asynccontextmanager
async def forwarded(server: Server, client: str) -> AsyncIterator[Raw]:
    """A WebSocket on a connection of its own, brought by a proxy for `client`."""
    async with open_raw(server) as raw:
        await raw.send(HANDSHAKE[:-2] + b"X-Forwarded-For: %b\r\n\r\n" % client.encode())
        yield raw


def addresses(entries: list[dict[str, Any]]) -> list[str | None]:
    return [entry.get("address") for entry in entries if entry["logger"] == log.ACCESS]


@pytest.mark.parametrize(
    ("proxies", "believed"),
    [(("127.0.0.1",), True), (("127.0.0.0/8", "unix"), True), ((), False), (("10.0.0.1",), False)],
)
async def test_the_access_log_says_whose_word_counts(
    proxies: tuple[str, ...], believed: bool
) -> None:
    with logged() as entries:
        async with running_server(log=ACCESS, proxies=proxies) as server:
            async with rest(server, "alice") as alice:
                for client in ("203.0.113.1", "203.0.113.2"):  # both on one connection
                    await alice.request("GET", "/health", headers={"X-Forwarded-For": client})
                await alice.request("GET", "/health")
            async with forwarded(server, "203.0.113.3") as raw:
                assert (await raw.head()).startswith(b"HTTP/1.1 101 ")
    ours = "127.0.0.1"
    seen = ["203.0.113.1", "203.0.113.2", ours, "203.0.113.3"] if believed else [ours] * 4
    assert addresses(entries) == seen


async def test_an_upgrade_on_a_kept_connection_is_whose_it_says() -> None:
    with logged() as entries:
        async with (
            running_server(log=ACCESS, proxies=("127.0.0.1",)) as server,
            open_raw(server) as raw,
        ):
            await raw.send(
                b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-For: 203.0.113.1\r\n\r\n"
            )
            assert (await raw.answer())[0] == 200
            await raw.send(HANDSHAKE[:-2] + b"X-Forwarded-For: 203.0.113.2\r\n\r\n")
            assert (await raw.head()).startswith(b"HTTP/1.1 101 ")
    assert addresses(entries) == ["203.0.113.1", "203.0.113.2"]


async def test_a_proxys_clients_are_held_to_their_own_number_of_connections() -> None:
    admission = Admission(mode="on", address_connections=2, connections_burst=1_000_000)
    async with (
        running_server(admission=admission, proxies=("127.0.0.1",)) as server,
        forwarded(server, "203.0.113.1") as first,
        forwarded(server, "203.0.113.1") as second,
        forwarded(server, "203.0.113.2") as other,
    ):
        for raw in (first, second, other):
            assert (await raw.head()).startswith(b"HTTP/1.1 101 ")
        async with forwarded(server, "203.0.113.1") as third:
            status, headers, body = await third.answer()
        assert status == 429
        assert headers[b"retry-after"] == b"5"
        assert b'"code":"rate_limited"' in body
        await first.stream.aclose()
        with trio.fail_after(PATIENCE):
            while True:  # until the server has noticed that it left
                async with forwarded(server, "203.0.113.1") as again:
                    if (await again.head()).startswith(b"HTTP/1.1 101 "):
                        break


async def test_a_proxy_itself_may_open_as_many_as_it_likes() -> None:
    admission = Admission(mode="on", address_connections=1, connections_burst=1)
    async with running_server(admission=admission, proxies=("127.0.0.1",)) as server:
        async with rest(server, None) as first, rest(server, None) as second:
            for nobody in (first, second):
                assert (await nobody.request("GET", "/health")).status_code == 200
        async with open_raw(server) as raw:  # brings nobody in particular
            await raw.send(HANDSHAKE)
            assert (await raw.head()).startswith(b"HTTP/1.1 101 ")

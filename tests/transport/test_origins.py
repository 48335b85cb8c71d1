"""Which web pages may use the server, and what browsers are told."""

from __future__ import annotations

import pytest

from imserver.config import ConfigError
from imserver.service.identity.hosts import Hosts
from imserver.service.identity.origins import Origins
from tests.support import rest, running_server
from tests.transport.raw import HANDSHAKE, open_raw

OWN = "https://chat.example:8443"


@pytest.mark.parametrize(
    ("origin", "loopback", "admitted"),
    [
        (None, False, True),  # no browser
        ("https://chat.example:8443", False, True),
        ("https://CHAT.example:8443", False, True),
        ("https://friend.example", False, True),
        ("https://friend.example:443", False, True),  # the port that is meant anyway
        ("https://friend.example:444", False, False),
        ("http://friend.example", False, False),
        ("https://friend.example@evil.example", False, False),
        ("https://evil.example/https://friend.example", False, False),
        ("https://chat.example", False, False),
        ("https://evil.example", False, False),
        ("https://chat.example:8443.evil.example", False, False),
        ("https://friend.example.evil.example", False, False),
        ("http://localhost:3000", False, False),
        ("null", False, False),
        ("", False, False),
        ("file://", False, False),
        ("https://[", False, False),
        ("http://localhost:3000", True, True),
        ("http://127.0.0.1:8080", True, True),
        ("http://[::1]:8080", True, True),
        ("https://friend.example", True, True),
        ("https://chat.example:8443", True, False),  # anybody's name may lead to loopback
        ("null", True, False),
        ("javascript://localhost", True, False),
    ],
)
def test_admitted(origin: str | None, loopback: bool, admitted: bool) -> None:
    hosts = Hosts([], guarded=loopback)
    origins = Origins(["https://friend.example/"], hosts, loopback=loopback)
    assert origins.admits(origin, "chat.example:8443") is admitted
    assert Origins(["*"], hosts, loopback=loopback).admits(origin, None)


def test_a_default_port_may_be_said_or_not() -> None:
    hosts = Hosts([], guarded=False)
    own = Origins([], hosts, loopback=False)
    assert own.admits("https://chat.example", "chat.example:443")
    assert own.admits("https://chat.example:443", "chat.example")
    assert own.admits("http://chat.example", "chat.example:80")
    assert not own.admits("http://chat.example", "chat.example:443")
    listed = Origins(["https://friend.example:443", "null", "file://"], hosts, loopback=False)
    for origin in ("https://friend.example", "null", "file://"):
        assert listed.admits(origin, "chat.example")


@pytest.mark.parametrize(
    "origin",
    [
        "friend.example",
        "friend.example:8443",
        "ftp://x",
        "https://",
        "https://x/path",
        "https://x:y",
    ],
)
async def test_what_is_no_origin_is_refused_at_start(origin: str) -> None:
    with pytest.raises(ConfigError, match="is no origin"):
        async with running_server(origins=(origin,)):
            pass


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:3000", 101), ("https://evil.example", 403), ("null", 403)],
)
async def test_websockets_of_strange_pages_are_refused(origin: str, status: int) -> None:
    async with running_server() as server, open_raw(server) as raw:
        await raw.send(HANDSHAKE[:-2] + f"Origin: {origin}\r\n\r\n".encode())
        head = await raw.head()
        assert int(head.split()[1]) == status


async def test_rest_calls_of_strange_pages_are_refused_and_those_of_this_machine_may_read() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        strange = {"Origin": "https://evil.example"}
        response = await alice.request("GET", "/health", headers=strange)
        assert response.status_code == 403
        assert response.json()["code"] == "forbidden"
        near = {"Origin": "http://localhost:3000"}
        response = await alice.request("GET", "/health", headers=near)
        assert response.status_code == 200
        assert response.headers["access-control-allow-origin"] == near["Origin"]
        response = await alice.request("OPTIONS", "/api/v1/messages", headers=near)
        assert response.status_code == 204
        assert response.headers["access-control-allow-methods"] == "POST"
        assert response.headers["access-control-allow-origin"] == near["Origin"]
        response = await alice.request("OPTIONS", "/no/such/path", headers=near)
        assert response.status_code == 404
        response = await alice.request("OPTIONS", "/api/v1/messages", headers=strange)
        assert response.status_code == 403
        assert not [name for name in response.headers if name.startswith("access-control")]


async def test_pages_that_are_allowed_may_call_rest() -> None:
    origin = "https://friend.example"
    headers = {"Origin": origin}
    async with running_server(origins=(origin,)) as server, rest(server, "alice") as alice:
        response = await alice.request("OPTIONS", "/api/v1/messages", headers=headers)
        assert response.status_code == 204
        allowed = response.headers["Access-Control-Allow-Headers"]
        assert {"X-User-ID", "Authorization"} <= set(allowed.split(", "))
        assert response.headers["Access-Control-Allow-Origin"] == origin
        body = {"receiver_id": "bob", "content": "hello"}
        response = await alice.request("POST", "/api/v1/messages", json=body, headers=headers)
        assert response.status_code == 200
        assert response.headers["Access-Control-Allow-Origin"] == origin
        assert response.headers["Vary"] == "Origin"


async def test_answers_are_not_to_be_taken_for_pages() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        for path in ("/health", "/nothing", "/api/v1/messages/offline"):
            headers = (await alice.request("GET", path)).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["Cache-Control"] == "no-store"
            assert "default-src 'none'" in headers["Content-Security-Policy"]
            assert headers["Referrer-Policy"] == "no-referrer"

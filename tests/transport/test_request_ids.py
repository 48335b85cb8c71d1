"""Every REST answer and every log record says which request it belongs to, and never too much."""

from __future__ import annotations

import json
import logging
import re
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from imserver import log
from imserver.config import Log
from imserver.service.operations import OPERATIONS
from tests.support import connect, login, rest, running_server
from tests.transport.raw import open_raw

if TYPE_CHECKING:
    from collections.abc import Iterator

GENERATED = re.compile(r"[0-9a-f]{32}")
SANE = ["abc", "x" * 128, 'a b;c="d"', "~!@#$%^&*()"]
NOT_SANE = ["", "x" * 129, "tab\there", "é", "\x7f"]


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """What the server logs, as its JSON says it."""
    entries: list[dict[str, Any]] = []

    class Keep(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            entries.append(json.loads(log.JsonFormatter().format(record)))

    keep = Keep()
    keep.addFilter(log.About())
    ours = logging.getLogger("imserver")
    level = ours.level
    ours.setLevel(logging.DEBUG)
    ours.addHandler(keep)
    try:
        yield entries
    finally:
        ours.removeHandler(keep)
        ours.setLevel(level)


@pytest.mark.parametrize("given", SANE)
async def test_a_sane_id_of_the_clients_is_kept(given: str) -> None:
    async with running_server() as server, rest(server, None) as nobody:
        for path in ("/health", "/no/such/path", "/metrics", "/api/v1/groups"):
            answer = await nobody.request("GET", path, headers={"X-Request-ID": given})
            assert answer.headers.get_list("x-request-id") == [given]


@pytest.mark.parametrize("given", NOT_SANE)
async def test_any_other_is_replaced(given: str) -> None:
    async with running_server() as server, open_raw(server) as raw:
        for _ in range(2):
            await raw.send(
                b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Request-ID: "
                + given.encode()
                + b"\r\n\r\n"
            )
            status, headers, _ = await raw.answer()
            if status == 400:  # no header at all, for the library that reads it
                assert given == "\x7f"
                break
            assert GENERATED.fullmatch(headers[b"x-request-id"].decode())


async def test_each_request_of_a_connection_has_an_id_of_its_own() -> None:
    async with running_server() as server, rest(server, None) as nobody:
        ids = [(await nobody.request("GET", "/health")).headers["x-request-id"] for _ in range(5)]
    assert len(set(ids)) == 5
    assert all(GENERATED.fullmatch(each) for each in ids)


async def test_the_access_log_says_who_asked_what_and_nothing_else() -> None:
    with logged() as entries:
        async with (
            running_server(log=Log(access=True)) as server,
            rest(server, "alice") as alice,
        ):
            sent = {"receiver_id": "bob", "content": "SECRET words"}
            headers = {"X-Request-ID": "here", "Authorization": "Bearer SECRET"}
            await alice.request("POST", "/api/v1/messages?SECRET=1", json=sent, headers=headers)
            await alice.request("GET", "/no%0Asuch?token=SECRET")
    access = [entry for entry in entries if entry["logger"] == log.ACCESS]
    first, second = access
    assert first.pop("duration_ms") > 0
    del first["time"]
    assert first == {
        "level": "info",
        "logger": "imserver.access",
        "message": "answered",
        "request_id": "here",
        "user_id": "alice",
        "address": "127.0.0.1",
        "method": "POST",
        "path": "/api/v1/messages",
        "status": 200,
    }
    assert (second["path"], second["status"]) == ("/no%0Asuch", 404)
    assert "user_id" not in second
    assert "SECRET" not in json.dumps(entries)


async def test_the_end_of_a_websocket_is_in_the_access_log() -> None:
    with logged() as entries:
        async with running_server(log=Log(access=True)) as server:
            async with connect(server):
                pass
            async with login(server, "alice") as alice:
                await alice.call("send_message", {"receiver_id": "bob", "content": "SECRET"})
    ends = [entry for entry in entries if entry["logger"] == log.ACCESS]
    assert [(end["connection_id"], end.get("user_id")) for end in ends] == [(1, None), (2, "alice")]
    assert {end["message"] for end in ends} == {"websocket closed by the client"}
    assert "SECRET" not in json.dumps(entries)


async def test_it_is_off_unless_asked_for() -> None:
    with logged() as entries:
        async with running_server() as server, rest(server, None) as nobody:
            await nobody.request("GET", "/health")
            async with login(server, "alice"):
                pass
    assert [entry for entry in entries if entry["logger"] == log.ACCESS] == []


def broken(*_: Any) -> Any:
    """An operation with a defect."""
    raise ZeroDivisionError


@pytest.fixture
def defect() -> Iterator[str]:
    """An operation, by its name, that has a defect while the test runs."""
    (operation,) = (each for each in OPERATIONS if each.name == "list_groups")
    whole = operation.handle
    object.__setattr__(operation, "handle", broken)
    try:
        yield operation.name
    finally:
        object.__setattr__(operation, "handle", whole)


@pytest.mark.expects_error_log
async def test_a_defect_over_rest_is_logged_with_its_request(defect: str) -> None:
    with logged() as entries:
        async with running_server() as server, rest(server, "alice") as alice:
            headers = {"X-Request-ID": "look for me"}
            answer = await alice.request("GET", "/api/v1/groups", headers=headers)
            assert (answer.status_code, answer.headers["x-request-id"]) == (500, "look for me")
    (entry,) = (each for each in entries if each["level"] == "error")
    assert (entry["request_id"], entry["user_id"]) == ("look for me", "alice")
    assert "ZeroDivisionError" in entry["error"]


@pytest.mark.expects_error_log
async def test_a_defect_over_websocket_is_logged_with_its_connection(defect: str) -> None:
    with logged() as entries:
        async with running_server() as server, connect(server), login(server, "alice") as alice:
            frame = await alice.ask(defect)
            assert frame["data"]["code"] == "internal"
    (entry,) = (each for each in entries if each["level"] == "error")
    assert (entry["connection_id"], entry["user_id"]) == (2, "alice")
    assert "request_id" not in entry

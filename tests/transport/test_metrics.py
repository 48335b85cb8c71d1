"""`/metrics`, read as Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import trio
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from imserver import Config
from imserver.config import Limits, Metrics
from imserver.domain.errors import Code
from tests.docs.markdown import Page
from tests.support import connect, login, rest, running_server
from tests.support.clients import PATIENCE
from tests.transport.raw import BINARY, CLOSE, frame, raw_websocket

if TYPE_CHECKING:
    from pathlib import Path

    from imserver import Server


class Scrape:
    """The samples of one look."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.families = list(parse(text))
        self._samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in self.families
            for sample in family.samples
        }

    def __call__(self, name: str, **labels: str) -> float:
        """The value of a sample; 0 where it never came."""
        return self._samples.get((name, tuple(sorted(labels.items()))), 0)


async def scrape(server: Server) -> Scrape:
    """Look once."""
    async with rest(server, None) as nobody:
        answer = await nobody.request("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return Scrape(answer.text)


async def test_who_is_here() -> None:
    async with running_server() as server:
        async with connect(server), login(server, "alice"), login(server, "alice"):
            seen = await scrape(server)
            assert seen("imserver_sessions") == 3
            assert seen("imserver_online_users") == 1
        seen = await scrape(server)
        assert (seen("imserver_sessions"), seen("imserver_online_users")) == (0, 0)
        assert seen("imserver_sessions_opened_total") == 3


async def test_what_was_stored_by_type() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        send = {"receiver_id": "bob", "content": "hello", "client_msg_id": "1"}
        await alice.call("send_message", send)
        await alice.call("send_message", send)  # stored once
        await alice.call("send_message", {"receiver_id": "bob", "type": "image", "content": "x"})
        await alice.call("create_group", {"name": "ours"})
        seen = await scrape(server)
        stored = {
            kind: seen("imserver_messages_stored_total", type=kind)
            for kind in ("text", "image", "file", "system")
        }
        assert stored == {"text": 1, "image": 1, "file": 0, "system": 1}


async def test_batches_commits_and_writes_are_timed(tmp_path: Path) -> None:
    async with (
        running_server(data=str(tmp_path)) as server,
        rest(server, "alice") as alice,
    ):
        for _ in range(3):  # one after the other: each is a batch of its own
            await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": "hello"})
        seen = await scrape(server)
        assert seen("imserver_batch_writes_count") == seen("imserver_batch_writes_sum") == 3
        assert seen("imserver_batch_writes_bucket", le="1") == 3
        assert seen("imserver_commit_seconds_count") == seen("imserver_write_seconds_count") == 3
        assert 0 < seen("imserver_commit_seconds_sum") < seen("imserver_write_seconds_sum")
        for file in ("database", "wal"):
            name = "imserver.db" + ("-wal" if file == "wal" else "")
            assert seen("imserver_store_bytes", file=file) == (tmp_path / name).stat().st_size


async def test_a_database_in_memory_has_no_files() -> None:
    async with running_server() as server:
        assert "imserver_store_bytes{" not in (await scrape(server)).text


async def test_refusals_by_transport_and_code() -> None:
    async with (
        running_server() as server,
        rest(server, "alice") as alice,
        rest(server, None) as nobody,
        login(server, "alice") as socket,
        connect(server) as stranger,
    ):
        await alice.request("GET", "/api/v1/messages/msg_9")
        await alice.request("GET", "/no/such/path")
        await nobody.request("GET", "/api/v1/groups")
        for kind, data in (
            ("get_message", {"message_id": "msg_9"}),  # a question
            ("join_group", {"group_id": "group_none"}),  # a write
            ("send_message", {"receiver_id": "bob"}),  # not well formed
            ("login", {"user_id": "bob"}),  # answered at once
        ):
            await socket.ask(kind, data)
        await stranger.ask("heartbeat")
        seen = await scrape(server)
    counted = {
        (sample.labels["transport"], sample.labels["code"]): sample.value
        for family in seen.families
        if family.name == "imserver_refusals"
        for sample in family.samples
    }
    assert counted == {
        ("rest", "not_found"): 2,
        ("rest", "unauthorized"): 1,
        ("websocket", "not_found"): 2,
        ("websocket", "invalid_request"): 1,
        ("websocket", "forbidden"): 1,
        ("websocket", "not_logged_in"): 1,
    }
    assert {code for _, code in counted} <= {code.value for code in Code}
    assert seen("imserver_rest_answers_total", status="404") == 2
    assert seen("imserver_rest_answers_total", status="401") == 1
    assert seen("imserver_rest_seconds_count") == 3


async def test_who_finds_no_room_is_counted() -> None:
    async with running_server(limits=Limits(connections=1)) as server:
        async with connect(server), rest(server, None) as nobody:
            assert (await nobody.request("GET", "/health")).status_code == 503
        with trio.fail_after(PATIENCE):
            while True:  # until the WebSocket's place is free again
                async with rest(server, None) as nobody:
                    answer = await nobody.request("GET", "/metrics")
                if answer.status_code == 200:
                    break
        seen = Scrape(answer.text)
        assert seen("imserver_refusals_total", transport="connection", code="unavailable") >= 1


async def test_outboxes_that_wait_and_one_that_overflows() -> None:
    send = {"receiver_id": "bob", "content": "x" * 60_000}
    async with (
        running_server(limits=Limits(outbox_bytes=1 << 20)) as server,
        rest(server, "alice") as alice,
    ):
        async with raw_websocket(server, "bob", receive_buffer=4096) as bob:
            seen = await scrape(server)
            assert seen("imserver_outboxes_waiting") == 0
            with trio.fail_after(PATIENCE):
                while not seen("imserver_outboxes_waiting"):  # the kernel takes some first
                    await alice.post("/api/v1/messages", send)
                    seen = await scrape(server)
            assert 0 < seen("imserver_outbox_waiting_bytes") <= 1 << 20
            for _ in range(20):  # more than the outbox holds
                await alice.post("/api/v1/messages", send)
            last = await bob.frame()
            while last.opcode != CLOSE:
                last = await bob.frame()
            assert last.payload.startswith((4008).to_bytes(2, "big"))
        with trio.fail_after(PATIENCE):
            while (await alice.get("/api/v1/stats"))["connections"]:
                pass
        seen = await scrape(server)
        assert seen("imserver_outbox_overflows_total") == 1
        assert seen("imserver_sessions_ended_total", code="4008") == 1
        assert seen("imserver_outboxes_waiting") == seen("imserver_outbox_waiting_bytes") == 0


async def test_why_sessions_were_ended() -> None:
    async with running_server() as server, rest(server, None) as nobody:
        async with connect(server):
            pass  # the client's own end is nothing that the server did
        for _ in range(2):
            async with raw_websocket(server) as raw:
                await raw.send(frame(b"no text", BINARY))
                assert await raw.goodbye() == 1003
        with trio.fail_after(PATIENCE):
            while (await nobody.get("/api/v1/stats"))["connections"]:
                pass
        seen = await scrape(server)
        assert seen("imserver_sessions_ended_total", code="1003") == 2
        assert 'imserver_sessions_ended_total{code="1002"}' not in seen.text
        assert 'imserver_sessions_ended_total{code="1000"}' not in seen.text


async def test_two_servers_count_apart() -> None:
    async with running_server() as one, running_server() as other, login(one, "alice"):
        assert (await scrape(one))("imserver_sessions_opened_total") == 1
        assert (await scrape(other))("imserver_sessions_opened_total") == 0


async def test_the_process_is_told_of() -> None:
    async with running_server() as server:
        seen = await scrape(server)
        assert seen("process_resident_memory_bytes") > 0
        assert seen("process_open_fds") > 0


async def test_no_user_group_or_message_is_named() -> None:
    async with running_server() as server, login(server, "alice-the-user") as alice:
        group = await alice.call("create_group", {"name": "secret name", "members": ["bob-too"]})
        await alice.call("send_message", {"receiver_id": "bob-too", "content": "secret words"})
        text = (await scrape(server)).text
        for secret in ("alice", "bob", "secret", group["group"]["id"], "msg_"):
            assert secret not in text


async def test_the_newer_format_for_who_asks_for_it() -> None:
    accept = {"Accept": "application/openmetrics-text;version=1.0.0;q=0.9,text/plain;q=0.5"}
    async with running_server() as server, rest(server, None) as nobody:
        answer = await nobody.request("GET", "/metrics", headers=accept)
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert "imserver_sessions" in {family.name for family in parse_openmetrics(answer.text)}


async def test_it_can_be_turned_off() -> None:
    async with (
        running_server(metrics=Metrics(enabled=False)) as server,
        rest(server, None) as nobody,
    ):
        answer = await nobody.request("GET", "/metrics")
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert Config().metrics.enabled


@pytest.mark.parametrize(
    ("page", "heading"),
    [("docs/operations.md", "Metrics"), ("docs/operations.zh-CN.md", "指标")],
)
async def test_the_table_of_metrics_is_complete(page: str, heading: str) -> None:
    async with running_server() as server:
        families = (await scrape(server)).families
    told = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in families
        if family.name.startswith("imserver_")
    }
    rows = Page(page).table(heading)
    assert {row[0].strip("`").partition("{")[0] for row in rows} == told

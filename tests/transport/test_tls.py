"""TLS itself: handshakes, renewal, ends, and what is refused."""

from __future__ import annotations

import hashlib
import ssl
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

import pytest
import trio
from cryptography.hazmat.primitives import serialization

from imserver import ConfigError
from imserver.config import Limits, Timeouts, Tls
from tests.support import login, rest, running_server
from tests.support.certificates import Files, certificate_in, trusting
from tests.support.clients import PATIENCE, TRUSTED
from tests.transport.raw import Raw, open_raw, raw_websocket, request

if TYPE_CHECKING:
    from pathlib import Path

    from imserver import Server

GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A certificate for the server."""
    return certificate_in(tmp_path)


async def seen(server: Server) -> str:
    """The fingerprint of the certificate that a new connection is shown."""
    anybody = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    anybody.check_hostname = False
    anybody.verify_mode = ssl.CERT_NONE
    with trio.fail_after(PATIENCE):
        stream = await trio.open_ssl_over_tcp_stream(*server.address, ssl_context=anybody)
        async with stream:
            await stream.do_handshake()
            certificate = stream.getpeercert(binary_form=True)
    return hashlib.sha256(certificate).digest().hex(":").upper()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_large_messages_go_through_both_ways(files: Files, version: ssl.TLSVersion) -> None:
    content = "\u4e2d" * 20_000
    async with running_server(tls=files.setting) as server:
        context = TRUSTED[server.url]
        context.minimum_version = context.maximum_version = version
        async with login(server, "alice") as alice, login(server, "bob") as bob:
            for number in range(5):
                sent = {"receiver_id": "bob", "content": content + str(number)}
                await alice.call("send_message", sent)
                assert (await bob.push())["data"]["content"] == content + str(number)
        async with rest(server, "bob") as calls:
            page = await calls.get("/api/v1/messages/offline")
            assert [len(each["content"]) for each in page["messages"]] == [20_001] * 5


async def test_records_of_one_byte_each_make_a_session_too(files: Files) -> None:
    async with running_server(tls=files.setting) as server, raw_websocket(server) as raw:
        await raw.send_bytewise(request("login", {"user_id": "alice"}))
        assert (await raw.text())["data"]["success"]


async def test_many_at_once(files: Files) -> None:
    async with running_server(tls=files.setting) as server, AsyncExitStack() as stack:
        sockets = {}

        async def come(number: int) -> None:
            sockets[number] = await stack.enter_async_context(raw_websocket(server, f"u{number}"))

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(come, number)
        async with rest(server, "u0") as calls:
            body = {"name": "all", "members": [f"u{number}" for number in range(1, 50)]}
            group_id = (await calls.post("/api/v1/groups", body))["group"]["id"]
            await calls.post("/api/v1/messages", {"group_id": group_id, "content": "hello"})
        for raw in sockets.values():
            while (push := await raw.text())["data"]["content"] != "hello":
                assert push["type"] == "new_group_message"


async def test_plain_http_is_told_what_is_spoken_here(files: Files) -> None:
    async with (
        running_server(tls=files.setting) as server,
        await trio.open_tcp_stream(*server.address) as stream,
    ):
        raw = Raw(stream)
        await raw.send(GET)
        status, headers, body = await raw.answer()
        assert (status, headers[b"content-type"]) == (400, b"application/json")
        assert b"https" in body
        await raw.end()


@pytest.mark.parametrize("said", [b"", b"\x16", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"])
async def test_a_handshake_that_does_not_come_is_given_up(files: Files, said: bytes) -> None:
    async with (
        running_server(tls=files.setting, timeouts=Timeouts(request_head=0.2)) as server,
        await trio.open_tcp_stream(*server.address) as stream,
    ):
        await stream.send_all(said)
        with trio.fail_after(PATIENCE):
            assert await stream.receive_some() == b""


async def test_a_handshake_that_is_none_ends_quietly(files: Files) -> None:
    async with running_server(tls=files.setting) as server:
        async with await trio.open_tcp_stream(*server.address) as stream:
            await stream.send_all(b"\x16" + b"x" * 1000)
            with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):
                while await stream.receive_some():  # the alert
                    pass
        async with rest(server, None) as nobody:
            assert (await nobody.request("GET", "/health")).status_code == 200


async def test_whom_there_is_no_room_for_is_not_worth_a_handshake(files: Files) -> None:
    async with (
        running_server(tls=files.setting, limits=Limits(connections=1)) as server,
        raw_websocket(server, "alice") as alice,
        await trio.open_tcp_stream(*server.address) as stream,
    ):
        with trio.fail_after(PATIENCE):
            assert await stream.receive_some() == b""
        assert (await alice.ask("heartbeat"))["type"] == "heartbeat"


async def test_old_versions_are_refused(files: Files) -> None:
    async with running_server(tls=files.setting) as server:
        context = TRUSTED[server.url]
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.minimum_version = ssl.TLSVersion.TLSv1
        with pytest.warns(DeprecationWarning, match="TLSv1"):
            context.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises(trio.BrokenResourceError):
            async with open_raw(server):
                pass


async def test_a_client_that_has_said_all_still_gets_its_answer(files: Files) -> None:
    # RFC 8446 section 6.1: who says goodbye closes its own direction alone.
    async with running_server(tls=files.setting) as server:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = TRUSTED[server.url]
        tls = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
        async with await trio.open_tcp_stream(*server.address) as stream:
            while True:
                try:
                    tls.do_handshake()
                except ssl.SSLWantReadError:
                    await stream.send_all(outgoing.read())
                    incoming.write(await stream.receive_some())
                else:
                    break
            tls.write(GET)
            with pytest.raises(ssl.SSLWantReadError):
                tls.unwrap()
            await stream.send_all(outgoing.read())
            with trio.fail_after(PATIENCE):
                async for data in stream:
                    incoming.write(data)
        answer = tls.read()
        assert answer.startswith(b"HTTP/1.1 200 "), answer


async def test_a_connection_that_is_cut_off_ends_quietly(files: Files) -> None:
    async with running_server(tls=files.setting) as server:
        async with raw_websocket(server, "alice") as cut:
            await cut.tcp.send_eof()  # without the goodbye of TLS
            await cut.cut_off()
        async with raw_websocket(server, "alice") as gone:
            gone.reset()
        async with rest(server, "bob") as calls:
            with trio.fail_after(PATIENCE):
                while (await calls.get("/api/v1/stats"))["connections"]:
                    pass


# -- renewal -------------------------------------------------------------------------------------


async def test_a_renewed_certificate_is_for_new_connections(files: Files) -> None:
    async with running_server(tls=files.setting) as server, login(server, "alice") as alice:
        first = await seen(server)
        second = files.renew()
        assert await seen(server) == first
        server.reload()
        assert await seen(server) == second
        assert second != first
        await alice.call("send_message", {"receiver_id": "alice", "content": "still here"})
        TRUSTED[server.url] = trusting(files.certificate)
        async with login(server, "bob"):
            pass


@pytest.mark.expects_error_log
@pytest.mark.parametrize("damage", ["gone", "torn", "another's key"])
async def test_a_bad_new_certificate_leaves_the_old_one(
    files: Files, tmp_path: Path, damage: str
) -> None:
    async with running_server(tls=files.setting) as server:
        before = await seen(server)
        files.renew()
        if damage == "gone":
            files.key.unlink()
        elif damage == "torn":
            files.certificate.write_bytes(files.certificate.read_bytes()[:100])
        else:
            (tmp_path / "other").mkdir()
            files.key.write_bytes(certificate_in(tmp_path / "other").key.read_bytes())
        server.reload()
        assert await seen(server) == before


@pytest.mark.parametrize("damage", ["gone", "torn", "another's key", "encrypted"])
async def test_a_server_does_not_start_with_a_bad_certificate(
    files: Files, tmp_path: Path, damage: str
) -> None:
    match damage:
        case "gone":
            files.certificate.unlink()
        case "torn":
            files.key.write_bytes(files.key.read_bytes()[:100])
        case "another's key":
            (tmp_path / "other").mkdir()
            files.key.write_bytes(certificate_in(tmp_path / "other").key.read_bytes())
        case _:
            key = serialization.load_pem_private_key(files.key.read_bytes(), None)
            encrypted = key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.BestAvailableEncryption(b"secret"),
            )
            files.key.write_bytes(encrypted)
    with pytest.raises(ConfigError, match=r"^tls\.certificate: ") as refused:
        async with running_server(tls=files.setting):
            pass
    assert "\n" not in str(refused.value)


async def test_a_certificate_needs_its_key(files: Files) -> None:
    with pytest.raises(ConfigError, match=r"^tls\.key is missing"):
        async with running_server(tls=Tls(str(files.certificate))):
            pass


async def test_the_unix_socket_stays_plain(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with (
        running_server(tls=files.setting, socket=str(path)),
        await trio.open_unix_socket(path) as stream,
    ):
        raw = Raw(stream)
        await raw.send(GET)
        assert (await raw.answer())[0] == 200

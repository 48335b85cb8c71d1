"""tus 1.0: with the client that others use, and by hand where that is too polite."""

from __future__ import annotations

import base64
import io
from functools import partial
from typing import TYPE_CHECKING

import pytest
import trio

from imserver.config import Files
from tests.files.test_http import calling, on_disk
from tests.support import running_server

if TYPE_CHECKING:
    from pathlib import Path

    import httpx

TUS = {"Tus-Resumable": "1.0.0"}
PATCH = TUS | {"Content-Type": "application/offset+octet-stream"}


async def begun(client: httpx.AsyncClient, length: int, name: str = "照片.bin") -> str:
    metadata = f"filename {base64.b64encode(name.encode()).decode()}"
    headers = TUS | {"Upload-Length": str(length), "Upload-Metadata": metadata}
    answer = await client.post("/api/v1/uploads", headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["upload-expires"].endswith("GMT")
    return answer.headers["location"]


async def added(client: httpx.AsyncClient, url: str, offset: int, data: bytes) -> httpx.Response:
    return await client.patch(url, headers=PATCH | {"Upload-Offset": str(offset)}, content=data)


async def offset(client: httpx.AsyncClient, url: str) -> int | None:
    answer = await client.head(url, headers=TUS)
    return int(answer.headers["upload-offset"]) if answer.status_code == 200 else None


async def test_the_python_client(tmp_path: Path) -> None:
    tusclient = pytest.importorskip("tusclient.client")
    data = bytes(range(256)) * 2000
    async with running_server(data=str(tmp_path)) as server, calling(server, "alice") as alice:

        def upload() -> str:
            client = tusclient.TusClient(f"{server.url}/api/v1/uploads", {"X-User-ID": "alice"})
            uploader = client.uploader(
                file_stream=io.BytesIO(data), chunk_size=100_000, metadata={"filename": "a b.bin"}
            )
            uploader.upload_chunk()
            again = client.uploader(
                file_stream=io.BytesIO(data), chunk_size=100_000, url=uploader.url
            )
            assert again.get_offset() == 100_000
            again.upload()
            return again.url

        url = await trio.to_thread.run_sync(upload)
        answer = await alice.get(f"/api/v1/files/{url.rpartition('/')[2]}")
        assert answer.content == data
        assert 'filename="a b.bin"' in answer.headers["content-disposition"]
        assert len(on_disk(tmp_path)) == 1


async def test_it_goes_on_after_a_lost_connection_and_a_restart(tmp_path: Path) -> None:
    settings = {"data": str(tmp_path)}
    async with running_server(**settings) as server, calling(server, "alice") as alice:
        url = await begun(alice, 300_000)
        stream = await trio.open_tcp_stream(*server.address)
        await stream.send_all(
            f"PATCH {url} HTTP/1.1\r\nHost: localhost\r\nX-User-ID: alice\r\n"
            "Tus-Resumable: 1.0.0\r\nContent-Type: application/offset+octet-stream\r\n"
            "Upload-Offset: 0\r\nContent-Length: 300000\r\n\r\n".encode()
            + b"a" * 100_000
        )
        await trio.sleep(0.2)
        await stream.aclose()
        with trio.fail_after(20):
            while await offset(alice, url) != 100_000:  # noqa: ASYNC110 - a request
                await trio.sleep(0.02)
    async with running_server(**settings) as server, calling(server, "alice") as alice:
        assert await offset(alice, url) == 100_000
        answer = await added(alice, url, 100_000, b"b" * 200_000)
        assert (answer.status_code, answer.headers["upload-offset"]) == (204, "300000")
        file = await alice.get(f"/api/v1/files/{url.rpartition('/')[2]}")
        assert file.content == b"a" * 100_000 + b"b" * 200_000
        assert "filename*=UTF-8''%E7%85%A7%E7%89%87.bin" in file.headers["content-disposition"]
        assert await offset(alice, url) == 300_000  # a client that missed the last answer


async def test_what_is_refused(tmp_path: Path) -> None:
    limits = Files(max_megabytes=0.01)
    async with (
        running_server(data=str(tmp_path), files=limits) as server,
        calling(server, "alice") as alice,
        calling(server, "eve") as eve,
    ):
        about = await alice.options("/api/v1/uploads")
        assert about.headers["tus-extension"] == "creation,termination,expiration"
        assert about.headers["tus-max-size"] == "10000"
        large = await alice.post("/api/v1/uploads", headers=TUS | {"Upload-Length": "10001"})
        assert large.status_code == 413
        assert "files.max_megabytes" in large.json()["error"]
        assert (await alice.post("/api/v1/uploads", headers=TUS)).status_code == 400
        assert (await alice.post("/api/v1/uploads")).status_code == 412
        url = await begun(alice, 10)
        assert (await added(alice, url, 1, b"x")).status_code == 409
        assert (await added(eve, url, 0, b"x")).status_code == 404
        assert await offset(eve, url) is None
        assert (await eve.delete(url, headers=TUS)).status_code == 404
        plain = await alice.patch(url, headers=TUS | {"Upload-Offset": "0"}, content=b"x")
        assert plain.status_code == 415
        assert (await added(alice, url, 0, b"x" * 11)).status_code == 413
        strange = await alice.head("/api/v1/uploads/..%2F..%2Fetc", headers=TUS)
        assert strange.status_code == 404
        assert (await alice.delete(url, headers=TUS)).status_code == 204
        assert await offset(alice, url) is None
        assert on_disk(tmp_path) == []


async def test_two_requests_at_once(tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path)) as server, calling(server, "alice") as alice:
        url = await begun(alice, 20)
        go_on = trio.Event()

        async def slowly():
            yield b"x" * 10
            await go_on.wait()
            yield b"y" * 10

        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                partial(alice.patch, url, headers=PATCH | {"Upload-Offset": "0"}, content=slowly())
            )
            await trio.sleep(0.2)
            assert (await added(alice, url, 0, b"z")).status_code == 409
            go_on.set()
        answer = await alice.get(f"/api/v1/files/{url.rpartition('/')[2]}")
        assert answer.content == b"x" * 10 + b"y" * 10


async def test_one_that_is_not_ended_goes(tmp_path: Path) -> None:
    now = 1_700_000_000_000
    settings = {"data": str(tmp_path), "clock": lambda: now, "files": Files(unused_hours=1)}
    async with running_server(**settings) as server, calling(server, "alice") as alice:
        url = await begun(alice, 20)
        await added(alice, url, 0, b"x")
        now += 3_600_001
        await begun(alice, 0 + 5)
        assert await offset(alice, url) is None
        assert len(on_disk(tmp_path)) == 2


async def test_nothing_is_a_file_too(tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path)) as server, calling(server, "alice") as alice:
        answer = await alice.post("/api/v1/uploads", headers=TUS | {"Upload-Length": "0"})
        url = answer.headers["location"]
        assert (await alice.get(f"/api/v1/files/{url.rpartition('/')[2]}")).content == b""

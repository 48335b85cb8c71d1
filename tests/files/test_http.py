"""Files over HTTP: up, down, in ranges, for those who may, and away again."""

from __future__ import annotations

import errno
import io
import sys
from contextlib import asynccontextmanager
from hashlib import sha256
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import httpx
import pytest
import trio
from PIL import Image

from imserver.config import Files
from imserver.service.files import cabinet
from imserver.store.files.contents import Incoming
from tests.contract.api import acting
from tests.files.pictures import bomb, gps, picture
from tests.support import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from imserver import Server


@asynccontextmanager
async def calling(server: Server, user_id: str) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"X-User-ID": user_id}
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=20) as client:
        yield client


async def uploaded(client: httpx.AsyncClient, data: bytes, name: str = "a.bin") -> dict[str, Any]:
    answer = await client.post("/api/v1/files", params={"name": name}, content=data)
    assert answer.status_code == 200, answer.text
    return answer.json()["file"]


def on_disk(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "files").rglob("*") if path.is_file())


async def test_up_and_down(tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path)) as server, calling(server, "alice") as alice:
        data = bytes(range(256)) * 10_000
        file = await uploaded(alice, data, "照片 1.bin")
        digest = sha256(data).hexdigest()
        assert file == {
            "id": file["id"],
            "name": "照片 1.bin",
            "size": len(data),
            "type": "application/octet-stream",
            "sha256": digest,
        }
        answer = await alice.get(f"/api/v1/files/{file['id']}")
        assert answer.content == data
        headers = answer.headers
        assert headers["content-disposition"].startswith("attachment; filename=")
        assert "filename*=UTF-8''%E7%85%A7%E7%89%87%201.bin" in headers["content-disposition"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["content-security-policy"].startswith("sandbox;")
        assert headers["accept-ranges"] == "bytes"
        again = await uploaded(alice, data, "other.bin")
        assert again["id"] != file["id"]
        assert on_disk(tmp_path) == [digest]


async def test_ranges_and_conditions() -> None:
    async with running_server() as server, calling(server, "alice") as alice:
        file = await uploaded(alice, b"0123456789")
        url = f"/api/v1/files/{file['id']}"
        etag = (await alice.head(url)).headers["etag"]

        async def ask(**headers: str) -> tuple[int, bytes, str | None]:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            answer = await alice.get(url, headers=named)
            return answer.status_code, answer.content, answer.headers.get("content-range")

        assert await ask(range="bytes=0-1") == (206, b"01", "bytes 0-1/10")
        assert await ask(range="bytes=-3") == (206, b"789", "bytes 7-9/10")
        assert await ask(range="bytes=8-99") == (206, b"89", "bytes 8-9/10")
        assert (await ask(range="bytes=10-"))[0::2] == (416, "bytes */10")
        assert await ask(range="bytes=0-1", if_range='"old"') == (200, b"0123456789", None)
        assert await ask(range="bytes=0-1", if_range=etag) == (206, b"01", "bytes 0-1/10")
        assert (await ask(if_none_match=etag))[:2] == (304, b"")
        head = await alice.head(url)
        assert (head.status_code, head.headers["content-length"], head.content) == (200, "10", b"")


@pytest.mark.parametrize(
    ("data", "said", "kind", "inline"),
    [
        (picture("PNG"), "text/html", "image/png", True),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "image/png", "text/plain", False),
        (
            b"<?xml version='1.0'?><html xmlns='http://www.w3.org/1999/xhtml'/>",
            "image/png",
            "text/plain",
            False,
        ),
        (b"<!doctype html><script>alert(1)</script>", "image/jpeg", "text/plain", False),
        (b"%PDF-1.7\n", "image/png", "application/pdf", False),
        (picture("PNG") + b"<script>alert(1)</script>", "text/html", "image/png", True),
    ],
)
async def test_only_what_is_safe_is_shown(data: bytes, said: str, kind: str, inline: bool) -> None:
    async with running_server() as server, calling(server, "alice") as alice:
        answer = await alice.post("/api/v1/files", content=data, headers={"Content-Type": said})
        assert answer.json()["file"]["type"] == kind
        answer = await alice.get(f"/api/v1/files/{answer.json()['file']['id']}")
        assert answer.headers["content-type"] == kind
        assert answer.headers["content-disposition"].startswith(
            "inline" if inline else "attachment"
        )
        assert answer.headers["x-content-type-options"] == "nosniff"


async def test_a_picture(tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path)) as server, calling(server, "alice") as alice:
        data = picture(size=(3000, 1500), exif=gps())
        file = await uploaded(alice, data, "IMG_1.jpg")
        assert (file["width"], file["height"], file["thumbnail"]) == (1500, 3000, True)
        for kind, size in (("thumbnail", (200, 400)), ("preview", (800, 1600))):
            answer = await alice.get(f"/api/v1/files/{file['id']}/{kind}")
            assert answer.headers["content-type"] == "image/webp"
            with Image.open(io.BytesIO(answer.content)) as image:
                assert image.size == size
        original = (await alice.get(f"/api/v1/files/{file['id']}")).content
        assert sha256(original).hexdigest() == file["sha256"]
        with Image.open(io.BytesIO(original)) as image:
            assert not image.getexif().get_ifd(0x8825)
        assert (await alice.get(f"/api/v1/files/{file['id']}/other")).status_code == 404
        broken = await uploaded(alice, bomb(), "bomb.png")
        assert (broken["type"], "thumbnail" in broken) == ("image/png", False)
        assert (await alice.get(f"/api/v1/files/{broken['id']}/thumbnail")).status_code == 404


async def test_limits_name_themselves(tmp_path: Path) -> None:
    limits = Files(max_megabytes=0.01, user_megabytes=0.015, total_megabytes=0.02)
    async with (
        running_server(data=str(tmp_path), files=limits) as server,
        calling(server, "alice") as alice,
        calling(server, "bob") as bob,
        calling(server, "carol") as carol,
    ):

        async def refused(client: httpx.AsyncClient, data: Any) -> str:
            answer = await client.post("/api/v1/files", content=data)
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
            return answer.json()["error"]

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(20):
                yield bytes(1000)

        assert "files.max_megabytes" in await refused(alice, bytes(10_001))
        assert "files.max_megabytes" in await refused(alice, pieces())
        await uploaded(alice, b"a" * 10_000)
        assert "files.user_megabytes" in await refused(alice, b"b" * 6_000)
        await uploaded(bob, b"c" * 9_000)
        assert "files.total_megabytes" in await refused(carol, b"d" * 2_000)
        await uploaded(carol, b"a" * 10_000)  # it is there already
        assert len(on_disk(tmp_path)) == 2


async def change(server: Server, *statements: str) -> None:
    """Change the database from another process, as SQLite's locks want it."""
    script = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.executescript(sys.argv[2])"
    await trio.run_process([sys.executable, "-c", script, server.database, "; ".join(statements)])


async def test_who_may_read(tmp_path: Path) -> None:
    async with (
        running_server(data=str(tmp_path)) as server,
        acting(server, "rest", "alice") as sender,
        calling(server, "alice") as alice,
        calling(server, "bob") as bob,
        calling(server, "eve") as eve,
    ):
        url = f"/api/v1/files/{(await uploaded(alice, b'secret'))['id']}"
        file_id = url.rpartition("/")[2]

        async def may() -> list[int]:
            return [(await client.get(url)).status_code for client in (alice, bob, eve)]

        assert await may() == [200, 404, 404]
        message_id = await sender.send("bob", "look")
        await change(
            server,
            f"INSERT INTO attachment VALUES ({int(message_id[4:])}, 0, '{file_id}')",
            "UPDATE file SET unused_ms = NULL",
        )
        assert await may() == [200, 200, 404]
        await change(server, "DELETE FROM attachment", "UPDATE file SET unused_ms = 0")
        assert await may() == [404, 404, 404]


async def test_what_nobody_uses_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cabinet, "_SWEEP_EVERY", 0.05)
    now = 1_700_000_000_000
    settings = {"data": str(tmp_path), "clock": lambda: now, "files": Files(unused_hours=1)}
    async with running_server(**settings) as server, calling(server, "alice") as alice:
        file = await uploaded(alice, picture(), "x.jpg")
        assert len(on_disk(tmp_path)) == 3
        now += 3_600_001
        with trio.fail_after(20):
            while on_disk(tmp_path):  # noqa: ASYNC110 - the disk tells nobody
                await trio.sleep(0.05)
        assert (await alice.get(f"/api/v1/files/{file['id']}")).status_code == 404


async def test_what_a_killed_server_left_is_cleared(tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path)):
        pass
    stray = tmp_path / "files" / "ab" / ("ab" + "0" * 62)
    stray.parent.mkdir()
    stray.write_bytes(b"x")
    (tmp_path / "files" / "incoming" / "half").write_bytes(b"x")
    async with running_server(data=str(tmp_path)):
        with trio.fail_after(20):
            while on_disk(tmp_path):  # noqa: ASYNC110 - the disk tells nobody
                await trio.sleep(0.05)


@pytest.mark.expects_error_log
async def test_a_full_disk_leaves_nothing_half(tmp_path: Path) -> None:
    def full(self: Incoming, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with running_server(data=str(tmp_path)) as server, calling(server, "alice") as alice:
        with patch.object(Incoming, "write", full):
            answer = await alice.post("/api/v1/files", content=b"x" * 100)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert on_disk(tmp_path) == []
        assert (await uploaded(alice, b"x"))["size"] == 1


async def test_a_broken_upload_leaves_nothing(tmp_path: Path) -> None:
    async with running_server(data=str(tmp_path)) as server:
        stream = await trio.open_tcp_stream(*server.address)
        await stream.send_all(
            b"POST /api/v1/files HTTP/1.1\r\nHost: localhost\r\nX-User-ID: alice\r\n"
            b"Content-Length: 1000000\r\n\r\n" + bytes(200_000)
        )
        with trio.fail_after(20):
            while not on_disk(tmp_path):  # noqa: ASYNC110 - the disk tells nobody
                await trio.sleep(0.01)
            await stream.aclose()
            while on_disk(tmp_path):  # noqa: ASYNC110 - the disk tells nobody
                await trio.sleep(0.01)

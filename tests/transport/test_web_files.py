"""The web client's files: kept for good or asked for anew, compressed, never HTML by mistake."""

from __future__ import annotations

import gzip
import re

import httpx
import pytest

from imserver.config import Config, ConfigError, Web
from tests.support.servers import running_server


async def test_the_page_its_files_and_what_is_missing() -> None:
    async with running_server() as server, httpx.AsyncClient(base_url=server.url) as http:
        page = await http.get("/")
        assert page.status_code == 200
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-cache"
        policy = page.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert "require-trusted-types-for 'script'" in policy
        assert (await http.get("/c/g/group_x")).content == page.content
        (script,) = re.findall(r'src="(/app/[0-9a-f]{16}/view/main\.js)"', page.text)
        answer = await http.get(script)
        assert answer.headers["cache-control"].endswith("immutable")
        assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
        assert (await http.get(script + ".nothing")).json()["code"] == "not_found"
        assert (await http.get("/app/0000000000000000/view/main.js")).status_code == 404
        assert (await http.get("/health")).headers["cache-control"] == "no-store"


async def test_compressed_where_the_browser_takes_it_and_not_sent_twice() -> None:
    async with running_server() as server, httpx.AsyncClient(base_url=server.url) as http:
        plain = await http.get("/", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers
        assert plain.headers["vary"] == "Accept-Encoding"
        async with http.stream("GET", "/", headers={"Accept-Encoding": "br, gzip"}) as answer:
            raw = b"".join([piece async for piece in answer.aiter_raw()])
        assert gzip.decompress(raw) == plain.content
        again = await http.get("/", headers={"If-None-Match": plain.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = await http.head("/")
        assert (head.status_code, head.content) == (200, b"")


async def test_title_and_path_of_a_proxy_are_the_page_s_own() -> None:
    web = Web(title='Us & "them"', base_path="/chat")
    async with running_server(web=web) as server, httpx.AsyncClient(base_url=server.url) as http:
        page = (await http.get("/")).text
        assert "<title>Us &amp; &quot;them&quot;</title>" in page
        assert 'src="/chat/app/' in page
        manifest = (await http.get("/manifest.webmanifest")).json()
        assert (manifest["name"], manifest["scope"]) == ('Us & "them"', "/chat/")
        worker = (await http.get("/worker.js")).text
        assert "const BASE = '/chat';" in worker
        assert "{{" not in page + worker


async def test_it_can_be_turned_off() -> None:
    off = Web(enabled=False)
    async with running_server(web=off) as server, httpx.AsyncClient(base_url=server.url) as http:
        for path in ("/", "/c/u/bob", "/worker.js"):
            assert (await http.get(path)).json()["code"] == "not_found"


@pytest.mark.parametrize("path", ["chat", "/chat/", "/a'b", "/a b", "//"])
def test_a_base_path_that_is_none(path: str) -> None:
    with pytest.raises(ConfigError, match=r"web\.base_path"):
        Config(web=Web(base_path=path)).check()

"""Names, dispositions, types, ranges and contents: the parts that files are made of."""

from __future__ import annotations

import io
import os
import zipfile
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from imserver.domain.media import ANY_TYPE, INLINE, clean_name, disposition
from imserver.domain.ranges import choose
from imserver.store.files.contents import Contents, mirror, thin_out
from imserver.store.files.sniffing import sniff
from tests.files.pictures import picture

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "clean"),
    [
        ("照片.jpg", "照片.jpg"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\x.exe", "x.exe"),
        ("..", "file"),
        ("", "file"),
        ("a\0b.txt", "ab.txt"),
        ("evil\u202egpj.exe", "evilgpj.exe"),
        ("a\r\nSet-Cookie: x", "a Set-Cookie_ x"),
        ("x" * 300 + ".png", "x" * 196 + ".png"),
        ("字" * 300 + ".png", "字" * 83 + ".png"),
        (".htaccess", "htaccess"),
        ("con.txt", "_con.txt"),
        ("a\ud800b", "ab"),
    ],
)
def test_names(name: str, clean: str) -> None:
    assert clean_name(name) == clean
    assert clean_name(clean) == clean


def test_dispositions() -> None:
    assert disposition('a"b%.txt', inline=False) == (
        "attachment; filename=\"a_b_.txt\"; filename*=UTF-8''a%22b%25.txt"
    )
    assert disposition("照片.jpg", inline=True) == (
        "inline; filename=\"__.jpg\"; filename*=UTF-8''%E7%85%A7%E7%89%87.jpg"
    )


def zipped() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("x", "y")
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (picture("JPEG"), "image/jpeg"),
        (picture("PNG"), "image/png"),
        (picture("GIF"), "image/gif"),
        (picture("WEBP"), "image/webp"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "image/heic"),
        (b"\0\0\0\x18ftypmif1" + bytes(20), "image/heic"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "video/mp4"),
        (b"%PDF-1.7\n", "application/pdf"),
        (zipped(), "application/zip"),
        (b"hello", "text/plain"),
        ("你好".encode(), "text/plain"),
        (b"\xff\xfe\0\0", ANY_TYPE),
        (b"", ANY_TYPE),
    ],
)
def test_types(data: bytes, kind: str) -> None:
    assert sniff(data) == kind


@pytest.mark.parametrize(
    "data",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"<!DOCTYPE html><html></html>",
        b"  \n<html xmlns='http://www.w3.org/1999/xhtml'>",
        b"From: x\r\nContent-Type: multipart/related\r\n\r\n<html>",
        b"<script>alert(1)</script>",
    ],
)
def test_nothing_that_runs_is_shown(data: bytes) -> None:
    assert sniff(data) not in INLINE


ETAG = '"x"'


@pytest.mark.parametrize(
    ("asked", "status", "start", "end"),
    [
        (None, 200, 0, 100),
        ("bytes=0-1", 206, 0, 2),
        ("bytes=0-", 206, 0, 100),
        ("bytes=99-", 206, 99, 100),
        ("bytes=10-1000", 206, 10, 100),
        ("bytes=-5", 206, 95, 100),
        ("bytes=-500", 206, 0, 100),
        ("bytes=-0", 416, 0, 0),
        ("bytes=100-", 416, 0, 0),
        ("bytes=5-4", 200, 0, 100),
        ("bytes=0-1,5-6", 200, 0, 100),
        ("bytes=-", 200, 0, 100),
        ("lines=1-2", 200, 0, 100),
        ("bytes=" + "9" * 50 + "-", 200, 0, 100),
    ],
)
def test_ranges(asked: str | None, status: int, start: int, end: int) -> None:
    assert choose(100, ETAG, range_=asked) == (status, start, end)


def test_conditions() -> None:
    assert choose(100, ETAG, range_="bytes=1-2", if_range='"y"').status == 200
    assert choose(100, ETAG, range_="bytes=1-2", if_range=ETAG).status == 206
    assert choose(100, ETAG, if_none_match='"y", W/"x"').status == 304
    assert choose(100, ETAG, if_none_match="*").status == 304
    assert choose(100, ETAG, if_none_match='"y"').status == 200
    assert choose(0, ETAG).length == 0
    assert choose(0, ETAG, range_="bytes=0-").status == 416


def stored(contents: Contents, data: bytes) -> str:
    incoming = contents.begin()
    incoming.write(data)
    written = incoming.finish()
    contents.keep(incoming, written.digest)
    return written.digest


def test_contents_are_stored_once_and_for_one_account(tmp_path: Path) -> None:
    contents = Contents(tmp_path / "files")
    contents.prepare()
    digest = stored(contents, b"hello")
    assert stored(contents, b"hello") == digest == sha256(b"hello").hexdigest()
    assert list(contents.digests()) == [digest]
    assert contents.path(digest).stat().st_mode & 0o777 == 0o600
    assert contents.path(digest).parent.stat().st_mode & 0o777 == 0o700
    assert not list((tmp_path / "files" / "incoming").iterdir())
    assert contents.is_sound(digest)
    contents.path(digest).write_bytes(b"hellO")
    assert not contents.is_sound(digest)
    contents.delete(digest)
    assert list(contents.digests()) == []


def test_what_was_cut_short_is_gone_after_a_start(tmp_path: Path) -> None:
    contents = Contents(tmp_path / "files")
    contents.prepare()
    incoming = contents.begin()
    incoming.write(b"half")
    contents.prepare()
    incoming.drop()
    assert not list((tmp_path / "files" / "incoming").iterdir())


def test_a_mirror_copies_what_is_new_and_sound(tmp_path: Path) -> None:
    source, target = Contents(tmp_path / "one"), Contents(tmp_path / "two")
    source.prepare()
    first, damaged = stored(source, b"first"), stored(source, b"second")
    source.path(damaged).write_bytes(b"other")
    assert mirror(source, target) == 1
    assert list(target.digests()) == [first]
    assert mirror(source, target) == 0
    assert source.is_sound(first)
    source.delete(first)
    os.utime(target.path(first), (1000, 1000))
    last = stored(source, b"third")
    mirror(source, target)
    thin_out(target, 2000)
    assert list(target.digests()) == [last]
    source.path(first).touch()
    (tmp_path / "one" / first[:2] / "stranger").touch()
    assert [path.name for path in source.foreign()] == ["stranger"]

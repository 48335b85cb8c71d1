"""Pictures: upright, small, without metadata; originals without a place; bombs that do nothing."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from imserver.pictures.location import strip_location
from imserver.pictures.studio import Looked, Studio
from imserver.store.files.sniffing import sniff
from tests.files.pictures import bomb, gps, picture

if TYPE_CHECKING:
    from pathlib import Path


async def looked_at(folder: Path, data: bytes, *, strip: bool = True) -> Looked:
    source = folder / "source"
    source.write_bytes(data)
    thumbnail, preview = folder / "thumbnail", folder / "preview"
    return await Studio().look_at(source, sniff(data), thumbnail, preview, strip_location=strip)


def place_of(data: bytes) -> dict[int, object]:
    with Image.open(io.BytesIO(data)) as image:
        return dict(image.getexif().get_ifd(0x8825))


async def test_it_is_turned_once_and_told_nothing_of(tmp_path: Path) -> None:
    found = await looked_at(tmp_path, picture(size=(3000, 1500), exif=gps()))
    assert (found.width, found.height, found.stripped) == (1500, 3000, True)
    for name, size in (("thumbnail", (200, 400)), ("preview", (800, 1600))):
        data = (tmp_path / name).read_bytes()
        assert b"CameraMaker" not in data
        with Image.open(io.BytesIO(data)) as image:
            assert image.size == size
            assert not image.getexif()
            right = image.convert("RGB").getpixel((size[0] - 9, 9))
            left = image.convert("RGB").getpixel((9, 9))
            assert right[0] > 200 > left[0]  # the red corner is at the upper right now


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_the_original_keeps_all_but_the_place(tmp_path: Path, kind: str) -> None:
    data = picture(kind, exif=gps())
    assert place_of(data)
    found = await looked_at(tmp_path, data)
    left = (tmp_path / "source").read_bytes()
    assert found.stripped
    assert len(left) == len(data)
    assert not place_of(left)
    with Image.open(io.BytesIO(left)) as after, Image.open(io.BytesIO(data)) as before:
        assert after.getexif()[0x010F] == "CameraMaker"
        assert after.getexif()[0x0112] == 6
        assert after.tobytes() == before.tobytes()


async def test_heic(tmp_path: Path) -> None:
    pi_heif = pytest.importorskip("pillow_heif", reason="nothing here writes HEIC")
    pi_heif.register_heif_opener()
    data = picture("HEIF", exif=gps())
    found = await looked_at(tmp_path, data)
    assert found.shown
    assert found.stripped


def test_a_place_in_heic_and_in_xmp_is_found_by_its_form() -> None:
    exif = gps().tobytes()
    xmp = (
        b'<x:xmpmeta exif:GPSLatitude="48,51.5N" other="1">'
        b"<exif:GPSLongitude>2,17.6E</exif:GPSLongitude>"
    )
    data = bytearray(b"\0\0\0\x18ftypheic" + bytes(100) + exif + bytes(50) + xmp)
    size = len(data)
    assert strip_location(data)
    assert len(data) == size
    assert b"2024:01:02" not in data
    assert b"48,51.5N" not in data
    assert b"2,17.6E" not in data
    assert b'other="1"' in data
    assert not strip_location(data)


async def test_the_place_stays_where_that_is_set(tmp_path: Path) -> None:
    data = picture(exif=gps())
    assert not (await looked_at(tmp_path, data, strip=False)).stripped
    assert (tmp_path / "source").read_bytes() == data


async def test_what_cannot_be_shown_leaves_nothing_behind(tmp_path: Path) -> None:
    for data in (bomb(), picture()[:400], b"\x89PNG\r\n\x1a\n" + bytes(100)):
        assert len(data) < 200_000
        found = await looked_at(tmp_path, data)
        assert not found.shown
        assert not (tmp_path / "thumbnail").exists()
        assert not (tmp_path / "preview").exists()


@pytest.mark.parametrize("junk", range(40))
def test_broken_metadata_harms_nothing(junk: int) -> None:
    data = bytearray(picture("JPEG", exif=gps()))
    for place in range(12, 200):
        data[place] = (
            (data[place] * 31 + junk * place) & 255 if place % (junk + 2) == 0 else data[place]
        )
    strip_location(data)

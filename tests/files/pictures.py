"""Pictures as cameras and attackers make them."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

PLACE = (48.8583, 2.2945)


def gps() -> Image.Exif:
    """Metadata with a place, a camera and a quarter turn."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned clockwise by a quarter
    exif[0x010F] = "CameraMaker"
    exif.get_ifd(0x8825).update(
        {1: "N", 2: (48.0, 51.0, 29.88), 3: "E", 4: (2.0, 17.0, 40.2), 29: "2024:01:02"}
    )
    return exif


def picture(kind: str = "JPEG", size: tuple[int, int] = (600, 300), **more: object) -> bytes:
    """A picture whose upper left half is red."""
    image = Image.new("RGB", size, "blue")
    image.paste("red", (0, 0, size[0] // 2, size[1] // 2))
    out = io.BytesIO()
    image.save(out, kind, **more)
    return out.getvalue()


def bomb(side: int = 30_000) -> bytes:
    """A small PNG that unfolds to `side` x `side` pixels."""
    rows = zlib.compressobj(9)
    line = bytes(1 + side // 8)
    packed = b"".join(rows.compress(line) for _ in range(side)) + rows.flush()

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    )

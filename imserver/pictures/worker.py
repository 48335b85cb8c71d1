"""Looks at one picture, in a process that may do little: a job on stdin, JSON on stdout.

Whatever goes wrong in here,
a decoder that crashes or a picture that unfolds without end, ends this process and nothing else.
"""

from __future__ import annotations

import json
import resource
import sys
from pathlib import Path
from typing import Any

from imserver.pictures.location import strip_location

MEMORY = 1024 * 1024 * 1024  # bytes of address space
CPU_SECONDS = 15
MOST_PIXELS = 40_000_000
SIZES = {"thumbnail": 400, "preview": 1600}  # pixels of the longer side
QUALITY = 82
MOST_STRIPPED = 128 * 1024 * 1024  # bytes of a file whose place is looked for


def limit() -> None:
    """Give up what a picture does not need."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def look_at(job: dict[str, Any]) -> dict[str, Any]:
    """Do a job."""
    stripped = job["strip_location"] and strip(Path(job["source"]))
    answer: dict[str, Any] = {"stripped": stripped}
    try:
        answer |= show(job)
    except Exception as error:
        answer["error"] = type(error).__name__
    return answer


def strip(source: Path) -> bool:
    """Take the place out of a file; says whether there was one."""
    if source.stat().st_size > MOST_STRIPPED:
        return False
    data = bytearray(source.read_bytes())
    if not strip_location(data):
        return False
    with source.open("r+b") as file:
        file.write(data)
    return True


def show(job: dict[str, Any]) -> dict[str, Any]:
    """Make the smaller pictures; says how large the picture is, upright."""
    from PIL import Image, ImageOps

    try:
        from pi_heif import register_heif_opener

        register_heif_opener()
    except ImportError:
        pass
    Image.MAX_IMAGE_PIXELS = None  # it would only warn; we look ourselves
    with Image.open(job["source"], formats=job["formats"]) as opened:
        width, height = opened.size
        if width * height > MOST_PIXELS:
            raise ValueError("too many pixels")
        turned = opened.getexif().get(0x0112, 1) in (5, 6, 7, 8)
        opened.draft("RGB", (2 * SIZES["preview"], 2 * SIZES["preview"]))
        picture = ImageOps.exif_transpose(opened)
        opaque = (
            picture.mode not in ("RGBA", "LA", "PA", "P") and "transparency" not in picture.info
        )
        picture = picture.convert("RGB" if opaque else "RGBA")
        for kind in ("preview", "thumbnail"):
            picture.thumbnail((SIZES[kind], SIZES[kind]), Image.Resampling.LANCZOS)
            clean = Image.frombytes(picture.mode, picture.size, picture.tobytes())
            clean.save(job[kind], "WEBP", quality=QUALITY, method=2)
    if turned:
        width, height = height, width
    return {"width": width, "height": height}


if __name__ == "__main__":
    limit()
    try:
        print(json.dumps(look_at(json.load(sys.stdin))))
    except Exception as error:
        print(json.dumps({"error": type(error).__name__}))

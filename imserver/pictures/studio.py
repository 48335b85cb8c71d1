"""Has pictures looked at by `worker`, a process for each, few at a time."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import trio

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)

AT_ONCE: Final = 2
_SECONDS: Final = 30.0  # for one picture, waiting for the processor included
_WORKER: Final = "imserver.pictures.worker"
# Only the decoder of the type that was told by the bytes is tried.
_FORMATS: Final = {
    "image/jpeg": ["JPEG", "MPO"],
    "image/png": ["PNG"],
    "image/gif": ["GIF"],
    "image/webp": ["WEBP"],
    "image/bmp": ["BMP"],
    "image/avif": ["AVIF"],
    "image/heic": ["HEIF"],
}
TYPES: Final = frozenset(_FORMATS)
MADE_TYPE: Final = "image/webp"  # of what is made


class Looked(NamedTuple):
    """What was found of a picture; without `width` and `height` it cannot be shown."""

    width: int | None = None  # in pixels, upright
    height: int | None = None
    stripped: bool = False  # the file was changed: the place is gone from it

    @property
    def shown(self) -> bool:
        """Whether there are smaller pictures now."""
        return self.width is not None


class Studio:
    """Owner of the processes."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(AT_ONCE)

    async def look_at(
        self, source: Path, kind: str, thumbnail: Path, preview: Path, *, strip_location: bool
    ) -> Looked:
        """Make the smaller pictures of a file of a type; of one that cannot be shown, none."""
        job = {
            "source": str(source),
            "formats": _FORMATS[kind],
            "thumbnail": str(thumbnail),
            "preview": str(preview),
            "strip_location": strip_location,
        }
        answer = b""
        async with self._limiter:
            with trio.move_on_after(_SECONDS):
                done = await trio.run_process(
                    [sys.executable, "-m", _WORKER],
                    stdin=json.dumps(job).encode(),
                    capture_stdout=True,
                    stderr=subprocess.DEVNULL,
                    check=False,
                )
                answer = done.stdout if done.returncode == 0 else b""
        found: dict[str, Any] = json.loads(answer) if answer else {"error": "ended"}
        if "error" in found:
            logger.info("a picture cannot be shown: %s", found["error"])
            for path in (thumbnail, preview):
                await trio.Path(path).unlink(missing_ok=True)
        return Looked(found.get("width"), found.get("height"), found.get("stripped", False))

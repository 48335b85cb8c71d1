"""Opening the folder of files."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import trio

from imserver.domain.errors import ApiError
from imserver.service.files.cabinet import Cabinet
from imserver.service.files.resumable import Uploads
from imserver.store.database import StoreError
from imserver.store.files.contents import Contents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from imserver.service.engine import Engine
    from imserver.store.files.uploaded import FileLimits


class FileService:
    """What takes files in, keeps them and clears them away."""

    def __init__(self, cabinet: Cabinet, uploads: Uploads) -> None:
        self.cabinet = cabinet
        self.uploads = uploads

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take up the uploads under way, then clear away what is not used, until cancelled."""
        with suppress(ApiError):  # it is in the log; clients begin again
            await self.uploads.load()
        task_status.started()
        await self.cabinet.run(self.uploads.expire)


@contextmanager
def open_files(
    engine: Engine,
    folder: Path | None,
    limits: FileLimits,
    *,
    unused_hours: float,
    strip_location: bool,
) -> Iterator[FileService]:
    """Keep files in a folder while the context lasts; None: in one that goes with it.

    Raises:
        StoreError: the folder cannot be used.
    """
    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="imserver-")))
        contents = Contents(folder)
        try:
            contents.prepare()
        except OSError as error:
            raise StoreError(f"cannot use the folder {folder}: {error.strerror}") from error
        unused_ms = round(unused_hours * 3_600_000)
        cabinet = Cabinet(
            engine, contents, limits, unused_ms=unused_ms, strip_location=strip_location
        )
        yield FileService(cabinet, Uploads(engine, cabinet))

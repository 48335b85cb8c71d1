"""Whether the contents of files are on the disk, and what they say they are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from imserver.store.files.contents import FOLDER, Contents

if TYPE_CHECKING:
    from collections.abc import Iterator

    import apsw

_FILES: Final = "SELECT digest, size, min(file_id) FROM file GROUP BY digest"
_STILL: Final = "SELECT 1 FROM file WHERE digest = ? LIMIT 1"


def damaged_contents(db: apsw.Connection) -> Iterator[tuple[str, str]]:
    """Files whose content is missing or another one, with what is wrong; and what is not ours.

    Of a database that has no folder of files beside it, such as a backup, nothing is said.
    """
    contents = Contents(Path(db.filename).with_name(FOLDER))
    if not contents.folder.is_dir():
        return
    rows: list[Any] = db.execute(_FILES).fetchall()
    for digest, size, file_id in rows:
        wrong = _wrong(contents, digest, size)
        # A server may have deleted it meanwhile: the row first, then the content.
        if wrong and db.execute(_STILL, (digest,)).fetchone() is not None:
            yield f"the content of {file_id}", wrong
    for path in contents.foreign():
        yield str(path.relative_to(contents.folder.parent)), "is not ours"


def _wrong(contents: Contents, digest: str, size: int) -> str:
    try:
        if contents.path(digest).stat().st_size != size:
            return "has another size"
        return "" if contents.is_sound(digest) else "is damaged"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"

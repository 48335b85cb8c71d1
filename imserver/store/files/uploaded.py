"""What the database knows of files: whose they are, and which messages carry them.

Laws:

- A file is an upload of one user; many may have the same content, which is on the disk once.
- `unused_ms` says since when no message carries a file; it is NULL while one does, and 0 if one
  did: then the file is nobody's any more, and goes with the next sweep.
- Permission is by lookup: the uploader, and whoever may see a message that carries it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from imserver.domain.errors import ApiError, Code
from imserver.domain.media import FileView
from imserver.domain.requested import MOST_ATTACHMENTS
from imserver.store import reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import apsw

    from imserver.store.transaction import Transaction

GONE: Final = 0  # `unused_ms` of a file that was carried and is not any more

_COLUMNS: Final = "f.file_id, f.digest, f.name, f.size, f.type, f.width, f.height, f.shown"
_ADD: Final = """
    INSERT INTO file (file_id, uid, digest, name, size, type, width, height, shown,
                      created_ms, unused_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?10)
"""
_OF_USER: Final = (
    "SELECT ifnull(sum(size), 0) FROM file WHERE uid = (SELECT uid FROM user WHERE user_id = ?)"
)
_IN_ALL: Final = """
    SELECT ifnull(sum(size), 0) FROM (SELECT max(size) AS size FROM file GROUP BY digest)
"""
_READABLE: Final = f"""
    SELECT {_COLUMNS} FROM file f
    WHERE f.file_id = ?1 AND f.unused_ms IS NOT 0
      AND (f.uid = ?2
           OR EXISTS (SELECT 1 FROM attachment a
                      JOIN message m ON m.seq = a.seq
                      JOIN membership i ON i.cid = m.cid AND i.uid = ?2
                      WHERE a.file_id = f.file_id AND i.from_seq <= m.seq
                        AND (i.to_seq IS NULL OR i.to_seq >= m.seq)))
"""
_OWN: Final = f"""
    SELECT {_COLUMNS} FROM file f JOIN user u ON u.uid = f.uid
    WHERE f.file_id = ? AND u.user_id = ? AND f.unused_ms IS NOT 0
"""
_MINE: Final = (
    f"SELECT {_COLUMNS} FROM file f WHERE f.file_id = ? AND f.uid = ? AND f.unused_ms IS NOT 0"
)
_ATTACH: Final = "INSERT INTO attachment (seq, ordinal, file_id) VALUES (?, ?, ?)"
_USE: Final = "UPDATE file SET unused_ms = NULL WHERE file_id = ?"
_OF_MESSAGE: Final = f"""
    SELECT {_COLUMNS} FROM attachment a JOIN file f ON f.file_id = a.file_id
    WHERE a.seq = ? ORDER BY a.ordinal
"""
_OF_MESSAGES: Final = f"""
    SELECT a.seq, {_COLUMNS} FROM json_each(?) j JOIN attachment a ON a.seq = j.value
    JOIN file f ON f.file_id = a.file_id
    ORDER BY a.seq, a.ordinal
"""
_DETACH: Final = "DELETE FROM attachment WHERE seq = ? RETURNING file_id"
_LET_GO: Final = """
    UPDATE file SET unused_ms = 0
    WHERE file_id = ?1 AND NOT EXISTS (SELECT 1 FROM attachment WHERE file_id = ?1)
"""
_UNUSED: Final = """
    SELECT file_id, digest FROM file WHERE unused_ms IS NOT NULL AND unused_ms < ?
    ORDER BY unused_ms LIMIT ?
"""
_DROP: Final = "DELETE FROM file WHERE file_id = ?"
_HAS_CONTENT: Final = "SELECT 1 FROM file WHERE digest = ? LIMIT 1"
_DIGESTS: Final = "SELECT DISTINCT digest FROM file"


class StoredFile(NamedTuple):
    """A file, as whoever may read it is told."""

    file_id: str
    digest: str
    name: str
    size: int  # bytes
    type: str
    width: int | None = None  # of a picture, upright, in pixels
    height: int | None = None
    shown: int = 0  # there are a thumbnail and a preview

    @property
    def view(self) -> FileView:
        """The file as clients see it."""
        return FileView(
            id=self.file_id,
            name=self.name,
            size=self.size,
            type=self.type,
            sha256=self.digest,
            width=self.width,
            height=self.height,
            thumbnail=bool(self.shown),
        )


class FileLimits(NamedTuple):
    """How much may be kept, in bytes; 0: any amount."""

    file: int
    user: int
    total: int


def refuse_larger(size: int, limit: int, name: str) -> None:
    """Refuse what exceeds a limit.

    Raises:
        ApiError: `too_large`, naming the setting.
    """
    if limit and size > limit:
        raise ApiError(Code.TOO_LARGE, f"The limit files.{name} is {limit / 1e6:g}")


def add(tx: Transaction, user_id: str, file: StoredFile, limits: FileLimits) -> StoredFile:
    """Note a new file of a user.

    Raises:
        ApiError: `too_large`, naming the limit.
    """
    uid = tx.addressee(user_id)
    used = used_by(tx.db, user_id) + file.size
    refuse_larger(used, limits.user, "user_megabytes")
    if limits.total and not has_content(tx.db, file.digest):
        (total,) = reading.one(tx.db, _IN_ALL)
        refuse_larger(total + file.size, limits.total, "total_megabytes")
    tx.db.execute(
        _ADD,
        (
            file.file_id,
            uid,
            file.digest,
            file.name,
            file.size,
            file.type,
            file.width,
            file.height,
            file.shown,
            tx.now_ms,
        ),
    )
    return file


def used_by(db: apsw.Connection, user_id: str) -> int:
    """Bytes of a user's files."""
    used: int = reading.one(db, _OF_USER, user_id)[0]
    return used


def find_readable(db: apsw.Connection, user_id: str, file_id: str) -> StoredFile | None:
    """A file that a user may read."""
    uid = reading.find_uid(db, user_id)
    row = None if uid is None else reading.one(db, _READABLE, file_id, uid)
    return None if row is None else StoredFile(*row)


def find_own(db: apsw.Connection, user_id: str, file_id: str) -> StoredFile | None:
    """A file that a user has uploaded."""
    row = reading.one(db, _OWN, file_id, user_id)
    return None if row is None else StoredFile(*row)


def own_files(db: apsw.Connection, uid: int | None, file_ids: Sequence[str]) -> list[StoredFile]:
    """The files of a user that a message is to carry.

    Raises:
        ApiError: `not_found` for what is not theirs, `invalid_request` for too many, or one twice.
    """
    if len(file_ids) > MOST_ATTACHMENTS or len(set(file_ids)) < len(file_ids):
        text = f"attachments must be at most {MOST_ATTACHMENTS} different files"
        raise ApiError(Code.INVALID_REQUEST, text)
    found = []
    for file_id in file_ids:
        row = None if uid is None else reading.one(db, _MINE, file_id, uid)
        if row is None:
            raise ApiError(Code.NOT_FOUND, "You have no such file")
        found.append(StoredFile(*row))
    return found


def attach(db: apsw.Connection, seq: int, file_ids: Iterable[str]) -> None:
    """Let a message carry files, which were checked."""
    for ordinal, file_id in enumerate(file_ids):
        db.execute(_ATTACH, (seq, ordinal, file_id))
        db.execute(_USE, (file_id,))


def attachments(db: apsw.Connection, seq: int) -> list[StoredFile]:
    """What a message carries, in the order in which its sender named it."""
    return [StoredFile(*row) for row in reading.every(db, _OF_MESSAGE, (seq,))]


def of_messages(db: apsw.Connection, seqs: str) -> dict[int, list[FileView]]:
    """What messages carry; `seqs` is a JSON list of their places."""
    found: dict[int, list[FileView]] = {}
    for seq, *file in db.execute(_OF_MESSAGES, (seqs,)):
        found.setdefault(seq, []).append(StoredFile(*file).view)
    return found


def detach(db: apsw.Connection, seqs: Iterable[int]) -> None:
    """Messages carry nothing any more: recalled or removed. Files that none carries are gone."""
    for seq in seqs:
        for (file_id,) in db.execute(_DETACH, (seq,)).fetchall():
            db.execute(_LET_GO, (file_id,))


class Swept(NamedTuple):
    """What was dropped."""

    digests: list[str]  # of the contents that no file has any more
    more: bool  # whether there may be more to drop


def sweep(tx: Transaction, unused_before_ms: int, most: int) -> Swept:
    """Drop a piece of what has been unused for too long."""
    gone = reading.every(tx.db, _UNUSED, (max(1, unused_before_ms), most))
    for file_id, _ in gone:
        tx.db.execute(_DROP, (file_id,))
    return Swept(strays(tx.db, {digest for _, digest in gone}), len(gone) == most)


def strays(db: apsw.Connection, digests: Iterable[str]) -> list[str]:
    """Those of some contents that no file has."""
    return [digest for digest in digests if not has_content(db, digest)]


def has_content(db: apsw.Connection, digest: str) -> bool:
    """Whether some file has a content."""
    return reading.one(db, _HAS_CONTENT, digest) is not None


def digests(db: apsw.Connection) -> set[str]:
    """The contents of all files."""
    rows: list[Any] = reading.every(db, _DIGESTS, ())
    return {digest for (digest,) in rows}

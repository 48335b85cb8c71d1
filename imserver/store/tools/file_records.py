"""The lines of an export about files. Contents are copied apart: see `contents.mirror`."""

from __future__ import annotations

from typing import Any

from imserver.store.lines import Record, Target


class File(Record, tag="file", frozen=True, kw_only=True):
    """An upload of a user."""

    COLUMNS = (
        "file.file_id", "file.uid", "file.digest", "file.name", "file.size", "file.type",
        "file.width", "file.height", "file.shown", "file.created_ms", "file.unused_ms",
    )  # fmt: skip
    FROM = "file"
    SELECT = """
        SELECT f.file_id, u.user_id, f.digest, f.name, f.size, f.type, f.width, f.height, f.shown,
               f.created_ms, f.unused_ms
        FROM file f JOIN user u ON u.uid = f.uid ORDER BY f.file_id
    """

    file_id: str
    user: str
    digest: str
    name: str
    size: int
    type: str
    width: int | None = None
    height: int | None = None
    shown: bool = False
    created_ms: int
    unused_ms: int | None = None

    @classmethod
    def of(cls, *row: Any) -> File:
        """See `Record`."""
        file_id, user, digest, name, size, kind, width, height, shown, created, unused = row
        return cls(
            file_id=file_id,
            user=user,
            digest=digest,
            name=name,
            size=size,
            type=kind,
            width=width,
            height=height,
            shown=bool(shown),
            created_ms=created,
            unused_ms=unused,
        )

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put(
            "file (file_id, uid, digest, name, size, type, width, height, shown, created_ms,"
            " unused_ms)",
            self.file_id,
            into.uid(self.user),
            self.digest,
            self.name,
            self.size,
            self.type,
            self.width,
            self.height,
            self.shown,
            self.created_ms,
            self.unused_ms,
        )


class Attachment(Record, tag="attachment", frozen=True, kw_only=True):
    """A file that a message carries."""

    COLUMNS = ("attachment.seq", "attachment.ordinal", "attachment.file_id")
    FROM = "attachment"
    SELECT = "SELECT seq, ordinal, file_id FROM attachment ORDER BY seq, ordinal"

    seq: int
    ordinal: int
    file_id: str

    @classmethod
    def of(cls, *row: Any) -> Attachment:
        """See `Record`."""
        seq, ordinal, file_id = row
        return cls(seq=seq, ordinal=ordinal, file_id=file_id)

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put("attachment (seq, ordinal, file_id)", self.seq, self.ordinal, self.file_id)

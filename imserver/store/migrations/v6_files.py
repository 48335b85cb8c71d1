"""Files, and the messages that carry them."""

from __future__ import annotations

from typing import Final

SQL: Final = """
    -- Uploads, and the messages that carry them. A content is on the disk, by its digest, once.
    CREATE TABLE file (
        file_id TEXT PRIMARY KEY,
        uid INTEGER NOT NULL REFERENCES user,
        digest TEXT NOT NULL,           -- SHA-256 of the content, in hexadecimal
        name TEXT NOT NULL,             -- as it is shown and saved; never a path
        size INTEGER NOT NULL,
        type TEXT NOT NULL,             -- by its first bytes
        width INTEGER,                  -- of a picture, upright, in pixels
        height INTEGER,
        shown INTEGER NOT NULL,         -- there are a thumbnail and a preview
        created_ms INTEGER NOT NULL,
        unused_ms INTEGER               -- since when no message carries it; 0: one did
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX file_by_user ON file (uid, size);
    CREATE INDEX file_by_digest ON file (digest, size);
    CREATE INDEX file_unused ON file (unused_ms) WHERE unused_ms IS NOT NULL;

    CREATE TABLE attachment (
        seq INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,       -- from 0 on
        file_id TEXT NOT NULL REFERENCES file,
        PRIMARY KEY (seq, ordinal)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX attachment_by_file ON attachment (file_id, seq);
    """

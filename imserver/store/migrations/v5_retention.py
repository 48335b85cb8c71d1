"""Retention: what was removed."""

from __future__ import annotations

from typing import Final

SQL: Final = """
    -- Retention: what was removed, and what of it had reached nobody.
    ALTER TABLE conversation ADD COLUMN removed_seq INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE conversation ADD COLUMN removed_uid INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE conversation ADD COLUMN removed_other_seq INTEGER NOT NULL DEFAULT 0;

    -- How long a group keeps its messages; NULL: as long as the server does.
    ALTER TABLE "group" ADD COLUMN keep_ms INTEGER;
    CREATE INDEX group_by_keep ON "group" (cid, keep_ms) WHERE keep_ms IS NOT NULL;

    CREATE TABLE failed (
        uid INTEGER NOT NULL REFERENCES user,
        seq INTEGER NOT NULL,
        noted_seq INTEGER NOT NULL,
        removed_ms INTEGER NOT NULL,
        PRIMARY KEY (uid, seq)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX failed_by_time ON failed (removed_ms);
    """

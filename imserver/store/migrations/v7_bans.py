"""Users who were removed from a group."""

from __future__ import annotations

from typing import Final

SQL: Final = """
    -- Users who may not join a group until the ban is lifted.
    CREATE TABLE ban (
        cid INTEGER NOT NULL REFERENCES conversation,
        uid INTEGER NOT NULL REFERENCES user,
        by_uid INTEGER NOT NULL,
        banned_ms INTEGER NOT NULL,
        PRIMARY KEY (cid, uid)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX ban_by_user ON ban (uid);
    """

"""Private groups, and invitations to them."""

from __future__ import annotations

from typing import Final

SQL: Final = """
    -- Private groups: joining needs an invitation. The default is that of the API document.
    ALTER TABLE "group" ADD COLUMN private INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE invitation (
        uid INTEGER NOT NULL REFERENCES user,
        cid INTEGER NOT NULL,
        by_uid INTEGER NOT NULL,
        invited_ms INTEGER NOT NULL,
        PRIMARY KEY (uid, cid)
    ) STRICT, WITHOUT ROWID;
    """

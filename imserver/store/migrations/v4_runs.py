"""Long runs of one sender."""

from __future__ import annotations

from typing import Final

SQL: Final = """
    -- Many messages of one sender with nobody else's of the conversation between them: who wants
    -- the others' steps over them at once. Not all are noted, and none in notes to oneself.
    CREATE TABLE run (
        cid INTEGER NOT NULL REFERENCES conversation,
        uid INTEGER NOT NULL,
        from_seq INTEGER NOT NULL,
        to_seq INTEGER NOT NULL,        -- both ends included
        PRIMARY KEY (cid, uid, from_seq)
    ) STRICT, WITHOUT ROWID;
    """

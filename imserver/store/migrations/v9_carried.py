"""Answers, mentions and forwarded messages."""

from __future__ import annotations

from typing import Final

SQL: Final = """
    -- Messages that answer another one of their conversation. What they answer may be gone.
    CREATE TABLE reply (
        seq INTEGER PRIMARY KEY,
        cid INTEGER NOT NULL,
        reply_to INTEGER NOT NULL,      -- the message answered
        root INTEGER NOT NULL           -- the first message of that thread
    ) STRICT;

    CREATE INDEX reply_by_root ON reply (root, seq);

    -- Users whom a message mentions.
    CREATE TABLE mention (
        seq INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,       -- from 0 on
        cid INTEGER NOT NULL,
        uid INTEGER REFERENCES user,    -- NULL: everyone in the conversation
        PRIMARY KEY (seq, ordinal)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX mention_by_user ON mention (uid, cid, seq);

    -- Messages that repeat another one: who wrote that, and when.
    CREATE TABLE forward (
        seq INTEGER PRIMARY KEY,
        sender_uid INTEGER NOT NULL REFERENCES user,
        sent_ms INTEGER NOT NULL
    ) STRICT;

    CREATE INDEX forward_by_sender ON forward (sender_uid);
    """

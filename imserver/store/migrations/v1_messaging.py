"""Users, conversations, groups and messages."""

from __future__ import annotations

from typing import Final

SQL: Final = """
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value ANY NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE user (
        uid INTEGER PRIMARY KEY,
        user_id TEXT NOT NULL UNIQUE,
        created_ms INTEGER NOT NULL
    ) STRICT;

    -- A direct pair (low_uid <= high_uid, equal for notes to oneself) or a group (both NULL).
    CREATE TABLE conversation (
        cid INTEGER PRIMARY KEY,
        low_uid INTEGER REFERENCES user,
        high_uid INTEGER REFERENCES user,
        UNIQUE (low_uid, high_uid)
    ) STRICT;

    CREATE TABLE "group" (
        cid INTEGER PRIMARY KEY REFERENCES conversation,
        group_id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        description TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        updated_ms INTEGER NOT NULL,
        closed INTEGER NOT NULL DEFAULT 0
    ) STRICT;

    -- One row for everyone who ever belonged; `active` says whether they still do.
    CREATE TABLE member (
        cid INTEGER NOT NULL REFERENCES conversation,
        uid INTEGER NOT NULL REFERENCES user,
        active INTEGER NOT NULL,
        role INTEGER NOT NULL,
        joined_ms INTEGER NOT NULL,
        joined_seq INTEGER NOT NULL,
        ordinal INTEGER NOT NULL,       -- order among those who joined at the same seq
        delivered_seq INTEGER NOT NULL,
        read_seq INTEGER NOT NULL,
        PRIMARY KEY (cid, uid)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE membership (
        uid INTEGER NOT NULL REFERENCES user,
        cid INTEGER NOT NULL REFERENCES conversation,
        from_seq INTEGER NOT NULL,
        to_seq INTEGER,
        PRIMARY KEY (uid, cid, from_seq)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE message (
        seq INTEGER PRIMARY KEY,
        cid INTEGER NOT NULL REFERENCES conversation,
        sender_uid INTEGER NOT NULL,    -- 0: the server itself
        type INTEGER NOT NULL,          -- index into MESSAGE_TYPES
        content TEXT NOT NULL,
        sent_ms INTEGER NOT NULL,
        event TEXT                      -- JSON of a system message's event
    ) STRICT;

    -- An index ends in the rowid, so this is (cid, seq).
    CREATE INDEX message_by_conversation ON message (cid);

    CREATE TABLE client_message (
        uid INTEGER NOT NULL REFERENCES user,
        client_msg_id TEXT NOT NULL,
        digest BLOB NOT NULL,
        seq INTEGER NOT NULL,
        sent_ms INTEGER NOT NULL,
        PRIMARY KEY (uid, client_msg_id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE selective_ack (
        cid INTEGER NOT NULL REFERENCES conversation,
        uid INTEGER NOT NULL REFERENCES user,
        seq INTEGER NOT NULL,
        level INTEGER NOT NULL,
        PRIMARY KEY (cid, uid, seq)
    ) STRICT, WITHOUT ROWID;
    """

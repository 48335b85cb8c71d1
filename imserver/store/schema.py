"""The database's shape: DDL as numbered migrations, run at start.

`PRAGMA user_version` holds the number of migrations that a file has had; `application_id` says
that a file is ours. A migration that landed is never edited: what comes later is a new one. With
it come a database of the new version (`python -m tests.store.fixtures.make`), the lines that
`records` exports of what it adds, and the rules that `check` judges it by; tests insist.

Laws of the data:

- `message.seq` is the one order. It is never reused: `meta.seq_floor` remembers the highest that
  deletion has taken away, or that a restore has passed over. Above it no place is empty.
- `meta.lost_after:<seq>`, in 20 digits, says up to where a restore took messages away: the places
  after `<seq>` up to the value were clients' cursors once, and are none any more.
- A user may see a message if a row of `membership` (an interval of `seq`, both ends included;
  `to_seq` NULL while it lasts) covers it. Both users of a direct conversation have one interval
  that covers everything.
- What a member has is their row in `member`: all up to `delivered_seq` / `read_seq`, plus the
  rows of `selective_ack` beyond. A selective row at or below both watermarks does not exist.
- `client_message` outlives the message that it names.
- Between the ends of a `run` its conversation has no message of anybody else.
- A password and a token are there as hashes only. What no longer lets anybody in is deleted:
  a revoked token at once, an expired one soon.
- `audit` is only ever added to; triggers see to it.
- `conversation.removed_seq` is the highest place of what was removed from it (0: nothing was), and
  `removed_uid` who sent that; `removed_other_seq` the highest of what anybody else had sent. So
  everybody can be told of what they miss, and nobody of their own messages.
- A file is carried by the messages in `attachment`. Without one, `file.unused_ms` says since when;
  0 that it goes with the next sweep, because the last message that carried it is gone.
- `failed` are removed messages that nobody had got: by their sender and place, with the newest
  place at the time, behind which their sender is to learn of it.
"""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x494D5331  # "IMS1"

MIGRATIONS: Final[tuple[str, ...]] = (
    """
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
    """,
    """
    -- Private groups: joining needs an invitation. The default is that of the API document.
    ALTER TABLE "group" ADD COLUMN private INTEGER NOT NULL DEFAULT 0;

    CREATE TABLE invitation (
        uid INTEGER NOT NULL REFERENCES user,
        cid INTEGER NOT NULL,
        by_uid INTEGER NOT NULL,
        invited_ms INTEGER NOT NULL,
        PRIMARY KEY (uid, cid)
    ) STRICT, WITHOUT ROWID;
    """,
    """
    -- Accounts of our own, what is logged in with them, and who did what to them.
    CREATE TABLE account (
        uid INTEGER PRIMARY KEY REFERENCES user,
        password TEXT,                  -- argon2id, in the PHC string format; NULL: there is none
        administrator INTEGER NOT NULL,
        disabled INTEGER NOT NULL,
        must_change INTEGER NOT NULL,   -- the password was for one login only
        created_ms INTEGER NOT NULL,
        password_ms INTEGER NOT NULL    -- when the password was set last
    ) STRICT;

    CREATE TABLE token (
        token_id TEXT PRIMARY KEY,      -- what it is called; no secret
        digest BLOB NOT NULL UNIQUE,    -- SHA-256 of the token itself, which is nowhere
        uid INTEGER NOT NULL REFERENCES account,
        device TEXT NOT NULL,
        platform TEXT NOT NULL,
        address TEXT NOT NULL,          -- where it was asked for; empty where that has none
        created_ms INTEGER NOT NULL,
        used_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX token_by_account ON token (uid);
    CREATE INDEX token_by_expiry ON token (expires_ms);

    -- Entries are never deleted, so their numbers have no gaps and are never used twice.
    CREATE TABLE audit (
        entry INTEGER PRIMARY KEY,
        at_ms INTEGER NOT NULL,
        actor TEXT,                     -- a user id; NULL: the operator, or the server itself
        action TEXT NOT NULL,
        subject TEXT,                   -- the user whom it concerns, if it concerns one
        address TEXT NOT NULL,          -- of the actor; empty where they have none
        detail TEXT NOT NULL            -- a JSON object
    ) STRICT;

    -- REPLACE would delete without asking the triggers below.
    CREATE TRIGGER audit_grows BEFORE INSERT ON audit
    WHEN EXISTS (SELECT 1 FROM audit WHERE entry = NEW.entry) BEGIN
        SELECT RAISE(ABORT, 'the audit log is only ever added to');
    END;

    CREATE TRIGGER audit_stands BEFORE UPDATE ON audit BEGIN
        SELECT RAISE(ABORT, 'the audit log is only ever added to');
    END;

    CREATE TRIGGER audit_stays BEFORE DELETE ON audit BEGIN
        SELECT RAISE(ABORT, 'the audit log is only ever added to');
    END;
    """,
    """
    -- Many messages of one sender with nobody else's of the conversation between them: who wants
    -- the others' steps over them at once. Not all are noted, and none in notes to oneself.
    CREATE TABLE run (
        cid INTEGER NOT NULL REFERENCES conversation,
        uid INTEGER NOT NULL,
        from_seq INTEGER NOT NULL,
        to_seq INTEGER NOT NULL,        -- both ends included
        PRIMARY KEY (cid, uid, from_seq)
    ) STRICT, WITHOUT ROWID;
    """,
    """
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
    """,
    """
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
    """,
    """
    -- Users who may not join a group until the ban is lifted.
    CREATE TABLE ban (
        cid INTEGER NOT NULL REFERENCES conversation,
        uid INTEGER NOT NULL REFERENCES user,
        by_uid INTEGER NOT NULL,
        banned_ms INTEGER NOT NULL,
        PRIMARY KEY (cid, uid)
    ) STRICT, WITHOUT ROWID;

    CREATE INDEX ban_by_user ON ban (uid);
    """,
)

VERSION: Final = len(MIGRATIONS)

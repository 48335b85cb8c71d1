"""Accounts, tokens and the audit log."""

from __future__ import annotations

from typing import Final

SQL: Final = """
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
    """

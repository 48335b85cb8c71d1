"""Old entries of the audit log may go."""

from __future__ import annotations

from typing import Final

SQL: Final = """
    -- Up to `meta.audit_floor` entries may be deleted, never the newest: numbers are used once.
    DROP TRIGGER audit_stays;

    CREATE TRIGGER audit_stays BEFORE DELETE ON audit
    WHEN OLD.entry > ifnull((SELECT value FROM meta WHERE key = 'audit_floor'), 0)
        OR OLD.entry = (SELECT max(entry) FROM audit)
    BEGIN
        SELECT RAISE(ABORT, 'the audit log is only ever added to');
    END;
    """

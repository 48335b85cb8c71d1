"""The statements about accounts, tokens and the audit log, by name; see `queries`."""

from __future__ import annotations

from typing import Final

# -- accounts ---------------------------------------------------------------------------------

_ACCOUNT: Final = """
    SELECT a.uid, u.user_id, a.administrator, a.disabled, a.must_change, a.created_ms,
           a.password_ms
    FROM account a JOIN user u ON u.uid = a.uid
"""
ALL_ACCOUNTS: Final = f"{_ACCOUNT} ORDER BY a.uid"
FIND_ACCOUNT: Final = f"{_ACCOUNT} WHERE u.user_id = ?"
HAS_ACCOUNT: Final = "SELECT 1 FROM account WHERE uid = ?"
FIND_PASSWORD: Final = """
    SELECT a.password FROM account a JOIN user u ON u.uid = a.uid WHERE u.user_id = ?
"""
ADD_ACCOUNT: Final = """
    INSERT INTO account (uid, password, administrator, disabled, must_change, created_ms,
                         password_ms)
    VALUES (?1, ?2, ?3, 0, ?4, ?5, ?5)
"""
SET_PASSWORD: Final = """
    UPDATE account SET password = ?2, must_change = ?3, password_ms = ?4 WHERE uid = ?1
"""
# The same password under new parameters, unless it was changed meanwhile.
REPLACE_HASH: Final = "UPDATE account SET password = ?3 WHERE uid = ?1 AND password = ?2"
SET_ADMINISTRATOR: Final = "UPDATE account SET administrator = ?2 WHERE uid = ?1"
# Whether anybody else could still administer the server.
OTHER_ADMINISTRATOR: Final = """
    SELECT 1 FROM account WHERE administrator AND NOT disabled AND uid <> ? LIMIT 1
"""
SET_DISABLED: Final = "UPDATE account SET disabled = ?2 WHERE uid = ?1"

# -- users, whether they have an account or not -----------------------------------------------

_USER: Final = """
    SELECT u.user_id, u.created_ms, a.uid, a.administrator, a.disabled, a.must_change,
           a.created_ms, a.password_ms
    FROM user u LEFT JOIN account a ON a.uid = u.uid
"""
USERS_BETWEEN: Final = f"""
    {_USER} WHERE u.user_id >= ? AND u.user_id <= ? ORDER BY u.user_id LIMIT ?
"""
FIND_USER_STATE: Final = f"{_USER} WHERE u.user_id = ?"

# -- tokens -----------------------------------------------------------------------------------

_TOKEN: Final = """
    SELECT t.token_id, t.digest, t.uid, u.user_id, t.device, t.platform, t.address, t.created_ms,
           t.used_ms, t.expires_ms
    FROM token t JOIN user u ON u.uid = t.uid
"""
LIVE_TOKENS: Final = f"{_TOKEN} WHERE t.expires_ms > ? ORDER BY t.token_id"
FIND_TOKEN: Final = "SELECT uid FROM token WHERE token_id = ?"
ADD_TOKEN: Final = """
    INSERT INTO token (token_id, digest, uid, device, platform, address, created_ms, used_ms,
                       expires_ms)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8)
"""
USE_TOKEN: Final = "UPDATE token SET used_ms = ?2, expires_ms = ?3 WHERE token_id = ?1"
DROP_TOKEN: Final = "DELETE FROM token WHERE token_id = ?"
DROP_TOKENS: Final = "DELETE FROM token WHERE uid = ?1 AND token_id IS NOT ?2 RETURNING token_id"
# All but those used last: what somebody logs in ever anew without logging out does not add up.
DROP_UNUSED: Final = """
    DELETE FROM token WHERE token_id IN (
        SELECT token_id FROM token WHERE uid = ? ORDER BY used_ms DESC LIMIT -1 OFFSET ?
    ) RETURNING token_id
"""
DROP_EXPIRED: Final = "DELETE FROM token WHERE expires_ms <= ?"

# -- the audit log ----------------------------------------------------------------------------

ADD_AUDIT: Final = """
    INSERT INTO audit (at_ms, actor, action, subject, address, detail) VALUES (?, ?, ?, ?, ?, ?)
"""

# The oldest entries, all but the newest.
OLDEST_AUDIT: Final = """
    SELECT entry, at_ms FROM audit WHERE entry < (SELECT max(entry) FROM audit)
    ORDER BY entry LIMIT ?
"""
DROP_AUDIT: Final = "DELETE FROM audit WHERE entry BETWEEN ? AND ?"
COUNT_AUDIT: Final = """
    SELECT ifnull((SELECT max(entry) FROM audit) - (SELECT min(entry) FROM audit) + 1, 0)
"""

_AUDIT: Final = "SELECT entry, at_ms, actor, action, subject, address, detail FROM audit"
_AUDIT_FILTER: Final = """
    (:actor IS NULL OR actor = :actor)
    AND (:operator IS NULL OR detail ->> '$.operator' = :operator)
    AND (:action IS NULL OR action = :action)
    AND (:subject IS NULL OR subject = :subject) AND (:since IS NULL OR at_ms >= :since)
    AND (:until IS NULL OR at_ms < :until)
"""
AUDIT_BEFORE: Final = f"""
    {_AUDIT} WHERE entry < :cursor AND {_AUDIT_FILTER} ORDER BY entry DESC LIMIT :limit
"""
AUDIT_AFTER: Final = f"""
    {_AUDIT} WHERE entry > :cursor AND {_AUDIT_FILTER} ORDER BY entry LIMIT :limit
"""

"""The lines of an export about accounts; see `records`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from imserver.domain.passwords import is_bearable
from imserver.store.lines import Record, Target

# An export must not tell where users are logged in from. After an import everybody logs in again.
TOKENS_LEFT_OUT: Final = dict.fromkeys(
    (
        "token.token_id", "token.digest", "token.uid", "token.device", "token.platform",
        "token.address", "token.created_ms", "token.used_ms", "token.expires_ms",
    ),
    "after an import everybody logs in anew",
)  # fmt: skip


class AccountLine(Record, tag="account", frozen=True, kw_only=True):
    """Who may log in, and the hash of their password."""

    COLUMNS = (
        "account.uid", "account.password", "account.administrator", "account.disabled",
        "account.must_change", "account.created_ms", "account.password_ms",
    )  # fmt: skip
    FROM = "account"
    SELECT = """
        SELECT u.user_id, a.password, a.administrator, a.disabled, a.must_change, a.created_ms,
               a.password_ms
        FROM account a JOIN user u ON u.uid = a.uid
        ORDER BY a.uid
    """

    user: str
    password: str | None = None
    administrator: bool = False
    disabled: bool = False
    must_change: bool = False
    created_ms: int
    password_ms: int

    @classmethod
    def of(cls, *row: Any) -> AccountLine:
        """See `Record`."""
        user, password, administrator, disabled, must_change, created_ms, password_ms = row
        return cls(
            user=user,
            password=password,
            administrator=bool(administrator),
            disabled=bool(disabled),
            must_change=bool(must_change),
            created_ms=created_ms,
            password_ms=password_ms,
        )

    def put(self, into: Target) -> None:
        """See `Record`: a hash must not cost a login more than it may."""
        if self.password is not None and not is_bearable(self.password):
            raise msgspec.ValidationError("its password is no hash that a login can afford")
        into.put(
            "account (uid, password, administrator, disabled, must_change, created_ms,"
            " password_ms)",
            into.uid(self.user),
            self.password,
            int(self.administrator),
            int(self.disabled),
            int(self.must_change),
            self.created_ms,
            self.password_ms,
        )


class AuditLine(Record, tag="audit", frozen=True, kw_only=True):
    """An entry of the audit log."""

    COLUMNS = (
        "audit.entry", "audit.at_ms", "audit.actor", "audit.action", "audit.subject",
        "audit.address", "audit.detail",
    )  # fmt: skip
    FROM = "audit"
    SELECT = """
        SELECT entry, at_ms, actor, action, subject, address, detail FROM audit ORDER BY entry
    """

    entry: int
    at_ms: int
    actor: str | None = None
    action: str
    subject: str | None = None
    address: str = ""
    detail: dict[str, Any] | None = None

    @classmethod
    def of(cls, *row: Any) -> AuditLine:
        """See `Record`."""
        entry, at_ms, actor, action, subject, address, detail = row
        return cls(
            entry=entry,
            at_ms=at_ms,
            actor=actor,
            action=action,
            subject=subject,
            address=address,
            detail=msgspec.json.decode(detail) or None,
        )

    def put(self, into: Target) -> None:
        """See `Record`."""
        into.put(
            "audit (entry, at_ms, actor, action, subject, address, detail)",
            self.entry,
            self.at_ms,
            self.actor,
            self.action,
            self.subject,
            self.address,
            msgspec.json.encode(self.detail or {}).decode(),
        )

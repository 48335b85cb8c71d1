"""Reading the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.domain.administration import Audit, AuditEntry, ReadAudit
from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import encode_json
from imserver.domain.requested import page_limit
from imserver.store.audit import Action, Filter, entries_after, entries_before

if TYPE_CHECKING:
    from imserver.service.engine import Caller, Engine
    from imserver.store.audit import Entry

_MOST: Final = 2**63 - 1  # SQLite's largest integer


async def read_audit(engine: Engine, caller: Caller, request: ReadAudit) -> bytes:
    """A page of the audit log.

    Raises:
        ApiError: `invalid_request`.
    """
    limit = page_limit(request.limit)
    wanted = Filter(
        actor=request.actor,
        operator=request.operator,
        action=request.action,
        subject=request.subject,
        since=request.since,
        until=request.until,
    )
    if wanted.action is not None and wanted.action not in list(Action):
        raise ApiError(Code.INVALID_REQUEST, "action must be one of the documented actions")
    after, before = request.after, request.before
    if after is not None and before is not None:
        raise ApiError(Code.INVALID_REQUEST, "Give after or before, not both")
    for name, number in (
        ("after", after), ("before", before), ("since", wanted.since), ("until", wanted.until),
    ):  # fmt: skip
        if number is not None and not 0 <= number <= _MOST:
            raise ApiError(Code.INVALID_REQUEST, f"{name} must be 0 to {_MOST}")
    if after is not None:
        found = await engine.reader.ask(
            lambda db: entries_after(db, after, limit + 1, wanted), by=caller.user_id, heavy=True
        )
    else:
        cursor = _MOST if before is None else before
        found = await engine.reader.ask(
            lambda db: entries_before(db, cursor, limit + 1, wanted), by=caller.user_id, heavy=True
        )
    return encode_json(Audit([_describe(entry) for entry in found[:limit]], len(found) > limit))


def _describe(entry: Entry) -> AuditEntry:
    detail = dict(entry.detail)
    return AuditEntry(
        entry=entry.entry,
        timestamp=entry.at_ms,
        action=entry.action,
        actor=entry.actor,
        operator=detail.pop("operator", None),
        subject=entry.subject,
        address=entry.address or None,
        detail=detail or None,
    )

"""Removes messages that are too old, or too many for the size limit.

It also removes old entries of the audit log, by age only.

Laws:

- It removes one small piece at a time, through the writer, with a pause after each. While others
  write, a piece is only somewhat larger than what they have written meanwhile: sends do not wait
  noticeably, and still more is removed than added.
- A group may keep its messages for a shorter time than the server, never longer. The size limit
  applies to all conversations together: the oldest messages go first.
- Senders are told of messages that no recipient had received.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

import trio

from imserver.domain.answered import StatusChange
from imserver.domain.errors import ApiError
from imserver.domain.frames import status_push
from imserver.domain.model import DAY_MS, FAILED, SYSTEM_USER, message_id
from imserver.service.engine import Change, Delivery, Outcome
from imserver.store import audit
from imserver.store.retention import removal

if TYPE_CHECKING:
    from imserver.service.engine import Engine
    from imserver.store.transaction import Transaction

logger = logging.getLogger(__name__)

_REST: Final = 0.05  # seconds between two pieces while others write
_REST_ALONE: Final = 0.01  # while nobody does
_LEAST: Final = 5  # messages in a piece while others write
_SHARE: Final = 1.25  # messages removed for each write of others
_ALONE: Final = 100  # messages in a piece while nobody does
_REPORT: Final = 50_000  # messages between two lines in the log
_RETRY: Final = 60.0  # seconds until it is tried again when the store has refused, at the most


Choose = Callable[..., removal.Piece]  # of a transaction, and `most`: how many messages


class _Removed(NamedTuple):
    piece: removal.Piece
    now_ms: int


class RemovePiece(Change[_Removed, removal.Piece]):
    """Remove one piece, and tell the senders of what nobody had got."""

    __slots__ = ("_choose",)

    def __init__(self, choose: Choose) -> None:
        self._choose = choose

    def apply(self, tx: Transaction) -> _Removed:
        """Remove it."""
        return _Removed(self._choose(tx), tx.now_ms)

    def conclude(self, removed: _Removed) -> Outcome[removal.Piece]:
        """Push `failed` to those concerned."""
        return Outcome(
            removed.piece,
            [
                Delivery(
                    status_push(StatusChange(message_id(seq), FAILED, SYSTEM_USER, removed.now_ms)),
                    {sender},
                )
                for sender, seq in removed.piece.failed
            ],
        )


class RemoveAudit(Change[int, int]):
    """Remove a piece of the audit log; the result is how many entries went."""

    __slots__ = ("_before_ms",)

    def __init__(self, before_ms: int) -> None:
        self._before_ms = before_ms

    def apply(self, tx: Transaction) -> int:
        """Remove it."""
        return audit.remove_older(tx, self._before_ms, most=_ALONE)

    def conclude(self, removed: int) -> Outcome[int]:
        """How many went."""
        return Outcome(removed)


class Kept(NamedTuple):
    """How much is kept; 0: there is no limit."""

    keep_ms: int = 0  # messages
    most_bytes: int = 0  # the database
    audit_ms: int = 0  # entries of the audit log

    def __str__(self) -> str:
        messages = _days(self.keep_ms)
        if self.most_bytes:
            messages += f", up to {self.most_bytes / 1e6:g} MB"
        return f"messages are kept {messages}; the audit log is kept {_days(self.audit_ms)}"


def _days(ms: int) -> str:
    return f"for {ms / DAY_MS:g} days" if ms else "for ever"


class Retention:
    """Removes what is too old or too much, again and again."""

    def __init__(self, engine: Engine, limits: Kept, *, every: float) -> None:
        self._engine = engine
        self._limits = limits
        self._every = every  # seconds
        self._written = 0.0  # by everybody, when the last piece was done

    async def run(self) -> None:
        """Remove what there is to remove now, and again in `every` seconds, until cancelled."""
        await self.report()
        while True:
            wait = self._every
            try:
                await self.sweep()
            except Exception as error:
                expected = isinstance(error, ApiError)
                logger.warning("retention was interrupted: %s", error, exc_info=not expected)
                wait = min(wait, _RETRY)
            await trio.sleep(wait)

    async def sweep(self) -> None:
        """Remove all that there is to remove now.

        Raises:
            ApiError: `unavailable`; what was removed by then is.
        """
        await self._sweep_audit()
        keep_ms, most_bytes, _ = self._limits
        engine = self._engine
        limited = keep_ms or most_bytes
        if not limited and not await engine.reader.ask(removal.is_limited):
            return
        now_ms = engine.clock()
        due = await engine.reader.ask(
            lambda db: removal.what_is_due(db, now_ms, keep_ms, most_bytes)
        )
        if due.old:
            await self._all("old", partial(removal.remove_older, before_ms=now_ms - keep_ms))
        for cid, group_keep_ms in due.groups:
            older = partial(removal.remove_older, before_ms=now_ms - group_keep_ms, cid=cid)
            await self._all("old for its group", older)
        if due.large:
            above = partial(removal.remove_above, most_bytes=most_bytes)
            await self._all("too much", above)
            await self._warn_if_full()
        if due.failed:
            await self._all("", removal.forget_failed)
        engine.removals.ended_ms = engine.clock()

    async def report(self) -> None:
        """Say once what is kept, and how much there is."""
        try:
            used, entries = await self._engine.reader.ask(
                lambda db: (removal.used_bytes(db), audit.count_entries(db))
            )
        except ApiError:
            return  # the sweep says so
        logger.info(
            "%s; the database holds %.1f MB and %d audit entries",
            self._limits, used / 1e6, entries,
        )  # fmt: skip

    async def _sweep_audit(self) -> None:
        engine, audit_ms = self._engine, self._limits.audit_ms
        before_ms = engine.clock() - audit_ms
        removed = 0
        due = audit_ms and await engine.reader.ask(lambda db: audit.is_old(db, before_ms))
        while due and (piece := await engine.write(RemoveAudit(before_ms))):
            removed += piece
            await trio.sleep(_REST)
        if removed:
            logger.info("retention removed %d entries of the audit log", removed)
        engine.removals.audit_entries = await engine.reader.ask(audit.count_entries)

    async def _all(self, what: str, choose: Choose) -> None:
        """Piece after piece, until there is no more."""
        removals = self._engine.removals
        removed = failed = 0
        more = True
        try:
            while more:
                most, rest = self._share()
                piece = await self._engine.write(RemovePiece(partial(choose, most=most)))
                messages, lost, more = piece
                removals.messages += messages
                removals.failed += len(lost)
                failed += len(lost)
                before, removed = removed, removed + messages
                if before // _REPORT < removed // _REPORT:
                    logger.info("retention has removed %d messages so far", removed)
                await trio.sleep(rest)
        finally:
            if removed:
                logger.info(
                    "retention removed %d messages (%s), %d of which nobody had got",
                    removed,
                    what,
                    failed,
                )

    def _share(self) -> tuple[int, float]:
        """How many messages may go now, and the rest behind it in seconds.

        By what others have written since the last piece.
        """
        written = self._engine.writer.batches.total
        others = written - self._written
        self._written = written + 1  # the piece itself
        if others <= 0:
            return _ALONE, _REST_ALONE
        return max(_LEAST, min(removal.MOST, round(_SHARE * others))), _REST

    async def _warn_if_full(self) -> None:
        used = await self._engine.reader.ask(removal.used_bytes)
        if used > self._limits.most_bytes:
            logger.warning(
                "the database holds %.1f MB without any message, and retention.megabytes is %.1f",
                used / 1e6, self._limits.most_bytes / 1e6,
            )  # fmt: skip

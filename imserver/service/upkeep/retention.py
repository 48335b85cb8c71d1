"""Messages are kept for so long, or for as long as there is room, and then removed.

Laws:

- One small piece at a time, through the one writer, and a rest behind each. While others write, a
  piece is only somewhat larger than what they wrote meanwhile: nobody who sends has to wait for it
  noticeably, and yet more goes than comes.
- A group may keep its messages for a shorter time than the server, never for longer. The limit of
  the size holds for all of them together: the oldest go first, whosever they are.
- Senders are told of what nobody had got.
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
from imserver.domain.model import FAILED, SYSTEM_USER, message_id
from imserver.service.engine import Change, Delivery, Outcome
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


class Retention:
    """Removes what is too old or too much, again and again."""

    def __init__(self, engine: Engine, *, keep_ms: int, most_bytes: int, every: float) -> None:
        self._engine = engine
        self._keep_ms = keep_ms  # 0: messages do not grow too old
        self._most_bytes = most_bytes  # 0: there is no limit
        self._every = every  # seconds
        self._written = 0.0  # by everybody, when the last piece was done

    async def run(self) -> None:
        """Remove what there is to remove now, and again in `every` seconds, until cancelled."""
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
        engine = self._engine
        limited = self._keep_ms or self._most_bytes
        if not limited and not await engine.reader.ask(removal.is_limited):
            return
        now_ms = engine.clock()
        due = await engine.reader.ask(
            lambda db: removal.what_is_due(db, now_ms, self._keep_ms, self._most_bytes)
        )
        if due.old:
            await self._all("old", partial(removal.remove_older, before_ms=now_ms - self._keep_ms))
        for cid, keep_ms in due.groups:
            older = partial(removal.remove_older, before_ms=now_ms - keep_ms, cid=cid)
            await self._all("old for its group", older)
        if due.large:
            above = partial(removal.remove_above, most_bytes=self._most_bytes)
            await self._all("too much", above)
            await self._warn_if_full()
        if due.failed:
            await self._all("", removal.forget_failed)
        engine.removals.ended_ms = engine.clock()

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
        if used > self._most_bytes:
            logger.warning(
                "the database holds %.1f MB without any message, and retention.megabytes is %.1f",
                used / 1e6, self._most_bytes / 1e6,
            )  # fmt: skip

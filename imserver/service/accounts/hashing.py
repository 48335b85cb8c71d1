"""The hashes of passwords.

Argon2id by argon2-cffi, in worker threads, few at a time: logins leave the processor and the memory
to the messages. Addresses take turns, so many logins of one delay another by one. Imported in
`token` mode alone.
"""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING, Final, TypeVar

import argon2
import trio

from imserver.domain.passwords import is_bearable, normal
from imserver.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

logger = logging.getLogger(__name__)

# OWASP's Password Storage Cheat Sheet; RFC 9106 section 4 has the same for more memory.
_ROUNDS: Final = 2
_MEMORY: Final = 19 * 1024  # KiB
_MOST_WAITING: Final = 512  # logins that wait for their turn
_MOST_OF_ONE: Final = 64  # of one address: an office that comes in the morning


class Passwords:
    """Hashes passwords and tells whether one is right. Owner of the turns that logins take."""

    def __init__(
        self,
        hasher: argon2.PasswordHasher | None = None,
        *,
        at_once: int | None = None,
        most_waiting: int = _MOST_WAITING,
        most_of_one: int = _MOST_OF_ONE,
    ) -> None:
        self._hasher = hasher or argon2.PasswordHasher(_ROUNDS, _MEMORY, 1)
        places = at_once or min(4, max(1, (os.cpu_count() or 1) // 4))
        self._turns = Turns(places, most_waiting=most_waiting, most_of_one=most_of_one)
        self._threads = trio.CapacityLimiter(places)  # never waited for: `_turns` are as many
        self._nobodys = self._hash_of_nothing()
        self.runs = 0  # of the hash function, since the start

    async def hash(self, password: str, by: str = "") -> str:
        """The hash of a password, in the PHC string format; `by` takes turns with others.

        Raises:
            ApiError: `too_large`; `rate_limited` where too many wait.
        """
        text = normal(password)
        return await self._run(lambda: self._hasher.hash(text), by)

    async def is_right(self, password: str, known: str | None, by: str = "") -> bool:
        """Whether `known` is the hash of a password; None is nobody's, and takes as long.

        Raises:
            ApiError: `too_large`; `rate_limited` where too many wait.
        """
        text = normal(password)
        return await self._run(lambda: self._verify(text, known), by)

    def is_outdated(self, known: str) -> bool:
        """Whether a hash was made with other parameters than those of today."""
        return self._hasher.check_needs_rehash(known)

    def _verify(self, text: str, known: str | None) -> bool:
        if known is not None and not is_bearable(known):
            # It came in by another way than a login or an import.
            logger.warning("a stored password hash costs more than it may, or is none: set anew")
            known = None
        try:
            self._hasher.verify(self._nobodys if known is None else known, text)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
        return known is not None

    async def _run(self, work: Callable[[], T], by: str) -> T:
        async with self._turns.turn(by):
            self.runs += 1
            return await trio.to_thread.run_sync(work, limiter=self._threads)

    def _hash_of_nothing(self) -> str:
        # With the parameters of today, and of no password that anybody could find.
        hasher = self._hasher
        parameters = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
        return f"$argon2id$v=19${parameters}${'A' * 22}${'A' * 43}"

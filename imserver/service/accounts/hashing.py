"""Password hashes.

Argon2id (argon2-cffi) runs in a few worker threads, so that logins leave the processor and the
memory to messages. Addresses take turns: many logins from one address delay another address by one
login only. Imported in `token` mode only.
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

# From OWASP's Password Storage Cheat Sheet. RFC 9106 section 4 uses more memory.
_ROUNDS: Final = 2
_MEMORY: Final = 19 * 1024  # KiB
_MOST_WAITING: Final = 512  # logins waiting for their turn
_MOST_OF_ONE: Final = 64  # waiting logins of one address, such as an office in the morning


class Passwords:
    """Hashes and verifies passwords. Owner of the queue of logins."""

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
        self._threads = trio.CapacityLimiter(places)  # never full: `_turns` admits as many
        self._nobodys = self._hash_of_nothing()
        self.runs = 0  # calls of the hash function since the start

    async def hash(self, password: str, by: str = "") -> str:
        """Hash a password, in the PHC string format. `by` is the address that takes turns.

        Raises:
            ApiError: `too_large`; `rate_limited` where too many wait.
        """
        text = normal(password)
        return await self._run(lambda: self._hasher.hash(text), by)

    async def is_right(self, password: str, known: str | None, by: str = "") -> bool:
        """Whether `known` is the hash of a password. None never is, and takes as long.

        Raises:
            ApiError: `too_large`; `rate_limited` where too many wait.
        """
        text = normal(password)
        return await self._run(lambda: self._verify(text, known), by)

    def is_outdated(self, known: str) -> bool:
        """Whether a hash was made with other parameters than the current ones."""
        return self._hasher.check_needs_rehash(known)

    def _verify(self, text: str, known: str | None) -> bool:
        if known is not None and not is_bearable(known):
            # Neither a login nor an import could have stored it.
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
        # With the current parameters, of a password that nobody can guess.
        hasher = self._hasher
        parameters = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
        return f"$argon2id$v=19${parameters}${'A' * 22}${'A' * 43}"

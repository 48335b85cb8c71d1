"""What the writer remembers between transactions, so that it need not ask the database.

Everything here was true at the last commit or was written since. After a rollback all of it is
forgotten. Each memory is bounded: a full one starts afresh.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Hashable

MOST: Final = 200_000  # users, pairs or memberships


class Roster(Struct, frozen=True):
    """A group and its members, by user id. Never changed in place: whoever has it may keep it."""

    cid: int
    group_id: str
    private: bool
    members: dict[str, int]


class Remembered:
    """Users, direct conversations and rosters."""

    __slots__ = ("_members", "_rosters", "directs", "uids", "with_account")

    def __init__(self) -> None:
        self.uids: dict[str, int] = {}
        self.with_account: dict[int, int] = {}  # users who have one
        self.directs: dict[tuple[int, int], int] = {}
        self._rosters: dict[str, Roster] = {}
        self._members = 0  # of all rosters

    @staticmethod
    def keep(memory: dict[Any, int], key: Hashable, number: int) -> None:
        """Add to a memory, within its bound."""
        if len(memory) >= MOST:
            memory.clear()
        memory[key] = number

    def roster(self, group_id: str) -> Roster | None:
        """A roster, if it is remembered."""
        return self._rosters.get(group_id)

    def keep_roster(self, roster: Roster) -> Roster:
        """Remember a roster in place of the one before; returns it."""
        self.drop_roster(roster.group_id)
        self._members += len(roster.members)
        if self._members > MOST:
            self._rosters.clear()
            self._members = len(roster.members)
        self._rosters[roster.group_id] = roster
        return roster

    def drop_roster(self, group_id: str) -> None:
        """Forget a roster."""
        known = self._rosters.pop(group_id, None)
        if known is not None:
            self._members -= len(known.members)

    def forget_names(self) -> None:
        """Forget what is known by user id: a user has another one now."""
        self.uids.clear()
        self._rosters.clear()
        self._members = 0

    def forget(self) -> None:
        """Forget everything."""
        self.forget_names()
        self.with_account.clear()
        self.directs.clear()

"""The sentences of system messages, for clients that do not read their `event`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_NAMED: Final = 5  # users in one sentence


def added(by: str, users: Sequence[str]) -> str:
    """A user added others to a group. The event names all of them, the sentence a few."""
    if len(users) == 1:
        return f"{by} added {users[0]}"
    if len(users) <= _MOST_NAMED:
        return f"{by} added {', '.join(users[:-1])} and {users[-1]}"
    named = users[: _MOST_NAMED - 1]
    return f"{by} added {', '.join(named)} and {len(users) - len(named)} others"

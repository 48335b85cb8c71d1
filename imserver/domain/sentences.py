"""The sentences of system messages, for clients that do not read their `event`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from imserver.domain.model import Event, Role

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST_NAMED: Final = 5  # users in one sentence
_ARTICLES: Final = {Role.ADMIN.label: "an admin", Role.MEMBER.label: "a member"}


def sentence(event: Event) -> str:
    """What an event tells, in English.

    Events stored by older servers name no group and no changed property: their sentences are
    shorter then. Such events are only rendered again if one of their users is erased.
    """
    by, user = event.by, event.user_id
    match event.kind:
        case "created":
            return f"{by} created the group" + (f' "{event.name}"' if event.name else "")
        case "join":
            return f"{user} joined the group"
        case "leave":
            return f"{user} left the group"
        case "added":
            return f"{by} added {_listed(event.user_ids or [user])}"
        case "removed":
            return f"{by} removed {user}"
        case "role":
            return f"{by} made {user} {_ARTICLES.get(event.role or '', 'a member')}"
        case "transfer":
            return f"{user} now owns the group"
        case "updated":
            return f"{by} changed {_changes(event) or 'the group'}"
        case "dissolved":
            return f"{by} dissolved the group"
        case kind:
            raise ValueError(f"there is no kind {kind!r} of events")


def _listed(users: Sequence[str]) -> str:
    # The event names all of them, the sentence a few.
    if len(users) == 1:
        return users[0]
    if len(users) <= _MOST_NAMED:
        return f"{', '.join(users[:-1])} and {users[-1]}"
    named = users[: _MOST_NAMED - 1]
    return f"{', '.join(named)} and {len(users) - len(named)} others"


def _changes(event: Event) -> str:
    words = {
        "name": f'the name to "{event.name}"',
        "description": "the description",
        "private": "the group to " + ("private" if event.private else "open"),
        "retention_days": "how long messages are kept",
    }
    return " and ".join(words[name] for name in event.changed or ())

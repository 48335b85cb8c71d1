"""How far one's own messages have come, as far as the window has shown it.

What the one receiver of a direct message does is shown at once. The members of a group are summed
up: a line for those of the first second, then for those of two seconds more, four, and so on.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final, NamedTuple

from imserver.domain.model import Level, parse_message_id

if TYPE_CHECKING:
    from collections.abc import Hashable

    from imserver.client import Message, StatusChange

_MOST: Final = 200  # own messages that are remembered
_FIRST_WAIT: Final = 1.0  # seconds

MARKS: Final = {Level.SENT: "✓", Level.DELIVERED: "✓✓ delivered", Level.READ: "✓✓ read"}
_LEVELS: Final = {level.label: level for level in Level}


class Tick(NamedTuple):
    """What there is to show: a message that has come further."""

    message: Message
    level: Level
    by: tuple[str, ...]  # empty: all receivers


class _Own:
    def __init__(self, message: Message, conversation: Hashable, level: Level) -> None:
        self.message = message
        self.conversation = conversation
        self.level = level  # the furthest that anybody has come
        self.by: dict[str, Level] = {}
        self.wait = _FIRST_WAIT
        self.due: float | None = None  # when to show the next summary


class Ticks:
    """Owner of what is known of one's own messages, the last few hundred."""

    def __init__(self, user_id: str) -> None:
        self._user_id = user_id
        self._own: dict[int, _Own] = {}  # by place, oldest first
        # Changes of messages that are not known: a receiver may be faster than the answer.
        self._early: deque[StatusChange] = deque(maxlen=_MOST)

    def add(self, message: Message, conversation: Hashable, now: float = 0.0) -> Tick | None:
        """Remember an own message that was shown; returns what came before it, as `take` does."""
        seq = parse_message_id(message.id)
        if seq is None:
            return None
        self._own[seq] = _Own(message, conversation, _LEVELS.get(message.status, Level.SENT))
        if len(self._own) > _MOST:
            del self._own[next(iter(self._own))]
        early = [change for change in self._early if change.message_id == message.id]
        ticks = [self.take(change, now) for change in early]
        return next((tick for tick in reversed(ticks) if tick is not None), None)

    def take(self, change: StatusChange, now: float = 0.0) -> Tick | None:
        """What to show at once for a status change, if it is news about an own message."""
        level = _LEVELS.get(change.status)
        seq = parse_message_id(change.message_id)
        own = None if seq is None else self._own.get(seq)
        if level is None or change.user_id == self._user_id:
            return None
        if own is None:
            self._early.append(change)
            return None
        assert seq is not None
        if own.by.get(change.user_id, Level.SENT) >= level:
            return None
        covered = [own]
        if change.cumulative:
            covered += [
                other
                for place, other in self._own.items()
                if place < seq and other.conversation == own.conversation
            ]
        for other in covered:
            other.by[change.user_id] = max(other.by.get(change.user_id, level), level)
            other.level = max(other.level, level)
        if own.message.group_id is not None:
            if own.due is None:
                own.due = now + own.wait
                own.wait *= 2
            return None
        return Tick(own.message, level, (change.user_id,))

    def next_summary(self) -> float | None:
        """When there is a summary to show, in the time that `take` was given."""
        return min((own.due for own in self._own.values() if own.due is not None), default=None)

    def summaries(self, now: float) -> list[Tick]:
        """Group messages that have come further: how far, and with which members."""
        ticks = []
        for own in self._own.values():
            if own.due is not None and own.due <= now:
                own.due = None
                by = tuple(user for user, level in own.by.items() if level == own.level)
                ticks.append(Tick(own.message, own.level, by))
        return ticks

    def fail(self, change: StatusChange) -> Message | None:
        """The own message that was removed before anybody had it, if it is remembered."""
        own = self._own.pop(parse_message_id(change.message_id) or 0, None)
        return None if own is None else own.message

    def open(self, most: int) -> list[Message]:
        """The latest own messages that are not known to be read, oldest first."""
        unread = [own.message for own in self._own.values() if own.level is not Level.READ]
        return unread[-most:]

    def correct(self, message: Message) -> Tick | None:
        """What an own message shows that was asked for again, if it has come further."""
        seq = parse_message_id(message.id)
        own = None if seq is None else self._own.get(seq)
        level = _LEVELS.get(message.status, Level.SENT)
        if own is None or level <= own.level:
            return None
        own.level = level
        return Tick(message, level, ())

"""The groups that the user is in, and the people whom they know."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Final, NamedTuple

from imserver.domain.model import GROUP_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable

    from imserver.client import Group, Message

_MOST: Final = 5_000  # people that are remembered


class Partner(NamedTuple):
    """The other side of a conversation: a user or a group."""

    id: str
    is_group: bool


class Ambiguous(ValueError):
    """A name that stands for more than one; the text is a sentence."""


def partner_of(message: Message, user_id: str) -> Partner:
    """The conversation of a message, as `user_id` sees it."""
    if message.group_id is not None:
        return Partner(message.group_id, True)
    if message.sender_id != user_id:
        return Partner(message.sender_id, False)
    return Partner(message.receiver_id or user_id, False)


class Contacts:
    """Owner of the names that are known."""

    def __init__(self, user_id: str) -> None:
        self._people: dict[str, None] = {user_id: None}  # in the order of their appearance
        self._groups: dict[str, str] = {}  # names by id
        self.names: tuple[str, ...] = ()  # all, for completion; read by another thread

    def learn(self, groups: Iterable[Group]) -> None:
        """Take the groups that the user is in, and their members."""
        self._groups = {group.id: group.name for group in groups}
        for group in groups:
            self._meet([group.owner_id, *group.members])
        self._publish()

    def name_group(self, group_id: str, name: str) -> None:
        """Note what a group is called."""
        self._groups[group_id] = name
        self._publish()

    def forget_group(self, group_id: str) -> None:
        """The user is in it no more."""
        self._groups.pop(group_id, None)
        self._publish()

    def meet(self, *user_ids: str) -> None:
        """Add people whom the user has written to, heard from or shares a group with."""
        self._meet(user_ids)
        self._publish()

    def knows(self, user_id: str) -> bool:
        """Whether the user knows somebody."""
        return user_id in self._people

    def knows_group(self, group_id: str) -> bool:
        """Whether the name of a group is known."""
        return group_id in self._groups

    def find(self, name: str) -> Partner | None:
        """A group by its id or name, or somebody known; `@NAME` is a user in any case.

        None: the name is unknown.

        Raises:
            Ambiguous: it may be more than one of them.
        """
        if name.startswith("@"):
            return Partner(name[1:], False) if self.knows(name[1:]) else None
        if name in self._groups:
            return Partner(name, True)
        groups = [group_id for group_id, known in self._groups.items() if known == name]
        if groups and (len(groups) > 1 or self.knows(name)):
            choices = [f"/to {group_id}" for group_id in groups]
            if self.knows(name):
                choices.append(f"/to @{name} for the user")
            raise Ambiguous(f"more than one is called {name}: {', '.join(choices)}")
        if groups:
            return Partner(groups[0], True)
        return Partner(name, False) if self.knows(name) else None

    def similar(self, name: str) -> str | None:
        """A known name that was perhaps meant."""
        return next(iter(get_close_matches(name, self.names, 1)), None)

    def name(self, partner: Partner) -> str:
        """What somebody is called."""
        return self._groups.get(partner.id, partner.id) if partner.is_group else partner.id

    def _meet(self, user_ids: Iterable[str]) -> None:
        for user_id in user_ids:
            self._people.pop(user_id, None)
            self._people[user_id] = None
        while len(self._people) > _MOST:
            del self._people[next(iter(self._people))]

    def _publish(self) -> None:
        self.names = (*self._groups.values(), *self._people)


def looks_like_group(name: str) -> bool:
    """Whether a name has the form of a group's id."""
    return name.startswith(GROUP_PREFIX)

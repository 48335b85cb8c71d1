"""What a user can do with groups: the calls, one a method."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from imserver.domain import answered, requested
from imserver.domain.groups import Ban, Bans, OfGroup, SentInvitation, SentInvitations

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from msgspec import Struct

    from imserver.client.lifeline import Lifeline
    from imserver.domain.model import Group, Invitation, Member

T = TypeVar("T")


class _Page(Protocol):
    @property
    def next(self) -> str | None: ...


P = TypeVar("P", bound=_Page)


class GroupCalls:
    """The part of the client that is about groups.

    Most of it can be repeated without harm, and is after a reconnect. What cannot be raises
    `ConnectionLost` when the connection ends before the answer: whether it was done is unknown
    then. If it was, the group's system message comes as an event.
    """

    def __init__(self, line: Lifeline) -> None:
        self._line = line

    async def create_group(
        self,
        name: str,
        members: Iterable[str] = (),
        *,
        description: str = "",
        private: bool = False,
    ) -> Group:
        """Create a group of this user and `members`; a private one is joined by invitation.

        Raises:
            ConnectionLost: whether it was created is unknown.
        """
        request = requested.CreateGroup(name, description, list(members), private)
        answer = await self._line.ask("create_group", request, answered.OneGroup, repeatable=False)
        return answer.group

    async def get_group(self, group_id: str) -> Group:
        """A group that the user is in."""
        answer = await self._line.ask("get_group", requested.GroupRef(group_id), answered.OneGroup)
        return answer.group

    async def groups(self) -> list[Group]:
        """The groups that the user is in, in the order in which they joined them."""
        return await self._all(
            "list_groups", requested.Paged, answered.Groups, lambda page: page.groups
        )

    async def members(self, group_id: str) -> list[Member]:
        """Everyone in a group that the user is in, the owner included."""
        ask = partial(OfGroup, group_id)
        return await self._all("get_members", ask, answered.Members, lambda page: page.members)

    async def join(self, group_id: str) -> None:
        """Join a group; again changes nothing."""
        await self._line.ask("join_group", requested.GroupRef(group_id), answered.Success)

    async def leave(self, group_id: str) -> None:
        """Leave a group; again changes nothing."""
        await self._line.ask("leave_group", requested.GroupRef(group_id), answered.Success)

    async def update_group(
        self,
        group_id: str,
        *,
        name: str | None = None,
        description: str | None = None,
        private: bool | None = None,
    ) -> Group:
        """Rename or describe a group, or change who may join it; fields that are not given stay."""
        request = requested.UpdateGroup(group_id, name, description, private)
        return (await self._line.ask("update_group", request, answered.OneGroup)).group

    async def dissolve_group(self, group_id: str) -> None:
        """Close a group for good.

        Raises:
            ConnectionLost: whether it was closed is unknown.
        """
        request = requested.GroupRef(group_id)
        await self._line.ask("dissolve_group", request, answered.Success, repeatable=False)

    async def add_members(self, group_id: str, members: Iterable[str]) -> None:
        """Let users into a group; those in it already stay as they are."""
        request = requested.AddMembers(group_id, list(members))
        await self._line.ask("add_members", request, answered.Success)

    async def remove_member(self, group_id: str, user_id: str) -> None:
        """Put a member out of a group.

        Raises:
            ConnectionLost: whether they were put out is unknown.
        """
        request = requested.MemberRef(group_id, user_id)
        await self._line.ask("remove_member", request, answered.Success, repeatable=False)

    async def set_role(self, group_id: str, user_id: str, role: Literal["admin", "member"]) -> None:
        """Make a member an admin, or an admin a member again."""
        request = requested.SetRole(group_id, user_id, role)
        await self._line.ask("set_role", request, answered.Success)

    async def transfer_group(self, group_id: str, user_id: str) -> None:
        """Hand a group to another member.

        Raises:
            ConnectionLost: whether it was handed over is unknown.
        """
        request = requested.MemberRef(group_id, user_id)
        await self._line.ask("transfer_group", request, answered.Success, repeatable=False)

    async def invite(self, group_id: str, user_id: str) -> None:
        """Give a user leave to join; again changes nothing."""
        await self._line.ask("invite", requested.MemberRef(group_id, user_id), answered.Success)

    async def invitations(self) -> list[Invitation]:
        """The user's invitations that are neither taken nor declined, oldest first."""
        return await self._all(
            "list_invitations", requested.Paged, answered.Invitations, lambda page: page.invitations
        )

    async def sent_invitations(self, group_id: str) -> list[SentInvitation]:
        """A group's open invitations, for its owner and admins."""
        ask = partial(OfGroup, group_id)
        return await self._all(
            "list_group_invitations", ask, SentInvitations, lambda page: page.invitations
        )

    async def revoke_invitation(self, group_id: str, user_id: str) -> None:
        """Take an invitation back; without one nothing changes."""
        request = requested.MemberRef(group_id, user_id)
        await self._line.ask("revoke_invitation", request, answered.Success)

    async def bans(self, group_id: str) -> list[Ban]:
        """The users who may not join a group, for its owner and admins."""
        ask = partial(OfGroup, group_id)
        return await self._all("list_bans", ask, Bans, lambda page: page.bans)

    async def ban_member(self, group_id: str, user_id: str) -> None:
        """Keep a user out of a group; if they are in it, they are removed."""
        await self._line.ask("ban_member", requested.MemberRef(group_id, user_id), answered.Success)

    async def unban_member(self, group_id: str, user_id: str) -> None:
        """Let a user join again; without a ban nothing changes."""
        await self._line.ask(
            "unban_member", requested.MemberRef(group_id, user_id), answered.Success
        )

    async def decline(self, group_id: str) -> None:
        """Give an invitation back."""
        await self._line.ask("decline_invitation", requested.GroupRef(group_id), answered.Success)

    async def _all(
        self,
        operation: str,
        ask: Callable[[str | None, int], Struct],
        answer: type[P],
        of: Callable[[P], list[T]],
    ) -> list[T]:
        """Everything that a paged operation lists, page after page."""
        found: list[T] = []
        cursor: str | None = None
        while True:
            page = await self._line.ask(operation, ask(cursor, requested.MAX_LIMIT), answer)
            found += of(page)
            cursor = page.next
            if cursor is None:
                return found

"""Groups, as anybody uses them."""

from __future__ import annotations

from typing import Final

from imserver.domain import answered, requested
from imserver.domain import groups as group_payloads
from imserver.domain.errors import Code
from imserver.service.engine import Operation, Read, Rest, Who, Write
from imserver.service.groups import membership as groups

_NAMES: Final = 20  # users named in one request, that cost as much as one more request


def by_members(request: requested.CreateGroup | requested.AddMembers) -> int:
    """What a request costs that names users."""
    return 1 + len(request.members or ()) // _NAMES


OPERATIONS: Final[tuple[Operation, ...]] = (
    Write(
        name="create_group",
        summary="Create a group",
        request=requested.CreateGroup,
        answer=answered.OneGroup,
        ws="create_group",
        rest=Rest("POST", "/api/v1/groups"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND, Code.TOO_LARGE),
        cost=by_members,
        handle=groups.create_group,
    ),
    Read(
        name="get_group",
        summary="Get a group that the caller is in",
        request=requested.GroupRef,
        answer=answered.OneGroup,
        who=Who.MEMBER,
        ws="get_group",
        rest=Rest("GET", "/api/v1/groups/{group_id}"),
        errors=(Code.NOT_FOUND,),
        handle=groups.get_group,
    ),
    Read(
        name="get_members",
        summary="List everyone in a group that the caller is in",
        request=group_payloads.OfGroup,
        answer=answered.Members,
        who=Who.MEMBER,
        ws="get_members",
        rest=Rest("GET", "/api/v1/groups/{group_id}/members"),
        errors=(Code.NOT_FOUND,),
        handle=groups.get_members,
    ),
    Write(
        name="join_group",
        summary="Join a group",
        request=requested.GroupRef,
        answer=answered.Success,
        ws="join_group",
        rest=Rest("POST", "/api/v1/groups/{group_id}/join"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND, Code.TOO_LARGE),
        handle=groups.join_group,
    ),
    Write(
        name="leave_group",
        summary="Leave a group",
        request=requested.GroupRef,
        answer=answered.Success,
        ws="leave_group",
        rest=Rest("POST", "/api/v1/groups/{group_id}/leave"),
        errors=(Code.NOT_FOUND,),
        handle=groups.leave_group,
    ),
    Read(
        name="list_groups",
        summary="List the groups that the caller is in",
        request=requested.Paged,
        answer=answered.Groups,
        ws="list_groups",
        rest=Rest("GET", "/api/v1/groups"),
        handle=groups.list_groups,
    ),
)

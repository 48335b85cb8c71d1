"""Groups, for their owners and admins, and for those whom they invite."""

from __future__ import annotations

from typing import Final

from imserver.domain import frames
from imserver.domain.errors import Code
from imserver.service.engine import Operation, Read, Rest, Who, Write
from imserver.service.groups import governance
from imserver.service.groups import membership as groups
from imserver.service.operations.grouping import by_members

OPERATIONS: Final[tuple[Operation, ...]] = (
    Write(
        name="update_group",
        summary="Rename or describe a group, or change who may join it",
        request=frames.UpdateGroup,
        answer=frames.OneGroup,
        who=Who.ADMIN,
        ws="update_group",
        rest=Rest("PATCH", "/api/v1/groups/{group_id}"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=governance.update_group,
    ),
    Write(
        name="dissolve_group",
        summary="Close a group for good",
        request=frames.GroupRef,
        answer=frames.Success,
        who=Who.OWNER,
        ws="dissolve_group",
        rest=Rest("DELETE", "/api/v1/groups/{group_id}"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=governance.dissolve_group,
    ),
    Write(
        name="add_members",
        summary="Let users into a group",
        request=frames.AddMembers,
        answer=frames.Success,
        who=Who.ADMIN,
        ws="add_members",
        rest=Rest("POST", "/api/v1/groups/{group_id}/members"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND, Code.TOO_LARGE),
        cost=by_members,
        handle=governance.add_members,
    ),
    Write(
        name="remove_member",
        summary="Put a member out of a group",
        request=frames.MemberRef,
        answer=frames.Success,
        who=Who.ADMIN,
        ws="remove_member",
        rest=Rest("DELETE", "/api/v1/groups/{group_id}/members/{user_id}"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=governance.remove_member,
    ),
    Write(
        name="set_role",
        summary="Make a member an admin, or an admin a member",
        request=frames.SetRole,
        answer=frames.Success,
        who=Who.OWNER,
        ws="set_role",
        rest=Rest("PUT", "/api/v1/groups/{group_id}/members/{user_id}"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=governance.set_role,
    ),
    Write(
        name="transfer_group",
        summary="Hand a group to another member",
        request=frames.MemberRef,
        answer=frames.Success,
        who=Who.OWNER,
        ws="transfer_group",
        rest=Rest("POST", "/api/v1/groups/{group_id}/transfer"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=governance.transfer_group,
    ),
    Write(
        name="invite",
        summary="Invite a user to a group",
        request=frames.MemberRef,
        answer=frames.Success,
        who=Who.ADMIN,
        ws="invite",
        rest=Rest("POST", "/api/v1/groups/{group_id}/invitations"),
        errors=(Code.FORBIDDEN, Code.NOT_FOUND),
        handle=governance.invite,
    ),
    Read(
        name="list_invitations",
        summary="List the caller's invitations",
        request=frames.Nothing,
        answer=frames.Invitations,
        ws="list_invitations",
        rest=Rest("GET", "/api/v1/invitations"),
        handle=groups.list_invitations,
    ),
    Write(
        name="decline_invitation",
        summary="Give an invitation back",
        request=frames.GroupRef,
        answer=frames.Success,
        ws="decline_invitation",
        rest=Rest("DELETE", "/api/v1/invitations/{group_id}"),
        handle=groups.decline_invitation,
    ),
)

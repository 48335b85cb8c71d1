"""Who may do what: every operation on a group or a message, tried as everyone there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imserver.service.engine import Who
from imserver.service.operations import OPERATIONS
from tests.contract.api import TRANSPORTS, Api, acting
from tests.support import Refused, running_server
from tests.support.tokens import Issuer

if TYPE_CHECKING:
    from pathlib import Path

    from imserver import Server

# The administrator, of the server, is a stranger to the group as everyone else is.
PEOPLE = ("stranger", "administrator", "invited", "former", "member", "admin", "owner")
ISSUER = Issuer()

# Who gets through, by what the table says; everyone else gets the code of their line.
MAY = {
    Who.USER: PEOPLE,
    Who.PARTICIPANT: ("member", "admin", "owner"),
    Who.RECIPIENT: ("member", "admin"),
    Who.MEMBER: ("member", "admin", "owner"),
    Who.ADMIN: ("admin", "owner"),
    Who.OWNER: ("owner",),
}
REQUESTS: dict[str, dict[str, Any]] = {
    "ack": {"status": "read"},
    "add_members": {"members": ["late"]},
    "remove_member": {"user_id": "victim"},
    "set_role": {"user_id": "victim", "role": "admin"},
    "transfer_group": {"user_id": "victim"},
    "invite": {"user_id": "late"},
    "revoke_invitation": {"user_id": "late"},
    "ban_member": {"user_id": "victim"},
    "unban_member": {"user_id": "late"},
    "update_group": {"name": "New"},
    "search_messages": {"q": "hello"},
}
# Operations of any user: what the group's being private, and one's part in it, do to them.
BY_MEMBERSHIP = {
    "send_message": ("member", "admin", "owner"),
    "get_conversation": ("former", "member", "admin", "owner"),
    "mark_read": ("member", "admin", "owner"),  # tried with a message after the former's time
    "get_history": ("former", "member", "admin", "owner"),
    "search_messages": ("former", "member", "admin", "owner"),
    "join_group": ("invited", "member", "admin", "owner"),
    "leave_group": ("former", "member", "admin", "owner"),
}


async def private_group(server: Server, owner: Api) -> tuple[str, str]:
    """A private group with somebody of every kind, and a message of its owner's in it."""
    group_id = await owner.create_group("former", "member", "admin", "victim", private=True)
    await owner.govern("set_role", group_id, user_id="admin", role="admin")
    await owner.govern("remove_member", group_id, user_id="former")
    await owner.govern("invite", group_id, user_id="invited")
    return group_id, await owner.send_to_group(group_id)


def test_every_operation_is_tried() -> None:
    # What is for administrators is tried as everyone in test_administration.
    assert {operation.who for operation in OPERATIONS} - {Who.ANYONE, Who.ADMINISTRATOR} == set(MAY)


@pytest.mark.parametrize("transport", TRANSPORTS)
@pytest.mark.parametrize("person", PEOPLE)
@pytest.mark.parametrize(
    "operation",
    [
        op
        for op in OPERATIONS
        if op.who is not Who.ANYONE and op.ws and op.rest and "/auth/" not in op.rest.path
    ],
    ids=lambda op: op.name,
)
async def test_who_may(operation: Any, person: str, transport: str, tmp_path: Path) -> None:
    auth = ISSUER.auth(tmp_path, administrators=("administrator",))
    async with (
        running_server(auth=auth) as server,
        acting(server, transport, "owner", ISSUER.token("owner")) as owner,
        acting(server, transport, person, ISSUER.token(person)) as actor,
    ):
        group_id, message_id = await private_group(server, owner)
        request = REQUESTS.get(operation.name, {})
        fields = operation.request.__struct_fields__
        if "group_id" in fields:
            request = request | {"group_id": group_id}
        if "message_id" in fields:
            request = request | {"message_id": message_id}
        if "content" in fields:
            request = request | {"content": "hello"}
        if operation.name == "create_group":
            request = {"name": "mine"}
        may = BY_MEMBERSHIP.get(operation.name, MAY[operation.who])
        if person in may:
            await actor.call(operation.name, request)
        else:
            with pytest.raises(Refused) as refused:
                await actor.call(operation.name, request)
            # To those who are not in it, a private group does not exist.
            outside = person in ("stranger", "administrator", "invited", "former")
            assert refused.value.code == ("not_found" if outside else "forbidden")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_nobody_removes_a_higher_or_equal_role(transport: str) -> None:
    async with (
        running_server() as server,
        acting(server, transport, "owner") as owner,
        acting(server, transport, "admin") as admin,
    ):
        group_id, _ = await private_group(server, owner)
        await owner.govern("set_role", group_id, user_id="victim", role="admin")
        for user_id in ("owner", "victim", "admin"):
            with pytest.raises(Refused) as refused:
                await admin.govern("remove_member", group_id, user_id=user_id)
            assert refused.value.code == "forbidden"
        await owner.govern("remove_member", group_id, user_id="victim")
        with pytest.raises(Refused):
            await owner.govern("set_role", group_id, user_id="owner", role="member")

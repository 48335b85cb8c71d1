"""Each operation as one method, over either transport: scenarios are written once.

Types, methods and paths are written out here as the API document has them, and not taken from
the server's own table: `test_operations` compares the two.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest

from tests.support import Refused, Rest, Socket, connect, login, rest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable

    from imserver import Server

WEBSOCKET = "websocket"
REST = "rest"
TRANSPORTS = (WEBSOCKET, REST)

PATHS = {
    "send_message": ("POST", "/api/v1/messages"),
    "get_message": ("GET", "/api/v1/messages/{message_id}"),
    "list_conversations": ("GET", "/api/v1/conversations"),
    "get_conversation": ("GET", "/api/v1/users/{user_id}/conversation"),
    "mark_read": ("POST", "/api/v1/users/{user_id}/conversation/read"),
    "get_history": ("GET", "/api/v1/users/{user_id}/messages"),
    "search_messages": ("GET", "/api/v1/search"),
    "ack": ("POST", "/api/v1/messages/{message_id}/ack"),
    "sync_offline": ("GET", "/api/v1/messages/offline"),
    "create_group": ("POST", "/api/v1/groups"),
    "get_group": ("GET", "/api/v1/groups/{group_id}"),
    "get_members": ("GET", "/api/v1/groups/{group_id}/members"),
    "join_group": ("POST", "/api/v1/groups/{group_id}/join"),
    "leave_group": ("POST", "/api/v1/groups/{group_id}/leave"),
    "list_groups": ("GET", "/api/v1/groups"),
    "update_group": ("PATCH", "/api/v1/groups/{group_id}"),
    "dissolve_group": ("DELETE", "/api/v1/groups/{group_id}"),
    "add_members": ("POST", "/api/v1/groups/{group_id}/members"),
    "remove_member": ("DELETE", "/api/v1/groups/{group_id}/members/{user_id}"),
    "set_role": ("PUT", "/api/v1/groups/{group_id}/members/{user_id}"),
    "transfer_group": ("POST", "/api/v1/groups/{group_id}/transfer"),
    "invite": ("POST", "/api/v1/groups/{group_id}/invitations"),
    "list_group_invitations": ("GET", "/api/v1/groups/{group_id}/invitations"),
    "revoke_invitation": ("DELETE", "/api/v1/groups/{group_id}/invitations/{user_id}"),
    "list_bans": ("GET", "/api/v1/groups/{group_id}/bans"),
    "ban_member": ("PUT", "/api/v1/groups/{group_id}/bans/{user_id}"),
    "unban_member": ("DELETE", "/api/v1/groups/{group_id}/bans/{user_id}"),
    "list_invitations": ("GET", "/api/v1/invitations"),
    "decline_invitation": ("DELETE", "/api/v1/invitations/{group_id}"),
    "logout": ("POST", "/api/v1/auth/logout"),
    "list_sessions": ("GET", "/api/v1/auth/sessions"),
    "revoke_session": ("DELETE", "/api/v1/auth/sessions/{token_id}"),
    "revoke_other_sessions": ("DELETE", "/api/v1/auth/sessions"),
    "change_password": ("POST", "/api/v1/auth/password"),
}

# Operations on a conversation: their paths if it is a group's.
GROUP_PATHS = {
    "get_conversation": "/api/v1/groups/{group_id}/conversation",
    "mark_read": "/api/v1/groups/{group_id}/conversation/read",
    "get_history": "/api/v1/groups/{group_id}/messages",
}

# Over REST alone, for administrators and the operator.
ADMIN_PATHS = {
    "list_users": ("GET", "/api/v1/admin/users"),
    "add_user": ("POST", "/api/v1/admin/users"),
    "get_user": ("GET", "/api/v1/admin/users/{user_id}"),
    "update_user": ("PATCH", "/api/v1/admin/users/{user_id}"),
    "set_password": ("PUT", "/api/v1/admin/users/{user_id}/password"),
    "list_user_sessions": ("GET", "/api/v1/admin/users/{user_id}/sessions"),
    "revoke_user_session": ("DELETE", "/api/v1/admin/users/{user_id}/sessions/{token_id}"),
    "revoke_user_sessions": ("DELETE", "/api/v1/admin/users/{user_id}/sessions"),
    "disconnect_user": ("POST", "/api/v1/admin/users/{user_id}/disconnect"),
    "read_audit": ("GET", "/api/v1/admin/audit"),
}


class Api(ABC):
    """What one user can ask for; every method raises `Refused` where the server refuses."""

    @abstractmethod
    async def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """Do an operation and return the payload of its answer."""

    async def send_message(self, **request: Any) -> dict[str, Any]:
        """Send a message; the whole answer."""
        return await self.call("send_message", request)

    async def send(self, receiver_id: str, content: str = "hello") -> str:
        """Send a direct text message; its id."""
        answer = await self.send_message(receiver_id=receiver_id, content=content)
        return answer["message_id"]

    async def send_to_group(self, group_id: str, content: str = "hello") -> str:
        """Send a text message to a group; its id."""
        answer = await self.send_message(group_id=group_id, content=content)
        return answer["message_id"]

    async def get_message(self, message_id: str) -> dict[str, Any]:
        """One message."""
        return (await self.call("get_message", {"message_id": message_id}))["message"]

    async def status(self, message_id: str) -> str:
        """The status of a message, as this user sees it."""
        return (await self.get_message(message_id))["status"]

    async def ack(self, message_id: str, status: str = "read", **more: Any) -> dict[str, Any]:
        """Acknowledge a message."""
        return await self.call("ack", {"message_id": message_id, "status": status} | more)

    async def sync_offline(self, **request: Any) -> dict[str, Any]:
        """A page of sync."""
        return await self.call("sync_offline", request)

    async def synced(self, **request: Any) -> list[str]:
        """The ids on a page of sync."""
        return [message["id"] for message in (await self.sync_offline(**request))["messages"]]

    async def create_group(self, *members: str, name: str = "a group", **more: Any) -> str:
        """Found a group; its id."""
        request = {"name": name, "members": list(members)} | more
        return (await self.call("create_group", request))["group"]["id"]

    async def get_group(self, group_id: str) -> dict[str, Any]:
        """A group."""
        return (await self.call("get_group", {"group_id": group_id}))["group"]

    async def get_members(self, group_id: str) -> list[dict[str, Any]]:
        """Everyone in a group."""
        return (await self.call("get_members", {"group_id": group_id}))["members"]

    async def join_group(self, group_id: str) -> dict[str, Any]:
        """Join a group."""
        return await self.call("join_group", {"group_id": group_id})

    async def leave_group(self, group_id: str) -> dict[str, Any]:
        """Leave a group."""
        return await self.call("leave_group", {"group_id": group_id})

    async def govern(self, operation: str, group_id: str, **request: Any) -> dict[str, Any]:
        """Do something to a group that a role is needed for."""
        return await self.call(operation, {"group_id": group_id} | request)


class OverWebSocket(Api):
    """An operation is a frame of its own type."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket

    async def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """See `Api`."""
        return await self.socket.call(operation, request)


class OverRest(Api):
    """An operation is a method and a path, which takes up some fields of the request."""

    def __init__(self, rest: Rest) -> None:
        self.rest = rest

    async def call(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        """See `Api`."""
        method, template = (PATHS | ADMIN_PATHS)[operation]
        if operation in GROUP_PATHS and "user_id" not in request:
            template = GROUP_PATHS[operation]
        path = template.format(**{key: quote(str(value), "") for key, value in request.items()})
        others = {key: value for key, value in request.items() if f"{{{key}}}" not in template}
        if method == "GET":
            return await self.rest.get(path, **others)
        return await self.rest.ask(method, path, others or None)


async def refusal_of(call: Awaitable[Any]) -> dict[str, Any]:
    """The payload with which a call is refused, as it must be."""
    with pytest.raises(Refused) as refused:
        await call
    return refused.value.answer


async def code_of(call: Awaitable[Any]) -> str:
    """The code with which a call is refused, as it must be."""
    return (await refusal_of(call))["code"]


@asynccontextmanager
async def acting(
    server: Server, transport: str, user_id: str | None, token: str | None = None
) -> AsyncIterator[Api]:
    """The operations as `user_id`, or as nobody, over one of `TRANSPORTS`."""
    if transport == REST:
        async with rest(server, user_id, token) as calls:
            yield OverRest(calls)
    elif user_id is None:
        async with connect(server) as socket:
            yield OverWebSocket(socket)
    else:
        async with login(server, user_id, token or "auth_token") as socket:
            yield OverWebSocket(socket)

"""A client of the server, on trio: calls, events, and a connection that comes back by itself.

    async with open_client("http://127.0.0.1:8080", "alice") as client:
        await client.send("hello", to="bob")
        async for event in client:
            match event:
                case Message():
                    print(event.sender_id, event.content)

Each message is seen once and in order, across reconnects and restarts of the server.
"""

from __future__ import annotations

from imserver.client.client import Client, open_client
from imserver.client.client_errors import (
    ClientClosed,
    ClientError,
    ConnectionLost,
    Refused,
    Unreachable,
    Unread,
)
from imserver.client.client_events import Disconnected, Event, Gap, Reconnected
from imserver.client.connection import Patience
from imserver.client.history_calls import HistoryPage
from imserver.client.inbox import SyncPage
from imserver.client.search_calls import SearchHit, SearchPage
from imserver.client.sign_in import log_in, log_out, set_password
from imserver.domain.answered import AuthSession, StatusChange, TokenIssued
from imserver.domain.conversations import Conversation, Conversations
from imserver.domain.errors import Code
from imserver.domain.model import Group, Invitation, Member, Message

__all__ = [
    "AuthSession",
    "Client",
    "ClientClosed",
    "ClientError",
    "Code",
    "ConnectionLost",
    "Conversation",
    "Conversations",
    "Disconnected",
    "Event",
    "Gap",
    "Group",
    "HistoryPage",
    "Invitation",
    "Member",
    "Message",
    "Patience",
    "Reconnected",
    "Refused",
    "SearchHit",
    "SearchPage",
    "StatusChange",
    "SyncPage",
    "TokenIssued",
    "Unreachable",
    "Unread",
    "log_in",
    "log_out",
    "open_client",
    "set_password",
]

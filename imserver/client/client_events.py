"""What the client tells a program, in one stream; all frozen."""

from __future__ import annotations

from msgspec import Struct

from imserver.domain.answered import StatusChange
from imserver.domain.model import Invitation, Message


class Disconnected(Struct, frozen=True):
    """The connection is lost; the client is trying to get it back."""

    reason: str
    code: int | None = None  # of the WebSocket's close, where there was one


class Reconnected(Struct, frozen=True):
    """The connection is back. What was missed follows, except invitations and status changes other
    than `failed`: those are not sent again, ask for them."""


class Gap(Struct, frozen=True):
    """Messages are missing before those that follow, and cannot be had any more.

    Retention has removed what is older than `oldest_message_id`; or the server was `restored`
    from an older copy: then everything not acknowledged there follows, and ids that were seen
    before may come again, for other messages too.
    """

    oldest_message_id: str | None = None
    restored: bool = False


Event = Message | StatusChange | Invitation | Gap | Disconnected | Reconnected

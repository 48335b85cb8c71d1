"""Messages, groups and users as clients see them, and the form of their ids.

Field names and their order are those of the API document. Times are integer milliseconds since
the epoch in messages, RFC 3339 UTC in groups.
"""

from __future__ import annotations

import unicodedata
from bisect import bisect_right
from datetime import UTC, datetime
from enum import IntEnum
from functools import cached_property
from typing import Final, NamedTuple

from msgspec import Struct

from imserver.domain.errors import ApiError, Code
from imserver.domain.media import FileView

MAX_USER_ID: Final = 64  # characters
MAX_CLIENT_MSG_ID: Final = 128  # characters
MAX_GROUP_NAME: Final = 128  # characters
MAX_GROUP_DESCRIPTION: Final = 1024  # characters
FIRST_ADMINISTRATOR: Final = "admin"  # created on a server in `token` mode without accounts
SYSTEM_USER: Final = "system"  # the sender of system messages; no user may have this id
FAILED: Final = "failed"  # the status of a message that was removed before delivery
DAY_MS: Final = 86_400_000
MIN_RETENTION_DAYS: Final = 0.001  # a minute and a half
MAX_RETENTION_DAYS: Final = 36_500

MESSAGE_TYPES: Final = ("text", "image", "file", "voice", "video", "system")
MESSAGE_PREFIX: Final = "msg_"
GROUP_PREFIX: Final = "group_"
MAX_SEQ: Final = 2**63 - 1  # SQLite's largest rowid


_NOT_IN_IDS: Final = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp", "Zs"))
_BREAKS: Final = frozenset(("Cc", "Cs", "Zl", "Zp"))
# Default_Ignorable_Code_Point of Unicode's DerivedCoreProperties.txt, and U+2800, the blank
# pattern of Braille: first and last of each range.
_UNSEEN: Final = (
    (0x00AD, 0x00AD), (0x034F, 0x034F), (0x061C, 0x061C), (0x115F, 0x1160), (0x17B4, 0x17B5),
    (0x180B, 0x180F), (0x200B, 0x200F), (0x202A, 0x202E), (0x2060, 0x206F), (0x2800, 0x2800),
    (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFEFF, 0xFEFF), (0xFFA0, 0xFFA0), (0xFFF0, 0xFFF8),
    (0x1BCA0, 0x1BCA3), (0x1D173, 0x1D17A), (0xE0000, 0xE0FFF),
)  # fmt: skip


class Grant(NamedTuple):
    """What is known about the caller."""

    user_id: str  # well formed; "" is nobody
    administrator: bool = False
    expires: int | None = None  # milliseconds since the epoch; None: never
    token_id: str = ""  # of a token of the caller's own account
    must_change: bool = False  # the caller may only change the password


NOBODY: Final = Grant("")


class Role(IntEnum):
    """A member's role in a group; the number is what the database holds."""

    MEMBER = 0
    ADMIN = 1
    OWNER = 2

    @cached_property
    def label(self) -> str:
        """The role as clients see it."""
        return self.name.lower()


class Level(IntEnum):
    """A message's status for one recipient. Each level includes the levels below it."""

    SENT = 0
    DELIVERED = 1
    READ = 2

    @cached_property
    def label(self) -> str:
        """The status as clients see it."""
        return self.name.lower()


class Peer(Struct, frozen=True):
    """The other end of a connection or, behind a reverse proxy, of a request."""

    address: str = ""  # the client's, as far as known; "": it came by a Unix socket
    proxied: bool = False  # it came through a trusted proxy, whose headers are believed
    operator: bool = False  # it came by the control socket, open to the server's account only
    os_user: str = ""  # the operator's name on this machine


class Event(Struct, frozen=True, omit_defaults=True):
    """What a system message reports, for programs."""

    kind: str  # created, join, leave, added, removed, role, transfer, updated, dissolved
    user_id: str  # the user concerned
    by: str  # the user who did it
    role: str | None = None  # the new role, if `kind` is `role`
    user_ids: list[str] | None = None  # all users concerned, if there are several
    name: str | None = None  # the group's, if it is new
    private: bool | None = None  # whether the group is now, if that has changed
    changed: list[str] | None = None  # properties of the group that have changed


class Forwarded(Struct, frozen=True):
    """Who wrote what was forwarded, and when, in milliseconds."""

    sender_id: str
    timestamp: int


class Message(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """A message as its recipients see it. It has `receiver_id` or `group_id`, never both."""

    id: str
    sender_id: str
    receiver_id: str | None = None
    group_id: str | None = None
    type: str
    content: str
    status: str
    timestamp: int
    event: Event | None = None
    attachments: tuple[FileView, ...] = ()
    reply_to: str | None = None  # the message answered, which may be gone
    thread_id: str | None = None  # the first message of that thread
    replies: int = 0  # in the thread that it begins; 1000: that or more
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    forwarded: Forwarded | None = None


class Group(Struct, frozen=True, omit_defaults=True):
    """A group. `members` are all except the owner, in the order in which they joined."""

    id: str
    name: str
    description: str
    owner_id: str
    members: list[str]
    created_at: str
    updated_at: str
    private: bool = False  # joining needs an invitation
    retention_days: float = 0  # how long it keeps messages; 0: as long as the server


class Invitation(Struct, frozen=True):
    """Permission to join a private group."""

    group_id: str
    name: str
    invited_by: str
    invited_at: str


class Member(Struct, frozen=True):
    """One user's membership of one group."""

    id: str
    group_id: str
    user_id: str
    role: str
    joined_at: str


def message_id(seq: int) -> str:
    """The id of the message with number `seq` in the server's order."""
    return f"{MESSAGE_PREFIX}{seq}"


def parse_message_id(text: str) -> int | None:
    """The number of a message in the server's order; None if `text` is not a message id."""
    digits = text.removeprefix(MESSAGE_PREFIX)
    if digits == text or not digits.isascii() or not digits.isdigit() or len(digits) > 19:
        return None
    seq = int(digits)
    # An id has one spelling only: msg_007 is not an id.
    return seq if seq <= MAX_SEQ and str(seq) == digits else None


def is_unseen(character: str) -> bool:
    """Whether a character is invisible. Two names that differ by it would look the same."""
    point = ord(character)
    at = bisect_right(_UNSEEN, (point, MAX_SEQ)) - 1
    return at >= 0 and point <= _UNSEEN[at][1]


def is_one_line(text: str) -> bool:
    """Whether a text has no control characters and no line breaks."""
    return text.isprintable() or not any(
        unicodedata.category(character) in _BREAKS for character in text
    )


def check_user_id(user_id: str, name: str = "user_id") -> str:
    """Return `user_id` if it is well formed.

    1-64 characters, no white space and no control or formatting characters of any script.

    Raises:
        ApiError: `invalid_request`, naming the field `name`; `forbidden` for the server's own id.
    """
    if not 1 <= len(user_id) <= MAX_USER_ID:
        raise ApiError(Code.INVALID_REQUEST, f"{name} must have 1 to {MAX_USER_ID} characters")
    # Fast path: nearly all ids are printable ASCII.
    if not (user_id.isascii() and user_id.isprintable() and " " not in user_id):
        for character in user_id:
            if unicodedata.category(character) in _NOT_IN_IDS or is_unseen(character):
                raise ApiError(
                    Code.INVALID_REQUEST,
                    f"{name} must not contain white space, control or invisible characters",
                )
    if user_id == SYSTEM_USER:
        raise ApiError(Code.FORBIDDEN, f'"{SYSTEM_USER}" is the server itself')
    return user_id


def rfc3339(time_ms: int) -> str:
    """A time in the format of groups: UTC, in whole seconds, with `Z`."""
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

"""Lists of groups, members and invitations, a page at a time.

A cursor is what the page before gave as `next`: the place behind which the next page begins. It is
opaque to clients, and holds nothing that they may not know.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from imserver.domain.answered import Groups, Invitations, Members
from imserver.domain.errors import ApiError, Code
from imserver.domain.model import MAX_SEQ, Invitation, rfc3339
from imserver.store import group_views, queries, reading

if TYPE_CHECKING:
    import apsw

    from imserver.domain.model import Group

_ALL: Final = MAX_SEQ  # as a limit


def groups_page(
    db: apsw.Connection, user_id: str, cursor: str | None, limit: int, max_bytes: int
) -> Groups:
    """The groups that a user is in, in the order in which they joined them.

    A page ends at `max_bytes` of JSON too, with one group at least.

    Raises:
        ApiError: `invalid_request` for a cursor that no page has given.
    """
    uid = reading.find_uid(db, user_id)
    (after,) = _places(cursor, 1)
    groups: list[Group] = []
    size, last = 0, after
    for group_id, from_seq in reading.every(db, queries.GROUPS_OF, (uid, after, limit + 1)):
        view = group_views.find_group(db, group_id)
        if view is None:
            continue
        group = view.describe()
        size += len(msgspec.json.encode(group))
        if len(groups) == limit or (groups and size > max_bytes):
            return Groups(groups, str(last))
        groups.append(group)
        last = from_seq
    return Groups(groups)


def members_page(
    db: apsw.Connection, group_id: str, cid: int, cursor: str | None, limit: int | None
) -> Members:
    """The members of a group, in the order in which they came; all of them without a limit.

    Raises:
        ApiError: `invalid_request` for a cursor that no page has given.
    """
    joined, ordinal = _places(cursor, 2)
    most = _ALL if limit is None else limit + 1
    rows = reading.every(db, queries.MEMBERS_AFTER, (cid, joined, ordinal, most))
    shown = rows if limit is None else rows[:limit]
    members = [group_views.member(group_id, cid, *row[:4]) for row in shown]
    if len(rows) == len(shown):
        return Members(members)
    return Members(members, f"{shown[-1][4]}.{shown[-1][5]}")


def invitations_page(
    db: apsw.Connection, user_id: str, cursor: str | None, limit: int
) -> Invitations:
    """The invitations that a user has neither taken nor declined, oldest first.

    Raises:
        ApiError: `invalid_request` for a cursor that no page has given.
    """
    uid = reading.find_uid(db, user_id)
    invited, conversation = _places(cursor, 2)
    rows: list[Any] = reading.every(
        db, queries.INVITATIONS_OF, (uid, invited, conversation, limit + 1)
    )
    shown = rows[:limit]
    invitations = [
        Invitation(group_id, name, by, rfc3339(invited_ms))
        for group_id, name, by, invited_ms, _ in shown
    ]
    if len(rows) == len(shown):
        return Invitations(invitations)
    return Invitations(invitations, f"{shown[-1][3]}.{shown[-1][4]}")


def _places(cursor: str | None, count: int) -> list[int]:
    """The numbers in a cursor; without one, those before everything."""
    if not cursor:
        return [-1] * count
    parts = cursor.split(".")
    if len(parts) != count or not all(
        part.isascii() and part.isdigit() and len(part) < 20 for part in parts
    ):
        raise ApiError(Code.INVALID_REQUEST, "cursor must be the next of an earlier page")
    places = [int(part) for part in parts]
    if max(places) > MAX_SEQ:
        raise ApiError(Code.INVALID_REQUEST, "cursor must be the next of an earlier page")
    return places

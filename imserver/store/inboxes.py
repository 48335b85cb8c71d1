"""A user's conversations: the order of their newest messages, and what is unread in them.

Unread messages are counted when somebody asks, and never kept: so no sequence of sends, reads,
removals and rejoins can make the count wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from imserver.domain.conversations import Conversation
from imserver.domain.model import MAX_SEQ, Role, message_id
from imserver.store import queries, runs
from imserver.store.reading import every, find_uid, one
from imserver.store.stretches import newest_visible
from imserver.store.viewing import find_row, views

if TYPE_CHECKING:
    import apsw

MOST_UNREAD: Final = 1000  # stands for more


class Place(NamedTuple):
    """Where a conversation stands in the list."""

    newest: int  # the place of its newest message, or of the last that was removed
    cid: int


class Listing(NamedTuple):
    """A page of a user's conversations."""

    conversations: list[Conversation]
    unread: int
    following: Place | None


def list_page(
    db: apsw.Connection, user_id: str, *, behind: Place | None, limit: int, unread_only: bool
) -> Listing:
    """The conversations that the user is in now, the one with the newest message first.

    The work is one search in the index for each of them. Messages are counted for those on the
    page, and elsewhere until the sum is `MOST_UNREAD`.
    """
    uid = find_uid(db, user_id)
    if uid is None:
        return Listing([], 0, None)
    found = sorted(every(db, queries.NEWEST_IN_EACH, {"uid": uid}), reverse=True)
    counts: dict[int, int] = {}
    page: list[Place] = []
    following = None
    for newest, cid, read in found:
        place = Place(newest, cid)
        if behind is not None and place >= behind:
            continue
        if unread_only and len(page) <= limit:
            counts[cid] = _unread(db, uid, cid, newest, read, MOST_UNREAD)
            if not counts[cid]:
                continue
        if len(page) == limit:
            following = page[-1]
            break
        page.append(place)
        if cid not in counts:
            counts[cid] = _unread(db, uid, cid, newest, read, MOST_UNREAD)
    total = sum(counts.values())
    for newest, cid, read in found:
        if total >= MOST_UNREAD:
            break
        if cid not in counts:
            total += _unread(db, uid, cid, newest, read, MOST_UNREAD - total)
    conversations = [_view(db, uid, place.cid, place.newest, counts[place.cid]) for place in page]
    return Listing(conversations, min(total, MOST_UNREAD), following)


def view(db: apsw.Connection, uid: int, cid: int) -> Conversation:
    """One conversation that the user is in, or was."""
    newest = newest_visible(db, uid, cid)
    read = one(db, queries.FIND_MEMBER, cid, uid)[3]
    unread = _unread(db, uid, cid, newest or 0, read, MOST_UNREAD)
    return _view(db, uid, cid, newest or 0, unread)


def _unread(db: apsw.Connection, uid: int, cid: int, newest: int, read: int, most: int) -> int:
    """How many messages of others the user has not read; long runs of their own are skipped."""
    if newest <= read:
        return 0
    count = 0
    for first, upto in runs.stretches(db, cid, uid, read + 1, MAX_SEQ):
        args = {"uid": uid, "cid": cid, "after": first - 1, "upto": upto, "limit": most - count}
        count += every(db, queries.UNREAD, args)[0][0]
        if count >= most:
            break
    return count


def _view(db: apsw.Connection, uid: int, cid: int, newest: int, unread: int) -> Conversation:
    active, role, delivered, read = one(db, queries.FIND_MEMBER, cid, uid)
    group_id, group_name, other_uid, other = one(db, queries.CONVERSATION, cid, uid)
    peer_delivered = peer_read = 0
    if group_id is None:
        _, _, peer_delivered, peer_read = one(db, queries.FIND_MEMBER, cid, other_uid)
    row = find_row(db, newest)
    last = None if row is None else views(db, uid, [row])[0]
    return Conversation(
        user_id=other,
        group_id=group_id,
        name=group_name or other or "",
        last_message=last,
        unread=unread,
        read_id=_id(read),
        delivered_id=_id(delivered),
        peer_read_id=_id(peer_read),
        peer_delivered_id=_id(peer_delivered),
        members=one(db, queries.COUNT_MEMBERS, cid)[0],
        role=Role(role).label if group_id is not None and active else None,
        updated_at=None if last is None else last.timestamp,
    )


def _id(seq: int) -> str | None:
    return message_id(seq) if seq else None

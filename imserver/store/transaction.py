"""What a write may do, in the product's own words.

A `Transaction` lives as long as the writer and is used by one thread at a time, inside
`BEGIN IMMEDIATE` ... `COMMIT`. It remembers users, direct conversations and rosters, so that a
send to a known conversation asks the database nothing before it writes. Laws:

- Whatever it remembers was true at the last commit or was written since; after a rollback it
  `forget`s all.
- Messages are written many to a statement, before anything else is asked of the database: nobody
  who asks through `db` can tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import Struct, json, structs

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import MESSAGE_TYPES, Event, Level, Role
from imserver.store import accounts_queries, queries, reading
from imserver.store.search import documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    import apsw

    from imserver.store.search.documents import Document
    from imserver.store.search.handover import HandOver

_MOST_REMEMBERED: Final = 200_000  # users, pairs or memberships; beyond, a cache starts afresh

_TRY_OUT_BYTES: Final = 64 * 1024  # as long as the longest message
LONG_RUN: Final = 64  # messages of one sender in a row, before it is noted and between notes
_TYPE_NUMBER: Final = {name: number for number, name in enumerate(MESSAGE_TYPES)}


class Roster(Struct, frozen=True):
    """A group and who is in it, by user id. Never changed in place: whoever has it may keep it."""

    cid: int
    group_id: str
    private: bool
    members: dict[str, int]


class KnownSend(NamedTuple):
    """What a `client_msg_id` was first used for."""

    digest: bytes
    seq: int
    sent_ms: int


class Watermarks(NamedTuple):
    """All up to here a member has, and has read."""

    delivered: int
    read: int


class Transaction:
    """The verbs of writing. Owner of what the writer remembers between transactions."""

    def __init__(
        self, db: apsw.Connection, clock: Callable[[], int], *, accounts_only: bool = False
    ) -> None:
        self._db = db
        self._clock = clock
        self._accounts_only = accounts_only  # nobody exists without an account
        self._unwritten: list[Any] = []  # the columns of messages, one behind the other
        self._uids: dict[str, int] = {}
        self._with_account: dict[int, int] = {}  # users who have one
        self._directs: dict[tuple[int, int], int] = {}
        self._rosters: dict[str, Roster] = {}
        self._remembered_members = 0
        # By conversation: who wrote last, from which place on, and how many in a row.
        self._runs: dict[int, list[int]] = {}
        self._next_seq = 0  # the place that the next message will take; 0: the database knows
        self.now_ms = 0
        self.hand_over: HandOver | None = None  # to the search index, if there is one
        self._outgoing: list[Document] = []  # what changes in this transaction, as it stood
        self._added = [0] * len(MESSAGE_TYPES)  # messages of each type in this transaction
        self.stored = dict.fromkeys(MESSAGE_TYPES, 0)  # those of all that were committed

    @property
    def db(self) -> apsw.Connection:
        """The connection, as if all that was appended had been written one by one."""
        if self._unwritten:
            self._write_messages()
        return self._db

    def begin(self) -> None:
        """Start: until `commit` or `rollback`, everything happens at one time `now_ms`."""
        self.db.execute(queries.BEGIN)
        if not self._next_seq:
            self._next_seq = reading.newest_seq(self.db) + 1
        self.now_ms = self._clock()

    def commit(self) -> None:
        """Make it durable; returns when it is on disk."""
        if self._outgoing and self.hand_over is not None:
            with self.hand_over.committing(self._outgoing):
                self.db.execute(queries.COMMIT)
            self._outgoing = []
        else:
            self.db.execute(queries.COMMIT)
        for number, count in enumerate(self._added):
            if count:
                self.stored[MESSAGE_TYPES[number]] += count
                self._added[number] = 0

    def rollback(self) -> None:
        """Undo everything since `begin`, and forget what may not be true any more."""
        self.forget()
        if not self.db.get_autocommit():
            self.db.execute(queries.ROLLBACK)

    def forget(self) -> None:
        """Drop everything remembered; the database says it again when asked."""
        self._uids.clear()
        self._with_account.clear()
        self._directs.clear()
        self._rosters.clear()
        self._remembered_members = 0
        self._runs.clear()
        self._next_seq = 0
        self._unwritten.clear()
        self._outgoing = []
        self._added = [0] * len(MESSAGE_TYPES)

    def try_out(self) -> None:
        """Write something and take it back, to see whether the store can grow and be written."""
        self.db.execute(queries.SET_META, (queries.TRY_OUT, bytes(_TRY_OUT_BYTES)))
        self.db.execute(queries.DROP_META, (queries.TRY_OUT,))

    def before_change(self, seqs: Iterable[int]) -> None:
        """Note for the search index how messages stand that are about to change or to go.

        Whatever changes a message's content, sender, type or attachments calls it first.
        """
        if self.hand_over is not None:
            self._outgoing += documents.read_each(self.db, seqs)

    # -- users and conversations --------------------------------------------------------------

    def find_user(self, user_id: str) -> int | None:
        """The number of a user, or None if nobody has named them yet."""
        uid = self._uids.get(user_id)
        if uid is None:
            uid = reading.find_uid(self.db, user_id)
            if uid is not None:
                self._remember(self._uids, user_id, uid)
        return uid

    def forget_users(self) -> None:
        """Drop what is remembered of users: one has another name now."""
        self._uids.clear()
        self._rosters.clear()
        self._remembered_members = 0

    def name_user(self, user_id: str) -> int:
        """The number of a user, who exists from now on."""
        uid = self.find_user(user_id)
        if uid is None:
            uid = self._insert(queries.ADD_USER, user_id, self.now_ms)
            self._remember(self._uids, user_id, uid)
        return uid

    def addressee(self, user_id: str) -> int:
        """The number of a user for whom something is; to be named is to exist, as a rule.

        Raises:
            ApiError: `not_found` for who has no account, where nobody exists without one.
        """
        if not self._accounts_only:
            return self.name_user(user_id)
        uid = self.find_user(user_id)
        if uid is not None and uid not in self._with_account:
            if reading.one(self.db, accounts_queries.HAS_ACCOUNT, uid) is None:
                uid = None
            else:
                self._remember(self._with_account, uid, uid)
        if uid is None:
            raise ApiError(Code.NOT_FOUND, f"There is no user {user_id}")
        return uid

    def direct(self, one: int, other: int) -> int:
        """The direct conversation of two users, who may be the same."""
        pair = (one, other) if one <= other else (other, one)
        cid = self._directs.get(pair)
        if cid is not None:
            return cid
        row = reading.one(self.db, queries.FIND_DIRECT, *pair)
        if row is not None:
            cid = int(row[0])
        else:
            cid = self._insert(queries.ADD_CONVERSATION, *pair)
            for uid in set(pair):
                self._begin_membership(cid, uid, 0, 1, Role.MEMBER)
        self._remember(self._directs, pair, cid)
        return cid

    # -- groups -------------------------------------------------------------------------------

    def create_group(
        self,
        group_id: str,
        name: str,
        description: str,
        private: bool,
        keep_ms: int | None = None,
    ) -> Roster:
        """A new conversation with that group; nobody is in it yet.

        `keep_ms` is how long it keeps its messages; None: as long as the server does.
        """
        cid = self._insert(queries.ADD_CONVERSATION, None, None)
        self.db.execute(
            queries.ADD_GROUP,
            (cid, group_id, name, description, private, keep_ms, self.now_ms),
        )
        return Roster(cid, group_id, private, {})

    def roster(self, group_id: str) -> Roster | None:
        """Who is in a group; None if there is no such group or it is closed."""
        roster = self._rosters.get(group_id)
        if roster is None:
            view = reading.find_group(self.db, group_id)
            if view is None:
                return None
            roster = Roster(
                view.group.cid,
                view.group.group_id,
                bool(view.group.private),
                {user: uid for user, uid, *_ in view.members},
            )
            self._keep_roster(roster)
        return roster

    def view_group(self, group_id: str) -> reading.GroupView | None:
        """A group as it stands inside this transaction."""
        return reading.find_group(self.db, group_id)

    def was_member(self, group_id: str, uid: int) -> bool:
        """Whether a user ever belonged to a group, closed or not."""
        cid = self.find_closed(group_id)
        return cid is not None and reading.one(self.db, queries.FIND_MEMBER, cid, uid) is not None

    def admit(
        self, roster: Roster, newcomers: Sequence[tuple[str, int, Role]], from_seq: int
    ) -> Roster:
        """Let users in, from the message at `from_seq` on; returns the roster with them."""
        for ordinal, (_, uid, role) in enumerate(newcomers):
            self._begin_membership(roster.cid, uid, ordinal, from_seq, role)
        self.db.execute(queries.TOUCH_GROUP, (roster.cid, self.now_ms, 0))
        members = roster.members | {user_id: uid for user_id, uid, _ in newcomers}
        return self._keep_roster(structs.replace(roster, members=members))

    def dismiss(self, roster: Roster, user_id: str, to_seq: int) -> Roster:
        """Let a member go; the message at `to_seq` is the last that is theirs to see.

        The group closes behind the last one.
        """
        uid = roster.members[user_id]
        self.db.execute(queries.END_MEMBER, (roster.cid, uid))
        self.db.execute(queries.END_MEMBERSHIP, (uid, roster.cid, to_seq))
        members = {name: number for name, number in roster.members.items() if name != user_id}
        closed = 0 if members else 1
        self.db.execute(queries.TOUCH_GROUP, (roster.cid, self.now_ms, closed))
        remaining = structs.replace(roster, members=members)
        if closed:
            self._drop_roster(roster.group_id)
            return remaining
        return self._keep_roster(remaining)

    def dissolve(self, roster: Roster, to_seq: int) -> None:
        """Close a group; the message at `to_seq` is the last that its members see."""
        self.db.execute(queries.END_ALL_MEMBERSHIPS, (roster.cid, to_seq))
        self.db.execute(queries.END_ALL_MEMBERS, (roster.cid,))
        self.db.execute(queries.TOUCH_GROUP, (roster.cid, self.now_ms, 1))
        self._drop_roster(roster.group_id)

    def change_group(
        self, roster: Roster, name: str, description: str, private: bool, keep_ms: int | None
    ) -> Roster:
        """Give a group new properties."""
        self.db.execute(
            queries.CHANGE_GROUP, (roster.cid, name, description, private, keep_ms, self.now_ms)
        )
        return self._keep_roster(structs.replace(roster, private=private))

    def invite(self, cid: int, uid: int, by_uid: int) -> bool:
        """Give a user leave to join a group; says whether they had none yet."""
        return (
            reading.one(self.db, queries.PUT_INVITATION, uid, cid, by_uid, self.now_ms) is not None
        )

    def is_invited(self, cid: int, uid: int) -> bool:
        """Whether a user has leave to join a group."""
        return reading.one(self.db, queries.FIND_INVITATION, uid, cid) is not None

    def take_invitation(self, cid: int, uid: int) -> bool:
        """Use up an invitation; says whether there was one."""
        return reading.one(self.db, queries.TAKE_INVITATION, uid, cid) is not None

    def find_closed(self, group_id: str) -> int | None:
        """The conversation of a group, closed or not."""
        row = reading.one(self.db, queries.FIND_GROUP, group_id)
        return None if row is None else int(row[0])

    def role(self, cid: int, uid: int) -> Role:
        """A member's role."""
        return Role(reading.one(self.db, queries.FIND_MEMBER, cid, uid)[1])

    def heir(self, cid: int) -> tuple[int, str]:
        """Who takes over a group: the longest-standing admin, else member, as uid and user id."""
        uid, user_id = reading.one(self.db, queries.HEIR, cid)
        return uid, user_id

    def set_role(self, cid: int, uid: int, role: Role) -> None:
        """Give a member a role."""
        self.db.execute(queries.SET_ROLE, (cid, uid, role))

    def _begin_membership(
        self, cid: int, uid: int, ordinal: int, from_seq: int, role: Role
    ) -> None:
        self.db.execute(queries.ADD_MEMBER, (cid, uid, int(role), self.now_ms, from_seq, ordinal))
        self.db.execute(queries.BEGIN_MEMBERSHIP, (uid, cid, from_seq))

    # -- messages -----------------------------------------------------------------------------

    def append(
        self, cid: int, sender_uid: int, kind: str, content: str, event: Event | None = None
    ) -> int:
        """Store a message at the next place of the one order, and return that place."""
        seq = self._next_seq
        number = _TYPE_NUMBER[kind]
        self._unwritten += (
            seq,
            cid,
            sender_uid,
            number,
            content,
            self.now_ms,
            None if event is None else json.encode(event).decode(),
        )
        self._next_seq = seq + 1
        self._added[number] += 1
        run = self._runs.get(cid)
        if run is None:
            if len(self._runs) >= _MOST_REMEMBERED:
                self._runs.clear()
            self._runs[cid] = [sender_uid, seq, 1]
        elif run[0] != sender_uid:
            run[0], run[1], run[2] = sender_uid, seq, 1
        else:
            run[2] += 1
            if not run[2] % LONG_RUN:
                self.db.execute(queries.NOTE_RUN, (cid, sender_uid, run[1], seq))
        return seq

    def _write_messages(self) -> None:
        values, self._unwritten = self._unwritten, []
        start = 0
        for count, sql in queries.ADD_MESSAGES.items():
            width = count * len(queries.MESSAGE_COLUMNS)
            while len(values) - start >= width:
                self._db.execute(sql, values[start : start + width])
                start += width

    @property
    def next_seq(self) -> int:
        """The place that the next message will take."""
        return self._next_seq

    def known_send(self, uid: int, client_msg_id: str) -> KnownSend | None:
        """What the sender first used a `client_msg_id` for, or None."""
        # Past `db`: these two know nothing of messages, which may go on waiting for more.
        row = reading.one(self._db, queries.FIND_CLIENT_MESSAGE, uid, client_msg_id)
        return None if row is None else KnownSend(*row)

    def remember_send(self, uid: int, client_msg_id: str, digest: bytes, seq: int) -> None:
        """Keep for ever what a `client_msg_id` was used for."""
        self._db.execute(queries.ADD_CLIENT_MESSAGE, (uid, client_msg_id, digest, seq, self.now_ms))

    # -- acknowledgements ---------------------------------------------------------------------

    def acknowledge(self, cid: int, uid: int, seq: int, level: Level, *, to_self: bool) -> bool:
        """Record that a member has one message; says whether that is news.

        Where the hole before it closes, the watermark moves; else the message is noted apart.
        """
        marks = self._watermarks(cid, uid)
        reached = self._level(marks, cid, uid, seq)
        if reached >= level:
            return False
        sparse = reading.one(self.db, queries.HAS_SELECTIVE, cid, uid) is not None
        delivered, read = marks
        moved = []
        for mark, step in ((delivered, Level.DELIVERED), (read, Level.READ)):
            if step > level or seq <= mark:
                moved.append(mark)
                continue
            hole = reading.first_hole(self.db, cid, uid, mark, step, to_self=to_self)
            if hole is not None and hole < seq:
                moved.append(mark)
            else:
                moved.append(self._fold(cid, uid, seq, step, to_self) if sparse else seq)
        if (level is Level.READ and moved[1] < seq) or moved[0] < seq:
            self.db.execute(queries.PUT_SELECTIVE, (cid, uid, seq, int(level)))
            sparse = True
        self._set_watermarks(cid, uid, marks, Watermarks(*moved), sparse)
        return True

    def acknowledge_all(
        self, cid: int, uid: int, seq: int, level: Level, *, to_self: bool
    ) -> list[tuple[str | None, int]]:
        """Record that a member has everything up to a message.

        Returns each sender to whom that is news (None: the server itself), with their own
        highest message that it covers.
        """
        marks = self._watermarks(cid, uid)
        news = reading.every(
            self.db,
            queries.NEWLY_COVERED,
            {
                "cid": cid,
                "uid": uid,
                "after": marks[level - 1],
                "upto": seq,
                "level": int(level),
                "self": to_self,
            },
        )
        sparse = reading.one(self.db, queries.HAS_SELECTIVE, cid, uid) is not None
        moved = [
            mark
            if step > level or seq <= mark
            else (self._fold(cid, uid, seq, step, to_self) if sparse else seq)
            for mark, step in zip(marks, (Level.DELIVERED, Level.READ), strict=True)
        ]
        self._set_watermarks(cid, uid, marks, Watermarks(*moved), sparse)
        return news

    def _watermarks(self, cid: int, uid: int) -> Watermarks:
        _, _, delivered, read = reading.one(self.db, queries.FIND_MEMBER, cid, uid)
        return Watermarks(delivered, read)

    def _level(self, marks: Watermarks, cid: int, uid: int, seq: int) -> Level:
        if seq <= marks.read:
            return Level.READ
        noted = reading.one(self.db, queries.FIND_SELECTIVE, cid, uid, seq)
        level = Level.DELIVERED if seq <= marks.delivered else Level.SENT
        return level if noted is None else max(level, Level(noted[0]))

    def _fold(self, cid: int, uid: int, seq: int, level: Level, to_self: bool) -> int:
        """Where a watermark that reaches `seq` comes to, over what was noted beyond it."""
        hole = reading.first_hole(self.db, cid, uid, seq, level, to_self=to_self)
        row = reading.one(self.db, queries.LAST_SELECTIVE_BELOW, cid, uid, int(level), hole)
        return max(seq, row[0] or 0)

    def _set_watermarks(
        self, cid: int, uid: int, before: Watermarks, after: Watermarks, sparse: bool
    ) -> None:
        if after != before:
            self.db.execute(queries.SET_WATERMARKS, (cid, uid, *after))
            if sparse:
                self.db.execute(queries.FOLD_SELECTIVE, (cid, uid, *after))

    # -- memory -------------------------------------------------------------------------------

    def _insert(self, sql: str, *args: Any) -> int:
        number: int = self.db.execute(sql, args).fetchone()[0]  # type: ignore[index]
        return number

    @staticmethod
    def _remember(cache: dict[Any, int], key: object, number: int) -> None:
        if len(cache) >= _MOST_REMEMBERED:
            cache.clear()
        cache[key] = number

    def _keep_roster(self, roster: Roster) -> Roster:
        self._drop_roster(roster.group_id)
        self._remembered_members += len(roster.members)
        if self._remembered_members > _MOST_REMEMBERED:
            self._rosters.clear()
            self._remembered_members = len(roster.members)
        self._rosters[roster.group_id] = roster
        return roster

    def _drop_roster(self, group_id: str) -> None:
        known = self._rosters.pop(group_id, None)
        if known is not None:
            self._remembered_members -= len(known.members)

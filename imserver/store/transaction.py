"""The unit of work: what happens between `BEGIN IMMEDIATE` and `COMMIT`.

A `Transaction` lives as long as the writer and is used by one thread at a time. What belongs to
groups stands in `rosters`, what belongs to acknowledgements in `acknowledging`. Laws:

- A send to a known conversation asks the database nothing: see `remembered`.
- Messages are written many to a statement, by `flush`. The writer flushes before every change,
  except before those that only append; a change that appends and then asks about messages
  flushes between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import MESSAGE_TYPES, Role
from imserver.store import accounts_queries, message_rows, queries, reading, rosters
from imserver.store.message_rows import TYPE_NUMBERS
from imserver.store.remembered import Remembered
from imserver.store.runs import Runs
from imserver.store.search import documents

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    import apsw

    from imserver.domain.model import Message
    from imserver.store.search.documents import Document
    from imserver.store.search.handover import HandOver

_TRY_OUT_BYTES: Final = 64 * 1024  # as long as the longest message


class KnownSend(NamedTuple):
    """What a `client_msg_id` was first used for."""

    digest: bytes
    seq: int
    sent_ms: int


class Transaction:
    """The verbs of writing. Owner of what the writer remembers between transactions."""

    def __init__(
        self, db: apsw.Connection, clock: Callable[[], int], *, accounts_only: bool = False
    ) -> None:
        self.db = db  # does not know what was appended since the last `flush`
        self._clock = clock
        self._accounts_only = accounts_only  # nobody exists without an account
        self._unwritten: list[Any] = []  # the columns of messages, one behind the other
        self.remembered = Remembered()
        self._runs = Runs()
        self.next_seq = 0  # the place that the next message will take; 0: the database knows
        self.now_ms = 0
        self.hand_over: HandOver | None = None  # to the search index, if there is one
        self._outgoing: list[Document] = []  # what changes in this transaction, as it stood
        self._added = [0] * len(MESSAGE_TYPES)  # messages of each type in this transaction
        self.stored = dict.fromkeys(MESSAGE_TYPES, 0)  # those of all that were committed

    def begin(self) -> None:
        """Start: until `commit` or `rollback`, everything happens at one time `now_ms`."""
        self.db.execute(queries.BEGIN)
        if not self.next_seq:
            self.next_seq = reading.newest_seq(self.db) + 1
        self.now_ms = self._clock()

    def commit(self) -> None:
        """Make it durable; returns when it is on disk."""
        self.flush()
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
        self.remembered.forget()
        self._runs.forget()
        self.next_seq = 0
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
            self.flush()
            self._outgoing += documents.read_each(self.db, seqs)

    # -- users and conversations --------------------------------------------------------------

    def find_user(self, user_id: str) -> int | None:
        """The number of a user, or None if nobody has named them yet."""
        uid = self.remembered.uids.get(user_id)
        if uid is None:
            uid = reading.find_uid(self.db, user_id)
            if uid is not None:
                self.remembered.keep(self.remembered.uids, user_id, uid)
        return uid

    def forget_users(self) -> None:
        """Drop what is remembered of users: one has another name now."""
        self.remembered.forget_names()

    def name_user(self, user_id: str) -> int:
        """The number of a user, who exists from now on."""
        uid = self.find_user(user_id)
        if uid is None:
            uid = self.insert(queries.ADD_USER, user_id, self.now_ms)
            self.remembered.keep(self.remembered.uids, user_id, uid)
        return uid

    def addressee(self, user_id: str) -> int:
        """The number of a user for whom something is; to be named is to exist, as a rule.

        Raises:
            ApiError: `not_found` for who has no account, where nobody exists without one.
        """
        if not self._accounts_only:
            return self.name_user(user_id)
        uid = self.find_user(user_id)
        if uid is not None and uid not in self.remembered.with_account:
            if reading.one(self.db, accounts_queries.HAS_ACCOUNT, uid) is None:
                uid = None
            else:
                self.remembered.keep(self.remembered.with_account, uid, uid)
        if uid is None:
            raise ApiError(Code.NOT_FOUND, f"There is no user {user_id}")
        return uid

    def find_direct(self, user_id: str, other_id: str) -> int | None:
        """The direct conversation of two users, if they have one."""
        one, other = self.find_user(user_id), self.find_user(other_id)
        if one is None or other is None:
            return None
        row = reading.one(self.db, queries.FIND_DIRECT, min(one, other), max(one, other))
        return None if row is None else int(row[0])

    def direct(self, one: int, other: int) -> int:
        """The direct conversation of two users, who may be the same."""
        pair = (one, other) if one <= other else (other, one)
        cid = self.remembered.directs.get(pair)
        if cid is not None:
            return cid
        row = reading.one(self.db, queries.FIND_DIRECT, *pair)
        if row is not None:
            cid = int(row[0])
        else:
            cid = self.insert(queries.ADD_CONVERSATION, *pair)
            for uid in set(pair):
                rosters.begin_membership(self, cid, uid, 0, 1, Role.MEMBER)
        self.remembered.keep(self.remembered.directs, pair, cid)
        return cid

    # -- messages -----------------------------------------------------------------------------

    def append(self, cid: int, sender_uid: int, message: Message) -> int:
        """Store a message at the next place of the one order, and return that place.

        Its id and time are those of `next_seq` and `now_ms`.
        """
        seq = self.next_seq
        self._unwritten += message_rows.values(seq, cid, sender_uid, message)
        self.next_seq = seq + 1
        self._added[TYPE_NUMBERS[message.type]] += 1
        self._runs.note(self.db, cid, sender_uid, seq)
        return seq

    def flush(self) -> None:
        """Write what was appended. Whoever asks the database about messages calls it first."""
        if not self._unwritten:
            return
        values, self._unwritten = self._unwritten, []
        start = 0
        for count, sql in message_rows.INSERTS.items():
            width = count * message_rows.WIDTH
            while len(values) - start >= width:
                self.db.execute(sql, values[start : start + width])
                start += width

    def known_send(self, uid: int, client_msg_id: str) -> KnownSend | None:
        """What the sender first used a `client_msg_id` for, or None."""
        row = reading.one(self.db, queries.FIND_CLIENT_MESSAGE, uid, client_msg_id)
        return None if row is None else KnownSend(*row)

    def remember_send(self, uid: int, client_msg_id: str, digest: bytes, seq: int) -> None:
        """Keep for ever what a `client_msg_id` was used for."""
        self.db.execute(queries.ADD_CLIENT_MESSAGE, (uid, client_msg_id, digest, seq, self.now_ms))

    def insert(self, sql: str, *args: Any) -> int:
        """Add a row; returns the number that it got."""
        number: int = self.db.execute(sql, args).fetchone()[0]  # type: ignore[index]
        return number

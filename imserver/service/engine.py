"""What operations are made of, and what they run on.

An operation is one of four:

- `Immediate` answers from memory;
- `Read` asks the store and changes nothing;
- `Procedure` is an async function that may `await engine.write(change)` any number of times;
- `Write` is one change, and the change's result is the answer. A session need not wait for one
  write before it begins the next: this is the way of sends and acknowledgements.

Transports translate requests into these and answers back, and know nothing else of them.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, NamedTuple, TypeVar

import trio
from msgspec import Struct

from imserver.domain.errors import ApiError, Code
from imserver.domain.model import NOBODY, Grant, Peer
from imserver.live.hub import Hub, Session
from imserver.service.accounts.registry import Accounts
from imserver.service.admission import Admission, Budget
from imserver.service.identity.modes import Identity
from imserver.store.audit import Author
from imserver.store.reader import Reader
from imserver.store.search.finding import Finder
from imserver.store.writer import Writer
from imserver.tally import Refusals, Removals

if TYPE_CHECKING:
    from imserver.store.transaction import Transaction

logger = logging.getLogger(__name__)

S = TypeVar("S")  # what a change has stored
R = TypeVar("R")  # what it comes to
T = TypeVar("T")

_TOO_MANY: Final = "Too many writes are waiting; this one was not stored"
_RETRY_AFTER_MS: Final = 1_000


class Caller(NamedTuple):
    """The caller of an operation, their session (None over REST), and their address."""

    user_id: str  # "" is nobody
    session: Session | None = None
    grant: Grant = NOBODY
    peer: Peer = Peer()

    @property
    def administrator(self) -> bool:
        """Whether the caller may call operations for administrators."""
        # A session's grant may have changed since its last request.
        session = self.session
        grant = self.grant if session is None or session.grant is None else session.grant
        return grant.administrator or self.peer.operator

    @property
    def author(self) -> Author:
        """The caller as the audit log names them."""
        return Author(self.user_id or None, self.peer.address, self.peer.os_user)


class Delivery(Struct, frozen=True, gc=False):
    """A payload and its recipients."""

    payload: bytes
    users: Collection[str]
    skip: Session | None = None


class Outcome(Struct, Generic[R], frozen=True, gc=False):
    """What follows from a change once it is on disk: its result, and the pushes."""

    result: R
    deliveries: Sequence[Delivery] = ()


class Change(ABC, Generic[S, R]):
    """A write whose form is checked. `apply` checks permissions and does it."""

    __slots__ = ()

    appends: ClassVar[bool] = False  # see `store.writer.Applied`

    @property
    def is_large(self) -> bool:
        """Whether it writes so much that others go first; see `Writer.submit`."""
        return False

    @abstractmethod
    def apply(self, tx: Transaction) -> S:
        """Check and write, in the writer's thread; see `store.writer`."""

    def conclude(self, stored: S) -> Outcome[R]:
        """Update memory and return the outcome: in the trio thread, in the order of commits.

        By default, the stored value is the result and nothing is pushed.
        """
        return Outcome(stored)  # type: ignore[arg-type]


class Who(Enum):
    """Who may call an operation.

    `callers.admit` asks for a user or an administrator. What a user is to a message or a group is
    looked up inside the transaction; a test tries each row as everyone.
    """

    ANYONE = "anyone"
    USER = "any user"
    PARTICIPANT = "who may see the message"
    RECIPIENT = "who may see the message and did not send it"
    MEMBER = "a member of the group"
    ADMIN = "the group's owner and admins"
    OWNER = "the group's owner"
    ADMINISTRATOR = "an administrator of the server"


@dataclass(frozen=True, slots=True)
class Rest:
    """Where an operation stands in REST; `{name}` in a path is a field of the request.

    An operation on any conversation has a second path: the first is of a user's, the other of a
    group's.
    """

    method: str
    path: str
    group_path: str | None = None

    @property
    def paths(self) -> tuple[str, ...]:
        """All paths."""
        return (self.path,) if self.group_path is None else (self.path, self.group_path)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Operation(Generic[T]):
    name: str
    summary: str
    request: type[Struct]
    answer: type[Struct]
    who: Who = Who.USER
    ws: str | None = None  # the type of its WebSocket frames
    rest: Rest | None = None
    errors: tuple[Code, ...] = field(default=())  # besides those that every operation has
    budget: Budget = Budget.REQUESTS
    cost: Callable[[Any], int] | None = None  # of a request, in units of its budget; None: 1
    before_change: bool = False  # also for users who must change their password first
    handle: Callable[[Engine, Caller, Any], T]


class Immediate(_Operation[bytes]):
    """Answered from memory at once."""

    __slots__ = ()


class Read(_Operation[Awaitable[bytes]]):
    """Answered by the readers."""

    __slots__ = ()


class Procedure(_Operation[Awaitable[bytes]]):
    """An async function that may write, more than once if need be."""

    __slots__ = ()


class Write(_Operation[Change[Any, bytes]]):
    """One change, whose result is the answer."""

    __slots__ = ()


Operation = Immediate | Read | Procedure | Write


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What requests may ask for."""

    content_bytes: int  # of one message's content, in UTF-8
    page_bytes: int  # of one page of sync
    group_members: int
    members_at_once: int = 1000  # that one request may name
    pending_seconds: float = 10.0  # that a REST request waits for room among the writes


@dataclass(frozen=True, slots=True)
class Engine:
    """What operations run on."""

    writer: Writer
    reader: Reader
    hub: Hub
    clock: Callable[[], int]  # milliseconds since the epoch
    limits: RequestLimits
    identity: Identity
    finder: Finder = field(default_factory=Finder)
    accounts: Accounts | None = None  # None: not in `token` mode
    admission: Admission | None = None  # None: everyone may ask for as much as they like
    refusals: Refusals = field(default_factory=Refusals)  # transports count them
    removals: Removals = field(default_factory=Removals)  # retention counts them

    def require_accounts(self) -> Accounts:
        """The server's accounts.

        Raises:
            ApiError: `not_found` where it has none.
        """
        if self.accounts is None:
            raise ApiError(Code.NOT_FOUND, "This server keeps no accounts: it is not in token mode")
        return self.accounts

    def submit(self, change: Change[Any, R], done: Callable[[R | ApiError], None]) -> None:
        """Queue a change; `done` gets its result or its refusal, in order.

        Raises:
            ApiError: `unavailable`, while shutting down.
        """
        self.writer.submit(change, partial(self._finish, change, done), large=change.is_large)

    def _finish(
        self, change: Change[Any, R], done: Callable[[R | ApiError], None], stored: Any
    ) -> None:
        """Answer, and queue the pushes; they are sent together, after the batch."""
        if isinstance(stored, ApiError):
            done(stored)
            return
        try:
            outcome = change.conclude(stored)
        except Exception:
            # A defect. The write is stored, so a client that repeats it gets its result.
            logger.exception("a write could not be put into words")
            done(ApiError(Code.INTERNAL))
            return
        done(outcome.result)
        for delivery in outcome.deliveries:
            self.hub.publish(delivery.payload, delivery.users, delivery.skip)

    async def write(self, change: Change[Any, R]) -> R:
        """Do a change and wait for its result.

        Raises:
            ApiError: the refusal; `unavailable` too if there is no room for it in time.
        """
        results: list[R | ApiError] = []
        if self.writer.full:
            with trio.move_on_after(self.limits.pending_seconds) as patience:
                await self.writer.wait_room()
            if patience.cancelled_caught:
                raise ApiError(Code.UNAVAILABLE, _TOO_MANY, retry_after_ms=_RETRY_AFTER_MS)
        finished = trio.Event()

        def done(result: R | ApiError) -> None:
            results.append(result)
            finished.set()

        self.submit(change, done)
        await finished.wait()
        result = results[0]
        if isinstance(result, ApiError):
            raise result
        return result

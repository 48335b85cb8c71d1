"""What the lines of an export have in common: one JSON object each, see docs/operations.md.

The first line is a `Header`, the last an `End`; between them stand the kinds of `records.KINDS`,
in that order. Each kind knows which columns it holds, how to read itself from a database and how
to put itself into an empty one. Users are named as clients name them, conversations by their
number.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Final

from msgspec import Struct

if TYPE_CHECKING:
    from collections.abc import Callable

    import apsw

FORMAT: Final = 1  # of the lines; raised when a reader of the last one would misunderstand


class UnknownUser(Exception):
    """A line names a user whom no line before it has introduced."""


class Target:
    """A database to be filled, and the numbers of the users in it."""

    def __init__(self, db: apsw.Connection) -> None:
        self.db = db
        self.uid: Callable[[str], int] = lru_cache(100_000)(self._find)

    def _find(self, user_id: str) -> int:
        row = self.db.execute("SELECT uid FROM user WHERE user_id = ?", (user_id,)).fetchone()
        if row is None:
            raise UnknownUser(f"there is no user {user_id!r}")
        return int(row[0])

    def put(self, table: str, *values: Any) -> None:
        """Add a row; `table` names its columns too."""
        holders = ", ".join("?" * len(values))
        self.db.execute(f"INSERT INTO {table} VALUES ({holders})", values)


class Line(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, tag_field="kind"):
    """A line of an export."""


class Header(Line, tag="imserver-export", frozen=True, kw_only=True):
    """The first line."""

    format: int
    schema: int  # of the database that was exported
    version: str  # of the imserver that did it
    exported_ms: int
    user: str | None = None  # the one whom it is about; such an export is not to be imported
    meta: dict[str, int | str] = {}


class End(Line, tag="end", frozen=True, kw_only=True):
    """The last line: an export without it is not whole."""

    lines: int  # before this one


class Record(Line, frozen=True):
    """What a line between them has to know about itself."""

    COLUMNS: ClassVar[tuple[str, ...]]  # what it holds
    FROM: ClassVar[str]  # where its rows are, one for each line
    SELECT: ClassVar[str]  # all rows of it, in the order of their lines

    @classmethod
    def of(cls, *row: Any) -> Record:
        """The line for a row of `SELECT`."""
        raise NotImplementedError

    def put(self, into: Target) -> None:
        """Store it.

        Raises:
            UnknownUser: it names one.
            apsw.ConstraintError: it does not fit what is there.
        """
        raise NotImplementedError

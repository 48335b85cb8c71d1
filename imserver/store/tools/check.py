"""Whether a database keeps its laws: SQLite's, and ours (see `schema`).

Works beside a running server. Each rule is one statement, so each is judged at one moment, and
between two of them the server can reuse its WAL. Rows are looked at one by one: memory is bounded,
whatever the size.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import apsw

from imserver.store.beside import read_beside, require_current, sort_in_files
from imserver.store.database import StoreError, require_one_name
from imserver.store.tools import whole_files as files
from imserver.store.tools.backup import reporting
from imserver.store.tools.file_contents import damaged_contents
from imserver.store.tools.foreign import strange_schema
from imserver.store.tools.rules import RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from imserver.store.tools.judging import Rule
    from imserver.store.tools.whole_files import Progress

MOST_EXAMPLES: Final = 5  # of what breaks a rule


class Finding(NamedTuple):
    """How one rule is kept."""

    name: str
    law: str
    problems: int  # how many rows break it
    examples: list[str]  # the first `MOST_EXAMPLES` of them


def check(database: Path, progress: Progress = files.no_progress) -> Iterator[Finding]:
    """Judge a database rule by rule; a rule without problems is kept.

    Raises:
        StoreError: it cannot be read, or its schema is not that of this version.
    """
    with read_beside(database) as db:
        require_current(db, database)
        db.execute("PRAGMA cache_size = -65536")
        sort_in_files(db)
        for rule in RULES:
            with reporting(db, f"checking {rule.name}", progress):
                yield _judge(db, rule)


def _other_names(db: apsw.Connection) -> Iterator[tuple[str]]:
    try:
        require_one_name(Path(db.filename))
    except StoreError as error:
        yield (str(error),)


def _strange(db: apsw.Connection) -> Iterator[tuple[str]]:
    for each in strange_schema(db):
        yield (each,)


# Rules that no query of the database can judge.
_ASKED_OTHERWISE: Final[dict[str, Callable[[apsw.Connection], Iterator[tuple[str, ...]]]]] = {
    "names": _other_names,
    "schema": _strange,
    "contents": damaged_contents,
}


def _judge(db: apsw.Connection, rule: Rule) -> Finding:
    problems = 0
    examples: list[str] = []
    try:
        own = _ASKED_OTHERWISE.get(rule.name)
        for row in db.execute(rule.breaks) if own is None else own(db):
            if rule.name == "file" and row == ("ok",):
                continue
            problems += 1
            if len(examples) < MOST_EXAMPLES:
                examples.append(rule.sentence.format(*row))
    except (apsw.CorruptError, apsw.SQLError) as error:
        # What is damaged cannot even be asked; the first rule has said more about it.
        problems += 1
        examples.append(str(error))
    return Finding(rule.name, rule.law, problems, examples)

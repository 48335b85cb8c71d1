"""Erasing a user: they leave their groups as anybody does, and then everything of theirs goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imserver.service.engine import Caller
from imserver.service.groups.membership import Leave
from imserver.store import audit
from imserver.store.beside import read_beside, require_current, sort_beside
from imserver.store.database import open_database
from imserver.store.ownership import as_owner_of
from imserver.store.search.parts import index_beside, remove_index
from imserver.store.tools import erasing as erasure
from imserver.store.tools import whole_files as files
from imserver.store.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from imserver.store.tools.erasing import Erased
    from imserver.store.tools.whole_files import Progress


def erase(
    database: Path,
    user_id: str,
    *,
    operator: str,
    clock: Callable[[], int],
    progress: Progress = files.no_progress,
) -> Erased:
    """Take a user out of a database; no server may be running on it. `operator` is who does it.

    Raises:
        StoreError: the text says why in one sentence. Nothing has changed, but where it says that
            the file could not be written afresh.
    """
    with read_beside(database) as db:
        require_current(db, database)
    with as_owner_of(database.parent), open_database(str(database)) as opened:
        remove_index(index_beside(database))  # it has the user's words
        db = opened.writer
        sort_beside(db, database)
        tx = Transaction(db, clock)
        tx.begin()
        try:
            erased = _erase(tx, user_id, operator, progress)
        except BaseException:
            tx.rollback()
            erasure.rewrite(db, progress)  # of an erasure before that was cut short
            raise
        tx.commit()
        erasure.rewrite(db, progress)
    return erased


def _erase(tx: Transaction, user_id: str, operator: str, progress: Progress) -> Erased:
    uid = erasure.must_exist(tx, user_id)
    name = erasure.rename(tx, uid)
    groups = erasure.open_groups(tx, uid)
    for group_id in groups:
        Leave(Caller(name), group_id).apply(tx)
    messages = erasure.strip(tx, uid, user_id, name, progress)
    audit.record(tx, audit.Author(None, operator=operator), audit.Action.ERASED, name)
    return erasure.Erased(name, messages, len(groups))

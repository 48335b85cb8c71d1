"""What only some messages have: it stands in tables of its own.

Laws:

- Most messages have nothing of this, and pay nothing for it: one look a page says so.
- `by_place` gives it as fields of `Message`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from imserver.store.files import uploaded
from imserver.store.reading import one

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from imserver.store.message_rows import Row

_ANY: Final = "SELECT EXISTS (SELECT 1 FROM attachment WHERE seq BETWEEN ?1 AND ?2)"


def by_place(db: apsw.Connection, rows: Sequence[Row]) -> dict[int, dict[str, Any]]:
    """The fields that some of these messages have, by the places of those."""
    if not rows:
        return {}
    places = [row.seq for row in rows]
    (files,) = one(db, _ANY, min(places), max(places))
    if not files:
        return {}
    found: dict[int, dict[str, Any]] = {}
    seqs = msgspec.json.encode(places).decode()
    for seq, attachments in uploaded.of_messages(db, seqs).items():
        found.setdefault(seq, {})["attachments"] = tuple(attachments)
    return found

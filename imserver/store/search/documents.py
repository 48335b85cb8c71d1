"""What the index knows of a message, as the database has it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from msgspec import json

from imserver.domain.model import MESSAGE_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import apsw

_SYSTEM: Final = MESSAGE_TYPES.index("system")
_IMAGE: Final = MESSAGE_TYPES.index("image")
_FILES: Final = tuple(MESSAGE_TYPES.index(kind) for kind in ("image", "file", "voice", "video"))
_LINK: Final = re.compile(r"\bhttps?://[^\s/]", re.IGNORECASE)
HAS: Final = ("link", "file", "image")

_COLUMNS: Final = """
    SELECT seq, cid, sender_uid, type, content, sent_ms,
           (SELECT json_group_array(f.name || char(10) || f.type) FROM attachment a
            JOIN file f ON f.file_id = a.file_id WHERE a.seq = message.seq)
    FROM message
"""
# What the server says of itself is not searched.
_RANGE: Final = f"{_COLUMNS} WHERE seq > ?1 AND seq <= ?2 AND type <> {_SYSTEM}"
FORWARDS: Final = f"{_RANGE} ORDER BY seq LIMIT ?3"
BACKWARDS: Final = f"{_RANGE} ORDER BY seq DESC LIMIT ?3"
BACKWARDS_IN: Final = f"{_RANGE} AND cid = ?4 ORDER BY seq DESC LIMIT ?3"
_BY_SEQ: Final = f"{_COLUMNS} WHERE seq = ? AND type <> {_SYSTEM}"


class Document(NamedTuple):
    """A message as search sees it."""

    seq: int
    cid: int
    sender_uid: int
    type: int
    content: str
    sent_ms: int
    names: tuple[str, ...] = ()  # of its attachments
    types: tuple[str, ...] = ()

    @property
    def facets(self) -> str:
        """Words for what may be asked for besides words of the text."""
        words = [conversation_word(self.cid), sender_word(self.sender_uid)]
        if self.type:
            words.append(type_word(self.type))
        words += [has_word(what) for what in HAS if self.has(what)]
        return " ".join(words)

    def has(self, what: str) -> bool:
        """Whether there is such a thing in it: see `HAS`."""
        if what == "link":
            return _LINK.search(self.content) is not None
        if what == "image":
            return self.type == _IMAGE or any(kind.startswith("image/") for kind in self.types)
        return self.type in _FILES or bool(self.names)


def conversation_word(cid: int) -> str:
    """The word of all messages of a conversation."""
    return f"k{cid}"


def sender_word(uid: int) -> str:
    """The word of all messages of a sender."""
    return f"u{uid}"


def type_word(number: int) -> str:
    """The word of all messages of a type; texts have none."""
    return f"t{number}"


def has_word(what: str) -> str:
    """The word of all messages that have such a thing."""
    return f"h{HAS.index(what)}"


def read(db: apsw.Connection, sql: str, args: Sequence[int]) -> list[Document]:
    """The documents that one of the statements above finds."""
    return list(iterate(db, sql, args))


def iterate(db: apsw.Connection, sql: str, args: Sequence[int]) -> Iterator[Document]:
    """The same one by one: long texts need not be in memory together."""
    rows: Any = db.execute(sql, args)
    return (_document(*row) for row in rows)


def _document(
    seq: int, cid: int, sender_uid: int, kind: int, content: str, sent_ms: int, files: str
) -> Document:
    if files == "[]":
        return Document(seq, cid, sender_uid, kind, content, sent_ms)
    names, types = zip(*(file.split("\n") for file in json.decode(files)), strict=True)
    return Document(seq, cid, sender_uid, kind, content, sent_ms, names, types)


def read_each(db: apsw.Connection, seqs: Iterable[int]) -> list[Document]:
    """The documents at these places, as far as there are such."""
    found: list[Document] = []
    for seq in seqs:
        found += read(db, _BY_SEQ, (seq,))
    return found

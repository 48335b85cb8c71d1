"""What others wrote, made fit for a terminal; and how it is laid out there."""

from __future__ import annotations

import unicodedata
from typing import Final

from wcwidth import iter_graphemes, wcswidth

# Formatting characters that belong into words and emoji: the zero-width (non-)joiners.
_JOINERS: Final = "\u200c\u200d"
_REPLACEMENT: Final = "\ufffd"
_INDENT: Final = 8  # cells before every line of a message but the first
_LEAST: Final = 12  # cells for a text in a narrow terminal
_NOT_FIRST: Final = frozenset("，。、！？；：）」』》】〉”’…—·,.!?;:)]}")  # on a line


def printable(text: str) -> str:
    """The text without what would drive the terminal or turn the reading direction.

    A message may hold anything: escape sequences could move the cursor, rename the window or
    make one line look like another's.
    """
    return "".join(_printable(character) for character in text.expandtabs(4))


def _printable(character: str) -> str:
    match unicodedata.category(character):
        case "Zl" | "Zp":
            return "\n"
        case "Cc" | "Cf" | "Cs" | "Co" | "Cn" if character != "\n" and character not in _JOINERS:
            return _REPLACEMENT
        case _:
            return character


def laid_out(text: str, head: int, columns: int | None) -> str:
    """A text behind a head of so many cells.

    Further lines are indented, so that none looks like another message. With `columns`, lines
    are broken between words (between characters where a script has no spaces).
    """
    paragraphs = printable(text).split("\n")
    if columns is None:
        return ("\n" + " " * _INDENT).join(paragraphs)
    lines: list[str] = []
    for paragraph in paragraphs:
        first = max(columns - (_INDENT if lines else head), 1)
        lines += wrapped(paragraph, first, max(columns - _INDENT, _LEAST))
    return ("\n" + " " * _INDENT).join(lines)


def wrapped(paragraph: str, first: int, others: int) -> list[str]:
    """A line of text broken into lines: `first` cells for the first one, `others` for the rest."""
    lines: list[str] = []
    line, room = "", first
    for piece in _pieces(paragraph):
        size = width(piece)
        if size <= room:
            line += piece
            room -= size
        elif piece.isspace():
            room = 0  # it stands at the end of the line, where nobody sees it
        elif size <= others and (line or lines == []):
            lines.append(line.rstrip())
            line, room = piece, others - size
        else:  # a word longer than a line
            for grapheme in iter_graphemes(piece):
                size = width(grapheme)
                if size > room and line:
                    lines.append(line.rstrip())
                    line, room = "", others
                line += grapheme
                room -= size
    lines.append(line)
    return lines


def _pieces(text: str) -> list[str]:
    """Words, spaces and wide characters: a line may be broken between any two of them."""
    pieces: list[str] = []
    kind = ""
    for grapheme in iter_graphemes(text):
        before = kind
        if grapheme.isspace():
            kind = "space"
        elif width(grapheme) > 1 and grapheme not in _NOT_FIRST:
            kind = "wide"
        else:
            kind = "word"
        sticks = grapheme in _NOT_FIRST and before != "space"
        if pieces and (sticks or (kind == before and kind != "wide")):
            pieces[-1] += grapheme
        else:
            pieces.append(grapheme)
        if sticks and before == "wide":
            kind = "wide"  # the next word begins a piece of its own
    return pieces


def shortened(text: str, most: int) -> str:
    """The beginning of a text on one line, in at most `most` cells."""
    line = " ".join(printable(text).split())
    return line if width(line) <= most else fitting(line, most - 1) + "…"


def fitting(text: str, most: int) -> str:
    """As much of the beginning of a text as goes into `most` cells."""
    fits = ""
    for grapheme in iter_graphemes(text):
        most -= width(grapheme)
        if most < 0:
            break
        fits += grapheme
    return fits


def width(text: str) -> int:
    """How many cells a text takes in a terminal."""
    return max(wcswidth(text), 0)

"""What others wrote, made fit for a terminal; and how wide it is there."""

from __future__ import annotations

import unicodedata
from typing import Final

# Formatting characters that belong into words and emoji: the zero-width (non-)joiners.
_JOINERS: Final = "\u200c\u200d"
_REPLACEMENT: Final = "\ufffd"


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


def indented(text: str, prefix: str) -> str:
    """The text behind a prefix; further lines stand below it, so that none looks like another."""
    return prefix + printable(text).replace("\n", "\n" + " " * 8)


def shortened(text: str, most: int) -> str:
    """The beginning of a text on one line, in at most `most` cells."""
    line = " ".join(printable(text).split())
    return line if width(line) <= most else fitting(line, most - 1) + "…"


def fitting(text: str, most: int) -> str:
    """As much of the beginning of a text as goes into `most` cells."""
    used = 0
    for index, character in enumerate(text):
        used += cells(character)
        if used > most:
            return text[:index]
    return text


def width(text: str) -> int:
    """How many cells a text takes in a terminal."""
    return sum(map(cells, text))


def cells(character: str) -> int:
    """How many cells a character takes: none, one or two."""
    if character.isascii():
        return 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1

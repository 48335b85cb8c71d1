"""Text as search sees it: words, with the place of each in the original.

Laws:

- The index, the queries and the ranges of a hit all use `words_of`. Another preparation needs
  another `VERSION`, by which an index of the old one is built again.
- Text is NFKC and case-folded. Scripts that are written without spaces (Han, kana, Hangul, Thai,
  Lao, Khmer, Myanmar) give one word a character; so a run of them is found at any place and at
  any length. Other letters, digits and their marks form words.
- Offsets count UTF-16 code units of the original, as strings of JavaScript, Java and C# do.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple
from unicodedata import category, combining, is_normalized, normalize

VERSION: Final = 1  # of the preparation; it is kept in the index

# Scripts without spaces, as they are after NFKC. One character is one word.
_SINGLE: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Myanmar, Khmer
    "\u2e80-\u2fdf\u3005-\u3007\u3021-\u3029\u3031-\u3035\u3038-\u303c"
    "\u3041-\u30ff\u3105-\u318f\u31a0-\u31ff\u3400-\u4dbf\u4e00-\u9fff"
    "\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff"
    "\U0001aff0-\U0001b16f\U00020000-\U0003ffff"
)


def _marks() -> str:
    """The marks that may stand within a word, as ranges of a character class."""
    ranges: list[list[int]] = []
    for code in range(0x300, 0xFE30):
        if 0x3400 <= code <= 0xD7FF or category(chr(code))[0] != "M":
            continue
        if ranges and ranges[-1][1] == code - 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"{chr(first)}-{chr(last)}" for first, last in ranges)


_WORD: Final = re.compile(
    rf"(?P<single>(?![\W_])[{_SINGLE}])|(?:(?![{_SINGLE}])[^\W_])(?:(?![{_SINGLE}])[^\W_]|[{_marks()}])*"
)
_ASCII_WORD: Final = re.compile("[a-z0-9]+")


class Word(NamedTuple):
    """A word, and where it stands in the folded text."""

    text: str
    start: int
    end: int
    single: bool  # a character of a script without spaces


def fold(text: str) -> str:
    """Text without differences of case and of compatible forms."""
    if text.isascii():
        return text.lower()
    if not is_normalized("NFKC", text):
        text = normalize("NFKC", text)
    return text.casefold()


def words_of(folded: str) -> list[Word]:
    """The words of a folded text, in order."""
    return [
        Word(match[0], match.start(), match.end(), match.lastgroup is not None)
        for match in _WORD.finditer(folded)
    ]


def prepare(text: str) -> str:
    """What the index is given of a text: its words, with a space between each."""
    folded = fold(text)
    if folded.isascii():
        return " ".join(_ASCII_WORD.findall(folded))
    return " ".join([match[0] for match in _WORD.finditer(folded)])


def original_offsets(text: str) -> list[int]:
    """For each character of `fold(text)`, and its end: where that begins in the original.

    In UTF-16 code units. A character that folds to several gives its own place to all of them.
    """
    if text.isascii():
        return list(range(len(text) + 1))
    offsets: list[int] = []
    place = 0
    for cluster in _clusters(text):
        offsets += [place] * len(fold(cluster))
        place += len(cluster.encode("utf-16-le", "surrogatepass")) // 2
    # A text whose parts fold to more or less than the whole does not occur in practice.
    missing = len(fold(text)) + 1 - len(offsets)
    return offsets + [place] * missing if missing > 0 else [*offsets[: missing - 1], place]


def _clusters(text: str) -> list[str]:
    """The pieces of a text that normalization may compose, each on its own."""
    clusters: list[str] = []
    begin = 0
    for index in range(1, len(text)):
        if not _composes(text[index]):
            clusters.append(text[begin:index])
            begin = index
    if text:
        clusters.append(text[begin:])
    return clusters


def _composes(character: str) -> bool:
    """Whether a character may become one with those before it."""
    if character < "\u0300":
        return False
    if combining(character) or category(character)[0] == "M":
        return True
    code = ord(character)
    # Hangul vowels and finals, and the half-width sound marks of kana.
    return 0x1160 <= code <= 0x11FF or 0xD7B0 <= code <= 0xD7FF or code in (0xFF9E, 0xFF9F)

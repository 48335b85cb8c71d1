"""What a user looks for, and where a text has it.

Whatever a user writes is words, never syntax of the index: an expression holds nothing but words,
each run of them between quotes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Final, NamedTuple
from unicodedata import category

from imserver.store.search.words import fold, original_offsets, words_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from imserver.store.search.words import Word

_QUOTED: Final = re.compile('"([^"]*)"|“([^”]*)”|「([^」]*)」')
Range = tuple[int, int]


class Term(NamedTuple):
    """Words that follow each other; with `prefix` the last may go on."""

    words: tuple[str, ...]
    prefix: bool


def parse(query: str) -> list[Term]:
    """The terms of a query, all of which a message must have; none if it holds no word.

    A run of characters of scripts without spaces is one phrase, any other word a prefix; what
    stands between quotes is a phrase of whole words.
    """
    terms: list[Term] = []
    folded = fold(query)
    place = 0
    for quoted in _QUOTED.finditer(folded):
        terms += _loose(folded[place : quoted.start()])
        phrase = words_of(quoted[1] or quoted[2] or quoted[3] or "")
        if phrase:
            terms.append(Term(tuple(word.text for word in phrase), False))
        place = quoted.end()
    terms += _loose(folded[place:])
    return list(dict.fromkeys(terms))


def _loose(folded: str) -> list[Term]:
    terms: list[Term] = []
    run: list[Word] = []
    for word in words_of(folded):
        if run and not (word.single and _touch(folded, run[-1], word)):
            terms.append(_phrase(run))
            run = []
        if word.single:
            run.append(word)
        else:
            terms.append(Term((word.text,), True))
    if run:
        terms.append(_phrase(run))
    return terms


def _phrase(run: Sequence[Word]) -> Term:
    return Term(tuple(word.text for word in run), False)


def _touch(folded: str, one: Word, other: Word) -> bool:
    return all(category(mark)[0] == "M" for mark in folded[one.end : other.start])


def expression(terms: Sequence[Term]) -> str:
    """The terms in the language of FTS5, without the columns that they are looked for in."""
    return " AND ".join(f'"{" ".join(term.words)}"{"*" if term.prefix else ""}' for term in terms)


def find_ranges(terms: Sequence[Term], content: str, names: Sequence[str]) -> list[Range] | None:
    """Where a message has the terms, in UTF-16 code units of its content; None: it lacks one.

    Ranges are in order and do not overlap. There is none for what only a file's name has.
    """
    folded = fold(content)
    words = words_of(folded)
    found: list[Range] = []
    others: list[list[Word]] | None = None
    for term in terms:
        places = _places(term, words)
        if not places:
            if others is None:
                others = [words_of(fold(name)) for name in names]
            if not any(_places(term, other) for other in others):
                return None
        found += places
    return _in_original(content, _merged(found)) if found else []


def _places(term: Term, words: Sequence[Word]) -> list[Range]:
    """Where in the folded text a term stands; the end of a prefix is that of the prefix."""
    count = len(term.words)
    first, last = term.words[0], term.words[-1]
    places = []
    for index in range(len(words) - count + 1):
        begin, end = words[index], words[index + count - 1]
        if term.prefix:
            if begin.text.startswith(first):
                places.append((begin.start, begin.start + len(first)))
        elif (
            begin.text == first
            and end.text == last
            and all(words[index + at].text == text for at, text in enumerate(term.words))
        ):
            places.append((begin.start, end.end))
    return places


def _merged(places: list[Range]) -> list[Range]:
    merged: list[Range] = []
    for start, end in sorted(places):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _in_original(content: str, places: Sequence[Range]) -> list[Range]:
    offsets = original_offsets(content)
    ranges: list[Range] = []
    for start, end in places:
        # A character that became several is matched as a whole.
        behind = bisect_right(offsets, offsets[end - 1], lo=end - 1)
        begin, finish = offsets[start], offsets[min(behind, len(offsets) - 1)]
        if not ranges or begin >= ranges[-1][1]:
            ranges.append((begin, finish))
    return ranges

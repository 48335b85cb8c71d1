"""The API document's own examples, read out of the document, and how answers are held to them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

DOCUMENT = Path(__file__).parents[2] / "docs" / "im-api.zh-CN.md"

REQUEST = "请求"
ANSWER = "响应"
HEADERS = "请求头"
BODY = "请求体"

_HEADING = re.compile(r"#+ (?P<title>.*)")
_LABEL = re.compile(r"\*\*(?P<label>[^*]+):\*\*")
_FRAME = re.compile(r".*\((?P<type>\w+)\)")
_LISTED = re.compile(r"- `(?P<item>[^`]+)`")


class Block(NamedTuple):
    """A fenced block: under which heading (a frame's type, or a method and path) and label."""

    heading: str
    label: str | None
    language: str
    text: str


def _read() -> tuple[list[Block], dict[str, list[str]]]:
    blocks: list[Block] = []
    lists: dict[str, list[str]] = {}
    heading, label, fence = "", None, None
    lines: list[str] = []
    for line in DOCUMENT.read_text("utf-8").splitlines():
        if line.startswith("```"):
            if fence is None:
                fence, lines = line.removeprefix("```").strip(), []
            else:
                blocks.append(Block(heading, label, fence, "\n".join(lines) + "\n"))
                fence = label = None
        elif fence is not None:
            lines.append(line)
        elif found := _HEADING.match(line):
            frame = _FRAME.match(found["title"])
            heading, label = frame["type"] if frame else found["title"], None
        elif found := _LABEL.match(line):
            label = found["label"]
        elif found := _LISTED.match(line):
            lists.setdefault(heading, []).append(found["item"])
    return blocks, lists


BLOCKS, LISTS = _read()


def code(heading: str) -> str:
    """The text of the only block under a heading."""
    (block,) = (block for block in BLOCKS if block.heading == heading)
    return block.text


def printed(heading: str, label: str | None = None) -> Any:
    """The JSON printed under a heading and label."""
    (text,) = (block.text for block in BLOCKS if block[:2] == (heading, label))
    return json.loads(text)


def headers(heading: str) -> dict[str, str]:
    """The request headers printed under a heading; none, where none are."""
    texts = [block.text for block in BLOCKS if block[:2] == (heading, HEADERS)]
    return dict(line.split(": ") for text in texts for line in text.splitlines())


def has(heading: str, label: str | None) -> bool:
    """Whether anything is printed there."""
    return any(block[:2] == (heading, label) for block in BLOCKS)


def rename(example: Any, names: Mapping[str, str]) -> Any:
    """An example with other names in place of those that the server chooses by itself."""
    match example:
        case dict():
            return {key: rename(value, names) for key, value in example.items()}
        case list():
            return [rename(value, names) for value in example]
        case str():
            return names.get(example, example)
        case _:
            return example


def assert_as_printed(
    answer: Any,
    example: Any,
    names: Mapping[str, str] | None = None,
    *,
    added: frozenset[str] = frozenset(),
    place: str = "$",
) -> None:
    """Hold an answer to an example: the same fields in the same order, types and values.

    `names` says what stands for the ids that the server chooses at random. `added` are fields of
    the outermost object that the design adds to the document.
    """
    expected = rename(example, names or {})
    assert type(answer) is type(expected), f"{place}: {answer!r} is not like {expected!r}"
    match expected:
        case dict():
            given = [key for key in answer if key not in added]
            assert given == list(expected), f"{place}: fields are {list(answer)}"
            for key, value in expected.items():
                assert_as_printed(answer[key], value, place=f"{place}.{key}")
        case list():
            assert len(answer) == len(expected), f"{place}: {answer!r}"
            for index, pair in enumerate(zip(answer, expected, strict=True)):
                assert_as_printed(*pair, place=f"{place}[{index}]")
        case _:
            assert answer == expected, f"{place}: {answer!r} is not {expected!r}"

"""Sentences for requests that cannot be decoded.

They name the field and what it must be, as the API document names types. They quote no input.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

_NAMES: Final = {
    "str": "a string",
    "int": "an integer",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
}
_SIGNS: Final = {"<=": "at most", ">=": "at least", "<": "less than", ">": "more than"}

# The forms of msgspec's texts, each with its path cut off.
_PATH: Final = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_MISSING: Final = re.compile(r"Object missing required field `([^`]+)`")
_LENGTH: Final = re.compile(r"Expected `(str|array)[^`]*` of length (<=|>=) (\d+)")
_RANGE: Final = re.compile(r"Expected `(?:int|float)[^`]*` (<=|>=|<|>) ([-+.e\d]+)")
_TYPE: Final = re.compile(r"Expected `([^`]+)`, got ")


def describe(error: msgspec.DecodeError) -> str:
    """Say what is wrong with a request."""
    if not isinstance(error, msgspec.ValidationError):
        return "The request is not valid JSON"
    text = str(error)
    path = _PATH.search(text)
    # `data` is where a WebSocket frame has what a REST request has in its body.
    field = path[1].removeprefix("data.") if path else ""
    text = text[: path.start()] if path else text
    if missing := _MISSING.match(text):
        return f"{missing[1]} is required"
    return f"{field or 'The request'} {_demand(text)}"


def _demand(text: str) -> str:
    if length := _LENGTH.match(text):
        things = "characters" if length[1] == "str" else "entries"
        return f"must have {_SIGNS[length[2]]} {length[3]} {things}"
    if limit := _RANGE.match(text):
        return f"must be {_SIGNS[limit[1]]} {limit[2]}"
    if kinds := _TYPE.match(text):
        names = [_NAMES[kind] for kind in kinds[1].split(" | ") if kind in _NAMES]
        if names:
            return f"must be {' or '.join(names)}"
    if text.startswith("Number out of range"):
        return "is a number out of range"
    return "must be one of the documented values"

"""What a setting may be, in words, and what is wrong with one that is something else."""

from __future__ import annotations

import ipaddress
import json
import re
import types
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta, Struct

if TYPE_CHECKING:
    from collections.abc import Sequence


def wrong(model: type[Struct], given: Any, error: msgspec.ValidationError) -> tuple[str, str]:
    """The key that an error is about, and one sentence that begins with it."""
    text, _, place = str(error).partition(" - at `$")
    key = place.rstrip("`").lstrip(".")
    if text.startswith("Object contains unknown field"):
        name = text.split("`")[1]
        key = f"{key}.{name}" if key else name
        return key, f"{key}: there is no such setting{nearest(key, every_key(model))}"
    kind: Any = model
    value = given
    for step in key.replace("[", ".[").split("."):
        if step.startswith("["):
            index = int(step[1:-1])
            kind = get_args(_bare(kind))[0]
            value = value[index] if isinstance(value, list | tuple) else value
        elif step:
            kind = get_type_hints(kind, include_extras=True)[step]
            value = value.get(step) if isinstance(value, dict) else getattr(value, step, None)
    return key, f"{key or 'the file'} must be {possible(kind)}, not {_shown(value)}"


def is_utf8(text: str) -> bool:
    """Whether a text has no halves of surrogate pairs, as names of files in other bytes do."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether a host to listen on can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_proxy(text: str) -> bool:
    """Whether a text names a proxy: an address, a network or `unix`."""
    try:
        return text == "unix" or bool(ipaddress.ip_network(text))
    except ValueError:
        return False


def every_key(model: type[Struct]) -> list[str]:
    """All keys of a model, those of sections with a dot, and the sections themselves."""
    keys = []
    for name, kind in get_type_hints(model).items():
        keys.append(name)
        if isinstance(kind, type) and issubclass(kind, Struct):
            keys += [f"{name}.{inner}" for inner in get_type_hints(kind)]
    return keys


def nearest(name: str, names: Sequence[str]) -> str:
    """The end of a sentence that says what was probably meant; nothing if nobody can tell."""
    found = get_close_matches(name, names, 1, 0.6)
    if not found and "." not in name:  # the right key outside its section
        found = [each for each in names if each.endswith(f".{name}")][:1]
    return f"; did you mean {found[0]}?" if found else ""


def possible(kind: Any) -> str:
    """What a value may be."""
    bare, limits = _bare(kind), _limits(kind)
    if get_origin(bare) is Literal:
        *firsts, last = (json.dumps(value) for value in get_args(bare))
        return f"{', '.join(firsts)} or {last}" if firsts else last
    if get_origin(bare) is tuple:
        return f"a list, each {possible(get_args(bare)[0])}"
    if bare is bool:
        return "true or false"
    if bare is str:
        return "text that is not empty" if limits and limits.min_length else "text"
    if bare in (int, float):
        return ("a whole number" if bare is int else "a number") + _range(limits)
    return "a section"


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


def _limits(kind: Any) -> Meta | None:
    metas = [each for each in get_args(kind)[1:] if isinstance(each, Meta)]
    return metas[0] if get_origin(kind) is Annotated and metas else None


def _range(limits: Meta | None) -> str:
    if limits is None:
        return ""
    if limits.gt is not None:
        return f" more than {limits.gt} and at most {limits.le}"
    return f" from {limits.ge} to {limits.le}"


def _shown(value: Any) -> str:
    if isinstance(value, dict | types.NoneType):
        return "a section" if isinstance(value, dict) else "nothing"
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError):  # a date, for one
        return str(value)


def line_of(text: str, key: str) -> str:
    """Where a file sets a key, if that can be told, for the end of a sentence."""
    *sections, name = key.partition("[")[0].split(".")
    within: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\s*([\w.\- ]+?)\s*\]", line):
            within = header[1].split(".")
            if within == [*sections, name]:
                return f", line {number}"
        elif within == sections and re.match(rf"""\s*["']?{re.escape(name)}["']?\s*[.=]""", line):
            return f", line {number}"
    return ""

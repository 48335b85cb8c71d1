"""The rooms of the house: modules of a readable size, and one name for one thing."""

from __future__ import annotations

import ast
from collections import defaultdict
from typing import TYPE_CHECKING

from tests.docs.markdown import ROOT

if TYPE_CHECKING:
    from pathlib import Path

MOST_LINES = 400

# What is still to be sorted. Nothing may be added here, and what is sorted is to be taken off.
STILL_REPEATED = {
    "rest",
    "Admission",
    "Backup",
    "Connection",
    "Disconnected",
    "Metrics",
    "Patience",
    "Retention",
}

MODULES = sorted((ROOT / "imserver").rglob("*.py"))


def name_of(module: Path) -> str:
    return str(module.relative_to(ROOT))


def repeated(places: dict[str, list[str]]) -> dict[str, list[str]]:
    return {
        name: where
        for name, where in places.items()
        if len(where) > 1 and name not in STILL_REPEATED
    }


def test_no_module_is_too_long() -> None:
    lines = {name_of(module): len(module.read_text("utf-8").splitlines()) for module in MODULES}
    too_long = {name: count for name, count in lines.items() if count > MOST_LINES}
    assert too_long == {}


def test_no_two_modules_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        if not module.stem.startswith("__"):
            places[module.stem].append(name_of(module))
    assert repeated(places) == {}


def test_no_two_classes_have_one_name() -> None:
    places: dict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(name_of(module))
    assert repeated(places) == {}

"""The database's shape, step by step: each migration is a module `v<number>_<subject>`.

A module holds `SQL`, which runs as one script. One that landed is never edited: what comes later
is a new one. With it come the database of the new version (`python -m tests.store.fixtures.make`),
the lines that `store.tools.records` exports of what it adds, and the rules by which
`store.tools.check` judges it; tests insist.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import Final


def _collect() -> tuple[str, ...]:
    found: dict[int, str] = {}
    for module in iter_modules(__path__):
        number = int(module.name.removeprefix("v").partition("_")[0])
        if number in found:
            raise ImportError(f"two migrations have the number {number}")
        found[number] = import_module(f"{__name__}.{module.name}").SQL
    if sorted(found) != list(range(1, len(found) + 1)):
        raise ImportError(f"the migrations are {sorted(found)}, and should be numbered from 1 on")
    return tuple(found[number] for number in sorted(found))


MIGRATIONS: Final = _collect()

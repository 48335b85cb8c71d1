"""What a rule of `check` is."""

from __future__ import annotations

from typing import NamedTuple


class Rule(NamedTuple):
    """What must hold."""

    name: str
    law: str  # what it says, when it is kept
    breaks: str  # the query for what breaks it; "": `check` asks otherwise
    sentence: str  # about one such row

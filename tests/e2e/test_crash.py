"""The real process is killed at random moments while everybody talks, and nothing is lost.

`TEST_CRASHES` says how often it is killed (default 5); hundreds of times: `tests.bench.crashes`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tests.support.crashes import crash_again_and_again

if TYPE_CHECKING:
    from pathlib import Path

CRASHES = int(os.environ.get("TEST_CRASHES", "5"))


async def test_killed_again_and_again_it_keeps_what_it_acknowledged(tmp_path: Path) -> None:
    ledger = await crash_again_and_again(tmp_path, CRASHES)
    assert ledger.repeats >= ledger.unanswered

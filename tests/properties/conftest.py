"""A few messages are many here: what is done for long runs happens in short lives too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from imserver.store import runs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module", autouse=True)
def short_runs_are_long() -> Iterator[None]:
    """Runs are noted from two messages on."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "LONG", 2)
        yield

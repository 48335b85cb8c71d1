"""Tests of the lanes once more, over TLS: which ones, and the servers that they get."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.support import servers
from tests.support.certificates import certificate_in

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import ModuleType

# By the client of the tests, that is: it cannot go on after a half-sent record, or half a close.
IMPOSSIBLE = {
    "test_a_client_that_says_it_is_done_sending_still_gets_its_answer",  # see test_tls
    "test_nobody_gets_in_once_it_stops",
    "test_who_asks_without_reading_is_held_back",
}


def repeated(modules: Iterable[ModuleType]) -> dict[str, Any]:
    """The tests of some modules, by names that tell where they come from."""
    return {
        f"{module.__name__.rpartition('.')[2]}_{name}": value
        for module in modules
        for name, value in vars(module).items()
        if name.startswith("test_") and callable(value) and name not in IMPOSSIBLE
    }


@pytest.fixture(autouse=True)
def everywhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every server of these tests speaks TLS."""
    folder: Path = tmp_path_factory.mktemp("tls")
    monkeypatch.setattr(servers, "everywhere", certificate_in(folder))

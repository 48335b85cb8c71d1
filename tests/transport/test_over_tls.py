"""What holds on a plain connection holds over TLS: tests of the lanes, once more.

Left out is what looks at the plain socket itself, and what takes long and meets no other code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract import test_operations
from tests.support import servers
from tests.support.certificates import certificate_in
from tests.transport import (
    test_carried_session,
    test_forwarded,
    test_frames,
    test_goodbye,
    test_handshake,
    test_late_upgrade,
    test_order,
    test_rest_connections,
    test_rest_lane,
    test_slow,
    test_stopping,
)

if TYPE_CHECKING:
    from pathlib import Path

MODULES = (
    test_carried_session,
    test_forwarded,
    test_frames,
    test_goodbye,
    test_handshake,
    test_late_upgrade,
    test_order,
    test_rest_connections,
    test_rest_lane,
    test_slow,
    test_stopping,
)

# By the client of the tests, that is: it cannot go on after a half-sent record, or half a close.
IMPOSSIBLE = {
    "test_a_client_that_says_it_is_done_sending_still_gets_its_answer",  # see test_tls
    "test_nobody_gets_in_once_it_stops",
    "test_who_asks_without_reading_is_held_back",
}

test_every_operation = test_operations.test_scenario
short_linger = test_slow.short_linger

for module in MODULES:
    prefix = module.__name__.rpartition(".")[2]
    for name, value in list(vars(module).items()):
        if name.startswith("test_") and callable(value) and name not in IMPOSSIBLE:
            globals()[f"{prefix}_{name}"] = value


@pytest.fixture(autouse=True)
def everywhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every server of these tests speaks TLS."""
    folder: Path = tmp_path_factory.mktemp("tls")
    monkeypatch.setattr(servers, "everywhere", certificate_in(folder))

"""`ready`: whether requests should be sent here, which is more than whether the process lives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from imserver.domain.errors import Code
from imserver.service.engine import Caller
from tests.service.engines import Engines
from tests.store.failures import disk_gone, full_disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANN = Caller("ann")
NOBODY = Caller("")
LONG = {"receiver_id": "bob", "content": "x" * 60_000}


@pytest.fixture
def engines(tmp_path: Path) -> Iterator[Engines]:
    """An engine on a real file."""
    (tmp_path / "0").mkdir()
    engines = Engines(tmp_path)
    yield engines
    engines.stop()


def test_a_sound_server_is_ready_and_nothing_is_written(engines: Engines) -> None:
    assert engines.run(engines.ask, "ready", NOBODY, {}) == {
        "status": "ok",
        "timestamp": engines.now_ms,
    }
    assert engines.writer.batches.count == 0


@pytest.mark.expects_error_log
@pytest.mark.parametrize("failure", [full_disk, disk_gone])
def test_where_writes_are_refused_it_is_not_and_it_notices_the_end_by_itself(
    failure: Any, engines: Engines
) -> None:
    engines.run(engines.write, "send_message", ANN, LONG)
    with failure(engines.database):
        assert engines.run(engines.write, "send_message", ANN, LONG) is Code.UNAVAILABLE
        for _ in range(2):
            assert engines.run(engines.ask, "ready", NOBODY, {}) is Code.UNAVAILABLE
            health = engines.immediate("health", NOBODY, {})
            assert health["status"] == "degraded"
    # Nobody sends anything meanwhile: readiness keeps them away.
    assert engines.run(engines.ask, "ready", NOBODY, {})["status"] == "ok"
    assert engines.immediate("health", NOBODY, {})["status"] == "ok"
    assert engines.run(engines.ask, "ready", NOBODY, {})["status"] == "ok"


@pytest.mark.expects_error_log
def test_what_was_tried_leaves_nothing(engines: Engines) -> None:
    with full_disk(engines.database):
        engines.run(engines.write, "send_message", ANN, LONG)
    before = list(engines.database.writer.execute("SELECT * FROM meta"))
    engines.run(engines.ask, "ready", NOBODY, {})
    assert engines.writer.failure is None
    assert list(engines.database.writer.execute("SELECT * FROM meta")) == before


def test_a_server_that_stops_is_not_ready(engines: Engines) -> None:
    async def while_stopping() -> Any:
        engines.writer.close()
        return await engines.ask("ready", NOBODY, {})

    assert engines.run(while_stopping) is Code.UNAVAILABLE


@pytest.mark.expects_error_log
def test_what_was_rolled_back_is_not_counted_as_stored(engines: Engines) -> None:
    with full_disk(engines.database):
        engines.run(engines.write, "send_message", ANN, LONG)
    assert engines.writer.stored["text"] == 0
    assert engines.writer.commits.count == 0
    engines.run(engines.write, "send_message", ANN, LONG)
    assert engines.writer.stored["text"] == 1
    assert engines.writer.commits.count == 1

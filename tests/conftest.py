"""What holds for every test: no unexpected error may be logged, and no clock decides.

A run of a folder, or of everything, is shared out to as many processes as there are cores. A run
of single files stays in one process, which is quicker there and easier to debug.
"""

from __future__ import annotations

import logging
import os
import signal
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair.
settings.register_profile("imserver", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("imserver")

# `nohup`, and `&` in a script, start programs that ignore Ctrl-C, and so do all that they start.
# The processes of these tests must be stoppable by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """No worker processes unless a folder is run; None: as many as there are cores."""
    paths = [Path(str(argument).partition("::")[0]) for argument in config.args]
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ or any(path.is_dir() for path in paths):
        return None
    return 0


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked `nightly`, unless `TEST_NIGHTLY` is set as .ci/nightly does."""
    if os.environ.get("TEST_NIGHTLY"):
        return
    left_out = [item for item in items if item.get_closest_marker("nightly")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("nightly")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    """Fail a test during which the server logged an error it did not announce."""
    errors: list[logging.LogRecord] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            errors.append(record)

    collector = Collector(level=logging.ERROR)
    root = logging.getLogger()
    root.addHandler(collector)
    try:
        result = yield
    finally:
        root.removeHandler(collector)
    expected = item.get_closest_marker("expects_error_log")
    if errors and expected is None:
        texts = "\n".join(logging.Formatter().format(record) for record in errors)
        pytest.fail(f"unexpected error log:\n{texts}")
    if expected is not None and not errors:
        pytest.fail("the error that should have been logged was not")
    return result

"""What holds for every test: no unexpected error may be logged, and no clock decides."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes is the machine's affair.
settings.register_profile("imserver", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("imserver")


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

"""What a log line says besides its sentence."""

from __future__ import annotations

import contextvars
import json
import logging
import os
import re
import sys

from imserver import log


def record(**extra: object) -> logging.LogRecord:
    """A record as `logger.info("hello", extra=...)` makes it, seen by our handlers."""
    made = logging.getLogger("x").makeRecord(
        "x", logging.INFO, __file__, 1, "hel%s", ("lo",), None, extra=dict(extra)
    )
    assert log.About().filter(made)
    return made


def test_json_says_the_sentence_and_the_fields_that_are_known() -> None:
    entry = json.loads(log.JsonFormatter().format(record(status=200, user_id="", other="no")))
    assert list(entry) == ["time", "level", "logger", "message", "status"]
    assert (entry["message"], entry["level"], entry["status"]) == ("hello", "info", 200)


def test_people_read_the_fields_at_the_end_of_the_line() -> None:
    assert log.HumanFormatter().format(record()).endswith("x: hello")
    assert (
        log.HumanFormatter()
        .format(record(status=200, user_id="小明"))
        .endswith("x: hello [user_id=小明 status=200]")
    )


def test_a_stack_is_told_in_both() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        made = record()
        made.exc_info = sys.exc_info()
    assert json.loads(log.JsonFormatter().format(made))["error"].endswith("ValueError: broken\n")
    assert log.HumanFormatter().format(made).endswith("ValueError: broken")


def test_what_the_task_is_about_stands_in_its_records_and_in_no_others() -> None:
    def work() -> logging.LogRecord:
        log.about(request_id="abc", user_id="alice")
        made = record(user_id="said at the place")
        log.about_nothing()
        assert not hasattr(record(), "request_id")
        return made

    inside = contextvars.copy_context().run(work)
    assert (inside.request_id, inside.user_id) == ("abc", "said at the place")
    assert not hasattr(record(), "request_id")
    assert not hasattr(record(), "user_id")


def test_nobody_waits_for_whoever_does_not_read_the_log() -> None:
    reading, writing = os.pipe()
    handler = log.Behind(writing)
    handler.setFormatter(logging.Formatter("%(message)s"))
    line = "x" * 100
    for _ in range(15_000):  # more than the pipe and the queue take
        handler.emit(logging.makeLogRecord({"msg": line}))
    told = b""
    while told.count(b"\n") < 5_000:
        told += os.read(reading, 1 << 20)
    handler.emit(logging.makeLogRecord({"msg": "the last"}))
    while not told.endswith(b"the last\n"):
        told += os.read(reading, 1 << 20)
    handler.close()
    # Told as often as there was room to tell it.
    dropped = re.findall(rb"(\d+) records were dropped: nobody read the log\n", told)
    assert dropped
    assert told.count(line.encode()) + sum(map(int, dropped)) == 15_000
    os.close(reading)
    os.close(writing)

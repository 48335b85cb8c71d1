"""Logging to standard error: for people on a terminal, as JSON elsewhere.

A record has a sentence and fields (`FIELDS`). The caller gives these in `extra`, or the code that
began the task's work gives them with `about`. Law: no record ever holds messages, bodies, tokens or
queries.

A thread writes the records, so code that logs never waits for the reader of the log. If nobody
reads it, records beyond `_MOST_WAITING` are dropped and counted, and the count is logged later.
"""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import traceback
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

FIELDS: Final = (
    "request_id", "connection_id", "user_id", "address", "method", "path", "status", "duration_ms",
)  # fmt: skip

ACCESS: Final = "imserver.access"  # the logger of what was asked and how it was answered

# What the task at work is about. The task that begins the work makes the dictionary.
_about: ContextVar[dict[str, Any] | None] = ContextVar("imserver_about", default=None)


def about(**fields: Any) -> None:
    """From now on, what this task and those it starts log is about this; names are `FIELDS`."""
    _about.set(fields)


def about_nothing() -> None:
    """That work is over: this task goes on to something else."""
    _about.set(None)


def what_about() -> dict[str, Any]:
    """What this task is about, as far as it was said."""
    return _about.get() or {}


class About(logging.Filter):
    """Puts what the task at work is about into every record; for handlers of any program."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`; lets everything through."""
        for name, value in what_about().items():
            if not hasattr(record, name):
                setattr(record, name, value)
        return True


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    values = {name: getattr(record, name, None) for name in FIELDS}
    return {name: value for name, value in values.items() if value not in (None, "")}


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339, UTC), level, logger, message, `FIELDS`, error."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        } | _fields(record)
        if record.exc_info:
            entry["error"] = "".join(traceback.format_exception(*record.exc_info))
        return msgspec.json.encode(entry).decode()


class HumanFormatter(logging.Formatter):
    """One line, with `FIELDS` at its end; a stack below it."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(name)s: %(message)s", "%H:%M:%S")

    def formatMessage(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter`."""
        line = super().formatMessage(record)
        fields = _fields(record)
        return f"{line} [{' '.join(f'{k}={v}' for k, v in fields.items())}]" if fields else line


_MOST_WAITING: Final = 10_000  # lines
_LAST: Final = 2.0  # seconds that the end of the process waits for what is not written yet


class Behind(logging.Handler):
    """Writes lines to a descriptor, in a thread of its own. Owner of the queue to it."""

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._lines: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        self._dropped = 0
        # It must not keep the process from ending; `close` gives it time for the rest.
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`; never waits."""
        try:
            line = f"{self.format(record)}\n".encode(errors="backslashreplace")
        except Exception:
            self.handleError(record)
            return
        try:
            if self._dropped:
                self._lines.put_nowait(self._count())
                self._dropped = 0
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _count(self) -> bytes:
        text = f"{self._dropped} records were dropped: nobody read the log"
        record = logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (), None)
        return f"{self.format(record)}\n".encode()

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            with suppress(OSError):  # a reader that is gone; the next one may not be
                while line:
                    # Not by sys.stderr: the interpreter could not end while this holds its lock.
                    line = line[os.write(self._descriptor, line) :]

    def close(self) -> None:
        """See `logging.Handler`; called at the end of the process."""
        with suppress(queue.Full):
            self._lines.put_nowait(None)
            self._thread.join(_LAST)
        super().close()


def set_up_logging(level: str, style: str) -> None:
    """Log to standard error; `style` is human, json, or auto: human on a terminal."""
    handler: logging.Handler
    try:
        handler = Behind(sys.stderr.fileno())
    except (AttributeError, OSError, ValueError):  # none, or not one of the system
        handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(About())
    on_terminal = sys.stderr is not None and sys.stderr.isatty()
    as_json = style == "json" or (style == "auto" and not on_terminal)
    handler.setFormatter(JsonFormatter() if as_json else HumanFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)

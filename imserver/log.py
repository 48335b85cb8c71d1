"""How the process logs: to standard error, for people on a terminal, as JSON elsewhere.

What a record is about (`FIELDS`) stands beside its sentence: said by who logs it, in `extra`, or
by whoever began the work of the task, in `about`. Law: no record ever holds what users wrote,
bodies, tokens or queries.
"""

from __future__ import annotations

import logging
import sys
import traceback
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


def also_about(**fields: Any) -> None:
    """More of what the work is about, if it was said what it is."""
    known = _about.get()
    if known is not None:
        known.update(fields)


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
    said = {name: getattr(record, name, None) for name in FIELDS}
    return {name: value for name, value in said.items() if value not in (None, "")}


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


def set_up_logging(level: str, style: str) -> None:
    """Log to standard error; `style` is human, json, or auto: human on a terminal."""
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(About())
    as_json = style == "json" or (style == "auto" and not sys.stderr.isatty())
    handler.setFormatter(JsonFormatter() if as_json else HumanFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)

"""An instant-messaging server in one process and one SQLite file."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from imserver.version import __version__

if TYPE_CHECKING:
    from imserver.config import Config, ConfigError
    from imserver.server import Server, open_server
    from imserver.store.database import StoreError

__all__ = ["Config", "ConfigError", "Server", "StoreError", "__version__", "open_server"]

# Loaded when they are asked for: who wants the client alone waits for no server.
_HOMES = {
    "Config": "imserver.config",
    "ConfigError": "imserver.config",
    "Server": "imserver.server",
    "StoreError": "imserver.store.database",
    "open_server": "imserver.server",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value

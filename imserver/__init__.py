"""An instant-messaging server in one process and one SQLite file."""

from __future__ import annotations

from imserver.config import Config, ConfigError
from imserver.server import Server, open_server
from imserver.store.database import StoreError
from imserver.version import __version__

__all__ = ["Config", "ConfigError", "Server", "StoreError", "__version__", "open_server"]

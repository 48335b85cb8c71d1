"""A running server and clients to talk to it, for tests."""

from tests.support.clients import (
    Refused,
    Rest,
    Socket,
    connect,
    http_client,
    login,
    operator,
    rest,
    unix_client,
)
from tests.support.servers import running_server

__all__ = [
    "Refused",
    "Rest",
    "Socket",
    "connect",
    "http_client",
    "login",
    "operator",
    "rest",
    "running_server",
    "unix_client",
]

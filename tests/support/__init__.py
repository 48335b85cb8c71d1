"""A running server and clients to talk to it, for tests."""

from tests.support.clients import Refused, Rest, Socket, connect, login, operator, rest
from tests.support.servers import running_server

__all__ = ["Refused", "Rest", "Socket", "connect", "login", "operator", "rest", "running_server"]

"""What can go wrong for a program that uses the client."""

from __future__ import annotations


class ClientError(Exception):
    """The root of everything that the client raises by itself."""


class Unreachable(ClientError):
    """There is no server there, or none that speaks this protocol; the text says what happened."""


class ConnectionLost(ClientError):
    """The connection ended before the answer, and the request is not one to repeat blindly.

    Whether it was done is unknown. The calls that can raise this say so: among others creating
    and dissolving a group, removing a member, handing a group over, and what revokes tokens or
    changes a password.
    """


class ClientClosed(ClientError):
    """The client's context has ended."""


class Unread(ClientError):
    """Events wait unread while the program goes on sending; see `open_client` on `events`."""


class Refused(ClientError):
    """The server refused. `code` is one of the documented list, whatever the sentence says."""

    def __init__(self, code: str, detail: str, retry_after_ms: int | None = None) -> None:
        super().__init__(code, detail, retry_after_ms)
        self.code = code
        self.detail = detail  # a sentence
        self.retry_after_ms = retry_after_ms  # milliseconds to wait, where the server says so

    def __str__(self) -> str:
        return f"{self.detail} ({self.code})"

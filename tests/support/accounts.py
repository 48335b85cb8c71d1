"""Servers in `token` mode, on which people have accounts, and logging in to them."""

from __future__ import annotations

import tempfile
from contextlib import asynccontextmanager, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from imserver.config import Auth
from imserver.server import wall_clock
from imserver.service.accounts.hashing import Passwords
from imserver.store import accounts
from imserver.store.audit import Author
from imserver.store.database import open_database
from imserver.store.transaction import Transaction
from tests.support.clients import PATIENCE, Refused, http_client
from tests.support.servers import running_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    import httpx

    from imserver import Server

NOBODY = Author(None)
PASSWORD = "correct horse battery"  # everyone's
NEW_PASSWORD = "staple of another kind"


@cache
def hash_of(password: str) -> str:
    """The hash of a password, made once for all tests."""
    return Passwords()._hasher.hash(password)


@contextmanager
def changing(folder: Path) -> Iterator[Transaction]:
    """A transaction on the database of a server that is not running."""
    with open_database(str(folder / "imserver.db")) as database:
        tx = Transaction(database.writer, wall_clock)
        tx.begin()
        yield tx
        tx.commit()


def give_accounts(folder: Path, users: Iterable[str], **properties: bool) -> None:
    """Give users an account with `PASSWORD`, on a server that is not running."""
    disabled = properties.pop("disabled", False)
    with changing(folder) as tx:
        for user in users:
            accounts.create(tx, NOBODY, user, hash_of(PASSWORD), **properties)
            accounts.set_disabled(tx, NOBODY, user, disabled)


@asynccontextmanager
async def token_server(
    *users: str,
    disabled: Iterable[str] = (),
    folder: Path | None = None,
    token_days: float = 30.0,
    **settings: Any,
) -> AsyncIterator[Server]:
    """A server in `token` mode on which `root` is the administrator, and `users` have accounts.

    With a `folder`, everything is kept there, and those who have accounts already keep them.
    """
    settings["auth"] = Auth(mode="token", token_days=token_days)
    with tempfile.TemporaryDirectory() as temporary:
        data = folder or Path(temporary)
        if not (data / "imserver.db").exists():
            give_accounts(data, ["root"], administrator=True)
            give_accounts(data, users)
            give_accounts(data, disabled, disabled=True)
        async with running_server(data=str(data), **settings) as server:
            yield server


async def try_to_log_in(server: Server, user_id: str, password: str, **more: Any) -> httpx.Response:
    """Ask for a token, whatever the answer."""
    body = {"user_id": user_id, "password": password, **more}
    async with http_client(server) as http:
        return await http.post("/api/v1/auth/login", json=body)


async def log_in(
    server: Server, user_id: str, password: str = PASSWORD, **more: Any
) -> dict[str, Any]:
    """The answer to a login.

    Raises:
        Refused: it is refused.
    """
    response = await try_to_log_in(server, user_id, password, **more)
    if response.status_code != 200:
        raise Refused(response.json())
    return response.json()


async def token_of(server: Server, user_id: str, **more: Any) -> str:
    """A new token of a user's."""
    return (await log_in(server, user_id, **more))["token"]


async def closing(connection: Any) -> tuple[int, str]:
    """The code and the reason with which the server closes a WebSocket; what comes before goes."""
    from trio_websocket import ConnectionClosed

    with trio.fail_after(PATIENCE):
        try:
            while True:
                await connection.get_message()
        except ConnectionClosed as closed:
            return closed.reason.code, closed.reason.reason

"""Commanding a server on its own machine, as its operator.

A server that runs is reached by the control socket in its data folder. Where none runs, a server
of this process that listens nowhere does the same; the database's lock sees to it that there is
never more than one. Either way an operation of the table is one HTTP request.
"""

from __future__ import annotations

import http.client
import json
import re
import socket
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import quote, urlencode

import trio

from imserver.cli.options import fail, first_password_sentence, settings_of
from imserver.service.operations import OPERATIONS
from imserver.store.database import InUseError, StoreError
from imserver.transport.listeners import unix_address

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    import click

    from imserver.config import Config
    from imserver.server import Server

T = TypeVar("T")

PAGE: Final = 200  # of what is read page by page

_PLACES: Final = {
    operation.name: operation.rest for operation in OPERATIONS if operation.rest is not None
}
_ANSWER: Final = 60.0  # seconds for an answer
_BUSY: Final = 15.0  # seconds that other commands, or the start of a server, may take
_PAUSE: Final = 0.05  # seconds between looks at whether they are over


class NotDoneError(Exception):
    """What was to be done was not, or nobody can tell; the text is one sentence."""


class Control:
    """A server that does what it is told."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect

    async def call(self, operation: str, **request: Any) -> dict[str, Any]:
        """Do an operation; a field that is None is left out.

        Raises:
            NotDoneError: the server refused, and why, or went away.
        """
        given = {name: value for name, value in request.items() if value is not None}
        try:
            sock = self._connect()
        except OSError as error:
            raise NotDoneError(f"the server is gone: {error.strerror}") from None
        # Who is interrupted does not wait for the thread: its socket ends with the process.
        return await trio.to_thread.run_sync(_ask, sock, operation, given, abandon_on_cancel=True)


def run(
    context: click.Context,
    config: Path | None,
    data: str | None,
    work: Callable[[Control], Awaitable[T]],
    *,
    running: bool = False,
    founding: bool = False,
) -> T:
    """Do some work on the server; it may print only where `running`.

    With `running`, only on one that runs already; `founding` may make a database where there is
    none. What goes wrong is said in one sentence, and the process ends with 1.
    """
    settings = settings_of(context, config, data)
    if not (running or founding or Path(settings.database_path).exists()):
        fail(f"there is no database {settings.database_path}")

    async def main() -> T:
        return await command(settings, work, running=running, started=_tell_of_the_first)

    try:
        return trio.run(main)
    except (NotDoneError, StoreError) as error:
        fail(str(error))
    except BaseException as error:
        if _is_interrupt(error):
            raise SystemExit(130) from None
        raise


def _is_interrupt(error: BaseException) -> bool:
    # What interrupts a server of this process comes in a group.
    if isinstance(error, BaseExceptionGroup):
        return all(_is_interrupt(each) for each in error.exceptions)
    return isinstance(error, KeyboardInterrupt)


def _tell_of_the_first(server: Server) -> None:
    if server.first_password is not None:
        print(first_password_sentence(server.first_password), file=sys.stderr)


async def command(
    config: Config,
    work: Callable[[Control], Awaitable[T]],
    *,
    running: bool = False,
    started: Callable[[Server], None] = lambda server: None,
) -> T:
    """Do some work on the server of a data folder; with `running`, only if one runs already.

    `started` is told of a server that was started for it.

    Raises:
        NotDoneError: the work failed, or the server cannot be reached.
        StoreError: none runs, and the database cannot be used.
    """
    path = config.control_socket
    assert path is not None, "a database in memory has no server but its own"
    patience = trio.current_time() + _BUSY
    while not _is_served(path):
        if running:
            raise NotDoneError(f"no server runs on {config.data}")
        # Here: whoever only asks a server that runs starts in half the time without it.
        from imserver.server import open_server

        failure: NotDoneError | None = None
        try:
            async with open_server(config, listening=False) as server:
                started(server)
                try:
                    return await work(Control(server.operator))
                except NotDoneError as error:
                    failure = error  # not in a group
        except InUseError:
            if trio.current_time() > patience:
                raise
            await trio.sleep(_PAUSE)
        if failure is not None:
            raise failure
    return await work(Control(partial(_connect, path)))


def _is_served(path: Path) -> bool:
    try:
        _connect(path).close()
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    except OSError as error:
        raise NotDoneError(f"cannot reach the server by {path}: {error.strerror}") from None
    return True


def _connect(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.settimeout(_ANSWER)
        with unix_address(path) as address:
            sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock


def _ask(sock: socket.socket, operation: str, request: dict[str, Any]) -> dict[str, Any]:
    place = _PLACES[operation]
    in_path = re.findall(r"{(\w+)}", place.path)
    target = place.path.format(**{name: _segment(str(request[name])) for name in in_path})
    others = {name: value for name, value in request.items() if name not in in_path}
    body = None if place.method == "GET" else json.dumps(others)
    if place.method == "GET" and others:
        target += "?" + urlencode(others)
    sock.settimeout(_ANSWER)
    with closing(http.client.HTTPConnection("imserver")) as connection:
        connection.sock = sock
        try:
            connection.request(place.method, target, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError):
            raise NotDoneError(
                "the server went away before it answered: see what it did before you repeat this"
            ) from None
    if response.status != 200:
        raise NotDoneError(answer["error"])
    return answer


def _segment(text: str) -> str:
    # A segment of dots alone means another path to those who read URLs.
    return quote(text, safe="").replace(".", "%2E")

"""`imserver chat`: the command line of the chat."""

from __future__ import annotations

import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple

import click
import trio

from imserver.chat.app import Chat, Peer
from imserver.chat.terminal import open_terminal
from imserver.client import ClientError, Patience, Refused, Unreachable, log_in, open_client

TOKEN_VARIABLE: Final = "IMSERVER_TOKEN"

Token = str | Callable[[], Awaitable[str]] | None

_LOGOUT = 3.0  # seconds; the token is of no use to anybody any more
_PATIENCE = Patience(most_delay=5.0)  # somebody is sitting there


class _Login(NamedTuple):
    """Where, as whom and with what."""

    url: str
    user_id: str
    token: Token
    password: str | None
    tls: ssl.SSLContext | None


@click.command()
@click.option("--as", "user_id", required=True, metavar="USER", help="Who you are.")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True,
              help="Where the server is.")  # fmt: skip
@click.option("--ca-file", type=click.Path(dir_okay=False),
              help="The certificates to trust an https server with, in PEM.  "
                   "[default: what the system trusts]")  # fmt: skip
@click.option("--token", envvar=TOKEN_VARIABLE, show_envvar=True,
              help="For servers that want one. Others on this machine see it here: better "
                   "in the variable, or in a file.")  # fmt: skip
@click.option("--token-file", type=click.Path(path_type=trio.Path, dir_okay=False),
              help="A file that holds it; read again at every login.")  # fmt: skip
@click.option("--password", "ask", is_flag=True,
              help="Ask for your password, and log out at the end.")  # fmt: skip
@click.option("--to", "receiver", metavar="USER", help="Whom to talk to.")
@click.option("--group", metavar="ID", help="The group to talk to.")
def chat(
    user_id: str,
    url: str,
    ca_file: str | None,
    token: str | None,
    token_file: trio.Path | None,
    ask: bool,
    receiver: str | None,
    group: str | None,
) -> None:
    """Chat in a terminal.

    Shows what comes in, and what you write on your other devices; acknowledges as read what it
    shows. /help tells the commands. Without a terminal it reads lines and prints lines.
    """
    if receiver and group:
        raise click.UsageError("give --to or --group, not both")
    shown: Token = token if token_file is None else partial(_read_token, token_file)
    password = click.prompt("Password", hide_input=True, err=True) if ask else None
    peer = Peer(receiver, False) if receiver else Peer(group, True) if group else None
    try:
        tls = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SystemExit(_complain(f"{ca_file}: no certificates: {error.strerror}")) from None
    status = 0
    try:
        status = trio.run(_main, _Login(url, user_id, shown, password, tls), peer)
    except* BrokenPipeError:
        # Who read the output has gone; Python would complain about it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(status)


async def _read_token(file: trio.Path) -> str:
    try:
        return (await file.read_text("utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ClientError(f"{file} cannot be read: {reason}") from None


async def _main(login: _Login, peer: Peer | None) -> int:
    status = 0
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def leave_on_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(leave_on_signal)
            status = await _chat(login, peer)
            nursery.cancel_scope.cancel()
    return status


async def _chat(login: _Login, peer: Peer | None) -> int:
    url, user_id, token, password, tls = login
    try:
        if password is not None:
            issued = await log_in(url, user_id, password, device="imserver chat", tls=tls)
            if issued.must_change_password:
                return _complain("this password is for one login, to change it: do that first")
            token = issued.token
        with open_terminal() as terminal:
            async with open_client(
                url, user_id, token=token, patience=_PATIENCE, tls=tls
            ) as client:
                unfinished = await Chat(client, terminal, peer).run()
                if password is not None:
                    with trio.move_on_after(_LOGOUT):
                        await client.logout()
    except Unreachable as error:
        return _complain(f"cannot reach {url}: {error}")
    except Refused as error:
        return _complain(f"the server does not let {user_id} in: {error}")
    except (ClientError, ValueError) as error:
        return _complain(str(error))
    if unfinished:
        return _complain(f"no connection at the end: {unfinished} lines may not have been sent")
    return 0


def _complain(sentence: str) -> int:
    print(f"imserver: {sentence}", file=sys.stderr)
    return 1

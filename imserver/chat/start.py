"""`imserver chat`: the command line of the chat."""

from __future__ import annotations

import os
import signal
import ssl
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

import click
import trio

from imserver.chat.app import Chat
from imserver.chat.contacts import Contacts, Partner
from imserver.chat.instructions import completions
from imserver.chat.terminal import open_terminal
from imserver.client import (
    ClientError,
    Code,
    Patience,
    Refused,
    Unreachable,
    log_in,
    log_out,
    open_client,
    set_password,
)

TOKEN_VARIABLE: Final = "IMSERVER_TOKEN"

Token = str | Callable[[], Awaitable[str]] | None

_LOGOUT: Final = 3.0  # seconds; the token is of no use to anybody any more
_PATIENCE: Final = Patience(most_delay=5.0)  # somebody is sitting there
_SIGNALS: Final = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}


class _Login(NamedTuple):
    """The server, the user, and the way there."""

    url: str
    user_id: str
    tls: ssl.SSLContext | None
    proxy: str | None


@click.command()
@click.option("--as", "user_id", required=True, metavar="USER", help="Who you are.")
@click.option("--url", default="http://127.0.0.1:8080", show_default=True,
              help="Where the server is.")  # fmt: skip
@click.option("--ca-file", type=click.Path(dir_okay=False),
              help="The certificates to trust an https server with, in PEM.  "
                   "[default: what the system trusts]")  # fmt: skip
@click.option("--proxy", metavar="URL",
              help="An HTTP proxy, http://proxy:3128. HTTP_PROXY and the like "
                   "are not read.")  # fmt: skip
@click.option("--token", envvar=TOKEN_VARIABLE, show_envvar=True,
              help="For servers that want one. Others on this machine see it here: better "
                   "in the variable, or in a file.")  # fmt: skip
@click.option("--token-file", type=click.Path(path_type=trio.Path, dir_okay=False),
              help="A file that holds it; read again at every login.")  # fmt: skip
@click.option("--password", "ask", is_flag=True,
              help="Ask for your password, and log out at the end.")  # fmt: skip
@click.option("--to", "receiver", metavar="USER", help="The user to talk to.")
@click.option("--group", metavar="GROUP", help="The group to talk to, by name or id.")
def chat(
    user_id: str,
    url: str,
    ca_file: str | None,
    proxy: str | None,
    token: str | None,
    token_file: trio.Path | None,
    ask: bool,
    receiver: str | None,
    group: str | None,
) -> None:
    """Chat in a terminal.

    Shows what comes in, and what you write on your other devices; acknowledges as read what it
    shows. /help shows the commands. Without a terminal it reads lines and prints lines.
    """
    if receiver and group:
        raise click.UsageError("give --to or --group, not both")
    shown: Token = token if token_file is None else partial(_read_token, token_file)
    partner = Partner(receiver, False) if receiver else Partner(group, True) if group else None
    try:
        tls = None if ca_file is None else ssl.create_default_context(cafile=ca_file)
    except OSError as error:
        raise SystemExit(_complain(f"{ca_file}: no certificates: {error.strerror}")) from None
    login = _Login(url, user_id, tls, proxy)
    status = 0
    try:
        if ask:
            with _password_token(login) as issued:
                status = trio.run(_main, login, issued, partner)
        else:
            status = trio.run(_main, login, shown, partner)
    except* BrokenPipeError:
        # Who read the output has gone; Python would complain about it once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except* ClientError as group_of_one:
        raise SystemExit(_complain(_reason(group_of_one, login, shown))) from None
    except* ValueError as group_of_one:
        raise SystemExit(_complain(str(_first(group_of_one)))) from None
    raise SystemExit(status)


@contextmanager
def _password_token(login: _Login) -> Iterator[str]:
    """A token for the password that the user is asked for; revoked at the end, whatever happens.

    A password that was for one login is changed first.
    """
    url, user_id, tls, proxy = login
    for number in _SIGNALS - {signal.SIGINT}:  # SIGINT raises KeyboardInterrupt already
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    password = click.prompt("Password", hide_input=True, err=True)
    issued = trio.run(
        partial(log_in, url, user_id, password, device="imserver chat", tls=tls, proxy=proxy)
    )
    try:
        if issued.must_change_password:
            click.echo("This password was for one login. Choose another one.", err=True)
            new = click.prompt("New password", hide_input=True, confirmation_prompt=True, err=True)
            trio.run(partial(set_password, url, issued.token, password, new, tls=tls, proxy=proxy))
        yield issued.token
    finally:
        trio.run(_log_out, login, issued.token)


async def _log_out(login: _Login, token: str) -> None:
    try:
        with trio.fail_after(_LOGOUT):
            await log_out(login.url, token, tls=login.tls, proxy=login.proxy)
    except Refused:
        return  # it was revoked already
    except (Unreachable, trio.TooSlowError):
        _complain("the token of this login could not be revoked: log out elsewhere")


async def _read_token(file: trio.Path) -> str:
    try:
        return (await file.read_text("utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ClientError(f"{file} cannot be read: {reason}") from None


async def _main(login: _Login, token: Token, partner: Partner | None) -> int:
    status = 0
    with trio.open_signal_receiver(*_SIGNALS) as signals:
        async with trio.open_nursery() as nursery:

            async def leave_on_signal() -> None:
                async for _ in signals:
                    nursery.cancel_scope.cancel()

            nursery.start_soon(leave_on_signal)
            status = await _chat(login, token, partner)
            nursery.cancel_scope.cancel()
    return status


async def _chat(login: _Login, token: Token, partner: Partner | None) -> int:
    url, user_id, tls, proxy = login
    contacts = Contacts(user_id)
    async with (
        open_client(url, user_id, token=token, patience=_PATIENCE, tls=tls, proxy=proxy) as client,
        open_terminal(partial(completions, contacts)) as terminal,
    ):
        unfinished = await Chat(client, terminal, contacts, partner).run()
    if unfinished:
        return _complain(f"no connection at the end: {unfinished} lines may not have been sent")
    return 0


def _reason(group: BaseExceptionGroup[ClientError], login: _Login, token: Token) -> str:
    match _first(group):
        case Unreachable() as error:
            return f"cannot reach {login.url}: {error}"
        case Refused(code=code) as error:
            hint = ""
            if code == Code.UNAUTHORIZED and token is None:
                hint = "; --password asks for a password, --token-file names a file with a token"
            return f"the server does not let {login.user_id} in: {error}{hint}"
        case error:
            return str(error)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _complain(sentence: str) -> int:
    print(f"imserver: {sentence}", file=sys.stderr)
    return 1

"""`imserver user`: users and their accounts."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from imserver.cli.operator_calls import PAGE, run
from imserver.cli.options import SETTINGS, examples, fail, located
from imserver.cli.printing import as_json_option, put, put_lines, put_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from imserver.cli.operator_calls import Control


@click.group(context_settings=SETTINGS)
def user() -> None:
    """Look after users and their accounts.

    Works beside a running server, where it counts at once, and without one.
    """


def _subcommand(name: str, *lines: str) -> Callable[[Callable[..., Any]], click.Command]:
    def decorate(function: Callable[..., Any]) -> click.Command:
        return user.command(name, context_settings=SETTINGS, epilog=examples(*lines))(
            click.pass_context(as_json_option(located(function)))
        )

    return decorate


_who = click.argument("user_id", metavar="USER")
_stdin = click.option("--password-stdin", is_flag=True,
                      help="Read the password from standard input.")  # fmt: skip
_generate = click.option("--generate", is_flag=True,
                         help="Make a password for one login, and print it.")  # fmt: skip


def _say(answer: dict[str, Any], as_json: bool, sentence: str) -> None:
    if as_json:
        put_lines([answer])
        return
    put(sentence)
    if "password" in answer:
        put(f"password for one login: {answer['password']}")


def _password(password_stdin: bool, generate: bool) -> str | None:
    """The password that an account is to get; None: one is to be made."""
    if password_stdin and generate:
        raise click.UsageError("give --password-stdin or --generate, not both")
    if generate:
        return None
    if password_stdin:
        # As bytes: what standard input is taken for is not what a password is.
        line = sys.stdin.buffer.readline().rstrip(b"\r\n")
        try:
            return line.decode()
        except UnicodeDecodeError:
            fail("the password is not UTF-8")
    if not sys.stdin.isatty():
        raise click.UsageError("give --password-stdin or --generate where nobody can be asked")
    asked: str = click.prompt("Password", hide_input=True, confirmation_prompt="Once more")
    return asked


@_subcommand(
    "add",
    "imserver user add alice",
    "imserver user add alice --generate",
    "pwgen 20 1 | imserver user add alice --password-stdin",
)
@_who
@click.option("--admin", is_flag=True, help="Make them an administrator.")
@_generate
@_stdin
def add(
    context: click.Context,
    user_id: str,
    admin: bool,
    generate: bool,
    password_stdin: bool,
    as_json: bool,
    config: Path | None,
    data: str | None,
) -> None:
    """Give USER an account; the password is asked for twice."""
    password = _password(password_stdin, generate)

    async def work(control: Control) -> dict[str, Any]:
        return await control.call(
            "add_user", user_id=user_id, password=password, administrator=admin
        )

    answer = run(context, config, data, work, founding=True)
    _say(answer, as_json, f"{user_id} has an account")


@_subcommand("list", "imserver user list", "imserver user list al", "imserver user list --json")
@click.argument("prefix", default="")
def list_(
    context: click.Context, prefix: str, as_json: bool, config: Path | None, data: str | None
) -> None:
    """List users, or those whose id begins with PREFIX."""

    async def work(control: Control) -> list[dict[str, Any]]:
        return [user async for user in _users(control, prefix)]

    users = run(context, config, data, work)
    if as_json:
        put_lines(users)
        return
    put_table(
        ("user", "account", "since", "used", "logged in", "connected"),
        (
            (
                user["user_id"],
                _account_in_words(user),
                (user["created_at"] or "")[:10],
                ((user["account"] or {}).get("used_at") or "")[:10],
                str((user["account"] or {}).get("sessions", "")),
                str(user["connections"]),
            )
            for user in users
        ),
    )


async def _users(control: Control, prefix: str) -> AsyncIterator[dict[str, Any]]:
    after = ""
    while True:
        page = await control.call("list_users", prefix=prefix, after=after, limit=PAGE)
        for user in page["users"]:
            yield user
            after = user["user_id"]
        if not page["has_more"]:
            return


def _account_in_words(user: dict[str, Any]) -> str:
    account = user["account"]
    if account is None:
        return "none"
    words = ["administrator" if account["administrator"] else "yes"]
    if account["disabled"]:
        words.append("disabled")
    if account["must_change_password"]:
        words.append("has to change the password")
    return ", ".join(words)


@_subcommand("show", "imserver user show alice")
@_who
def show(
    context: click.Context, user_id: str, as_json: bool, config: Path | None, data: str | None
) -> None:
    """Show USER."""

    async def work(control: Control) -> dict[str, Any]:
        return await control.call("get_user", user_id=user_id)

    answer = run(context, config, data, work)["user"]
    if as_json:
        put_lines([answer])
        return
    account = answer.pop("account") or {}
    rows = {"account": _account_in_words(answer | {"account": account or None})}
    rows |= {name: str(value) for name, value in answer.items() if value is not None}
    rows |= {
        name: account[name]
        for name in ("password_set_at", "used_at")
        if account.get(name) is not None
    }
    if account:
        rows["logged in"] = str(account["sessions"])
    put_table(("", ""), ((name.replace("_", " "), value) for name, value in rows.items()))


def _update(
    context: click.Context, config: Path | None, data: str | None, user_id: str, **change: bool
) -> dict[str, Any]:
    async def work(control: Control) -> dict[str, Any]:
        return await control.call("update_user", user_id=user_id, **change)

    return run(context, config, data, work)


@_subcommand("disable", "imserver user disable alice")
@_who
def disable(
    context: click.Context, user_id: str, as_json: bool, config: Path | None, data: str | None
) -> None:
    """Keep USER from logging in, and log them out at once."""
    answer = _update(context, config, data, user_id, disabled=True)
    _say(answer, as_json, f"{user_id} is logged out and cannot log in")


@_subcommand("enable", "imserver user enable alice")
@_who
def enable(
    context: click.Context, user_id: str, as_json: bool, config: Path | None, data: str | None
) -> None:
    """Let USER log in again."""
    answer = _update(context, config, data, user_id, disabled=False)
    _say(answer, as_json, f"{user_id} can log in")


@_subcommand("admin", "imserver user admin alice", "imserver user admin alice --withdraw")
@_who
@click.option("--withdraw", is_flag=True, help="Make them an ordinary user again.")
def admin(
    context: click.Context,
    user_id: str,
    withdraw: bool,
    as_json: bool,
    config: Path | None,
    data: str | None,
) -> None:
    """Make USER an administrator; it counts at once."""
    answer = _update(context, config, data, user_id, administrator=not withdraw)
    now = "is no administrator" if withdraw else "is an administrator"
    _say(answer, as_json, f"{user_id} {now}")


@_subcommand("passwd", "imserver user passwd alice", "imserver user passwd alice --generate")
@_who
@_generate
@_stdin
def passwd(
    context: click.Context,
    user_id: str,
    generate: bool,
    password_stdin: bool,
    as_json: bool,
    config: Path | None,
    data: str | None,
) -> None:
    """Give USER another password, and log them out everywhere."""
    password = _password(password_stdin, generate)

    async def work(control: Control) -> dict[str, Any]:
        return await control.call("set_password", user_id=user_id, password=password)

    answer = run(context, config, data, work)
    _say(answer, as_json, f"{user_id} has another password")


@_subcommand("sessions", "imserver user sessions alice")
@_who
def sessions(
    context: click.Context, user_id: str, as_json: bool, config: Path | None, data: str | None
) -> None:
    """List where USER is logged in, and their open connections."""

    async def work(control: Control) -> dict[str, Any]:
        return await control.call("list_user_sessions", user_id=user_id)

    answer = run(context, config, data, work)
    if as_json:
        put_lines([answer])
        return
    names = ("token_id", "device", "platform", "address", "created_at", "used_at", "expires_at")
    if answer["sessions"]:
        put_table(
            [name.replace("_", " ") for name in names],
            ([session[name] for name in names] for session in answer["sessions"]),
        )
    if answer["connections"]:
        put_table(
            ("connected since", "from", "by token"),
            (
                (each["connected_at"], each["address"], each.get("token_id", ""))
                for each in answer["connections"]
            ),
        )
    if not answer["sessions"] and not answer["connections"]:
        put(f"{user_id} is logged in nowhere")


@_subcommand(
    "revoke", "imserver user revoke alice token_k3v0m7t2s9qa", "imserver user revoke alice --all"
)
@_who
@click.argument("token_id", metavar="[TOKEN]", required=False)
@click.option("--all", "everything", is_flag=True, help="Revoke every token of theirs.")
def revoke(
    context: click.Context,
    user_id: str,
    token_id: str | None,
    everything: bool,
    as_json: bool,
    config: Path | None,
    data: str | None,
) -> None:
    """Log USER out: where TOKEN is used, or everywhere."""
    if everything is (token_id is not None):
        raise click.UsageError("give TOKEN or --all")

    async def work(control: Control) -> dict[str, Any]:
        if token_id is None:
            return await control.call("revoke_user_sessions", user_id=user_id)
        return await control.call("revoke_user_session", user_id=user_id, token_id=token_id)

    where = "everywhere" if token_id is None else f"where {token_id} was used"
    _say(run(context, config, data, work), as_json, f"{user_id} is logged out {where}")


@_subcommand("disconnect", "imserver user disconnect alice")
@_who
def disconnect(
    context: click.Context, user_id: str, as_json: bool, config: Path | None, data: str | None
) -> None:
    """Close USER's open connections; they can connect again."""

    async def work(control: Control) -> dict[str, Any]:
        return await control.call("disconnect_user", user_id=user_id)

    answer = run(context, config, data, work, running=True)
    _say(answer, as_json, f"{answer['connections']} connections of {user_id} are closed")

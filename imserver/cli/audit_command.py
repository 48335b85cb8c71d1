"""`imserver audit`: who did what to whom, when and from where."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import click
import trio

from imserver.cli.operator_calls import PAGE, run
from imserver.cli.options import SETTINGS, examples, located
from imserver.cli.printing import as_json_option, put, put_lines

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from imserver.cli.operator_calls import Control

_LOOK_EVERY: Final = 1.0  # seconds between looks at what came


@click.command(
    context_settings=SETTINGS,
    epilog=examples(
        "imserver audit",
        "imserver audit --subject alice --since 2026-01-31",
        "imserver audit --follow --json | jq .",
    ),
)
@click.option("--actor", metavar="USER", help="Only what USER did.")
@click.option("--operator", metavar="NAME", help="Only what NAME did, by command.")
@click.option("--subject", metavar="USER", help="Only what was done to USER.")
@click.option("--action", help="Only what is of one kind, such as login.")
@click.option("--since", metavar="TIME", help="Not before TIME, as 2026-01-31T12:00:00Z; "
                                              "without a zone it is UTC.")  # fmt: skip
@click.option("--until", metavar="TIME", help="Before TIME.")
@click.option("-n", "--last", type=click.IntRange(0), default=50, show_default=True,
              help="How many entries, the newest; 0: all.")  # fmt: skip
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes, until interrupted.")
@as_json_option
@located
@click.pass_context
def audit(
    context: click.Context,
    actor: str | None,
    operator: str | None,
    subject: str | None,
    action: str | None,
    since: str | None,
    until: str | None,
    last: int,
    follow: bool,
    as_json: bool,
    config: Path | None,
    data: str | None,
) -> None:
    """Print the audit log: who did what to whom, when and from where. The newest is the last."""
    wanted: dict[str, Any] = {
        "actor": actor,
        "operator": operator,
        "subject": subject,
        "action": action,
        "since": _milliseconds("--since", since),
        "until": _milliseconds("--until", until),
    }

    def show(entries: Iterable[dict[str, Any]]) -> None:
        if as_json:
            put_lines(entries)
        else:
            for entry in entries:
                put(_in_words(entry))

    async def read(control: Control) -> tuple[int, list[dict[str, Any]]]:
        newest = (await control.call("read_audit", limit=1))["entries"]
        cursor = newest[0]["entry"] if newest else 0
        return cursor, await _newest(control, cursor + 1, last, wanted)

    async def go_on(control: Control) -> None:
        cursor, entries = await read(control)
        show(entries)
        while True:
            page = await control.call("read_audit", after=cursor, limit=PAGE, **wanted)
            show(page["entries"])
            if page["entries"]:
                cursor = page["entries"][-1]["entry"]
            if not page["has_more"]:
                await trio.sleep(_LOOK_EVERY)

    if follow:
        run(context, config, data, go_on, running=True)
    else:
        show(run(context, config, data, read)[1])


async def _newest(
    control: Control, before: int, count: int, wanted: dict[str, Any]
) -> list[dict[str, Any]]:
    """The `count` newest entries before one, or all of them (0), the oldest first."""
    found: list[dict[str, Any]] = []
    while True:
        limit = min(PAGE, count - len(found)) if count else PAGE
        page = await control.call("read_audit", before=before, limit=limit, **wanted)
        found += page["entries"]
        if not page["has_more"] or len(found) == count:
            return found[::-1]
        before = page["entries"][-1]["entry"]


def _milliseconds(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise click.UsageError(f"{name} is no time such as 2026-01-31T12:00:00Z") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    return int(time.timestamp() * 1000)


def _in_words(entry: dict[str, Any]) -> str:
    time = datetime.fromtimestamp(entry["timestamp"] / 1000, UTC)
    operator = entry.get("operator")
    actor = entry.get("actor") or (f"operator {operator}" if operator else "the server")
    words = [time.isoformat(" ", "seconds").replace("+00:00", "Z"), actor, entry["action"]]
    if "subject" in entry:
        words.append(entry["subject"])
    if "address" in entry:
        words.append(f"from {entry['address']}")
    words += [
        f"{name}={json.dumps(value, ensure_ascii=False)}"
        for name, value in entry.get("detail", {}).items()
    ]
    return "  ".join(words)

"""`imserver check`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
import msgspec

from imserver.cli.options import examples
from imserver.cli.progress import data_command, database_of, working
from imserver.store.tools.check import check as find

if TYPE_CHECKING:
    from pathlib import Path

    from imserver.store.tools.check import Finding


@data_command("check", examples("imserver check", "imserver check --json | jq .sound"))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
def check(
    context: click.Context, as_json: bool, config: Path | None, data: str | None, quiet: bool
) -> None:
    """Check the database for damage. The server may run.

    SQLite reads the whole file. Then the server's own rules are checked: the order of messages,
    who belongs where and when, acknowledgements. Nothing is changed. Exit code 0 if all is well,
    else 1.
    """
    database = database_of(context, config, data)
    with working(quiet) as bar:
        findings = list(find(database, bar))
    sound = not any(finding.problems for finding in findings)
    if as_json:
        report = {
            "database": str(database),
            "sound": sound,
            "checks": [finding._asdict() for finding in findings],
        }
        print(msgspec.json.format(msgspec.json.encode(report)).decode())
    else:
        for finding in findings:
            print(_describe(finding))
        print(f"{database} is {'sound' if sound else 'not sound'}")
    if not sound:
        raise SystemExit(1)


def _describe(finding: Finding) -> str:
    if not finding.problems:
        return f"ok      {finding.name}: {finding.law}"
    lines = [f"BROKEN  {finding.name}: not so: {finding.law}", *finding.examples]
    if finding.problems > len(finding.examples):
        lines.append(f"and {finding.problems - len(finding.examples):,} more")
    return "\n        ".join(lines)

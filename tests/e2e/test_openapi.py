"""schemathesis makes requests of the OpenAPI document, right ones and wrong ones, to a live server.

It holds every answer to the document: status, headers, content type, shape, what is refused and
what is not, also where calls build on each other. `TEST_EXAMPLES` says how many requests it makes
up for each operation, besides those that it always tries (default 5, and the same ones each time;
if it is given, they are new ones).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import trio

from tests.e2e.process import started
from tests.support.accounts import give_accounts, token_of

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.process import Process

EXAMPLES = os.environ.get("TEST_EXAMPLES")

EXCLUDED = {
    # In `open` mode every X-User-ID is believed: a made-up one is a user like any other.
    "ignored_auth",
    # The document says of which types values are. Which texts are an id, how long a name may be, or
    # that a message needs a receiver or a group, is refused with the 400 that it lists.
    "positive_data_acceptance",
}


async def tried(server: Process, folder: Path, *options: str, without: set[str]) -> None:
    """Let schemathesis loose on a server, which it must be content with."""
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json"),
        *(*options, "--no-color"),
        *("--checks", "all", "--exclude-checks", ",".join(sorted(without))),
        *("--max-examples", EXAMPLES or "5", "--max-failures", "20"),
        *([] if EXAMPLES else ["--generation-deterministic"]),
    ]
    done = await trio.run_process(
        command, cwd=folder, check=False, capture_stdout=True, stderr=subprocess.STDOUT
    )
    said = done.stdout.decode()
    assert done.returncode == 0, said
    generated = re.search(r"(\d+) generated", said)
    assert generated, said
    assert int(generated[1]) > 300, said
    assert await server.terminated() == 0


async def test_what_a_live_server_answers_is_what_its_openapi_document_says(
    tmp_path: Path,
) -> None:
    async with started(tmp_path) as server:
        await tried(server, tmp_path, "--header", "X-User-ID: alice", without=EXCLUDED)
    assert '"error"' not in server.log


async def test_a_server_with_accounts_does_too_and_lets_nobody_in_without_a_token(
    tmp_path: Path,
) -> None:
    give_accounts(tmp_path / "data", ["root"], administrator=True)
    give_accounts(tmp_path / "data", ["alice"])
    mode = {"IMSERVER_AUTH_MODE": "token", "IMSERVER_ADMISSION_MODE": "off"}
    async with started(tmp_path, **mode) as server:
        token = await token_of(server, "alice")
        await tried(
            server,
            tmp_path,
            *("--header", f"Authorization: Bearer {token}"),
            *("--exclude-path", "/api/v1/auth/logout"),  # or there would be nobody to call
            without=EXCLUDED - {"ignored_auth"},
        )
    assert '"error"' not in server.log

"""`token` mode on the real process: the first password, kill -9, and what the mode costs others."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.e2e.process import environment, loaded_by, started
from tests.support import login, rest
from tests.support.accounts import (
    NEW_PASSWORD,
    PASSWORD,
    give_accounts,
    log_in,
    try_to_log_in,
)

if TYPE_CHECKING:
    from pathlib import Path

FLAGS = ("--data", "data", "--port", "0", "--log-level", "debug")
MODE = {"IMSERVER_AUTH_MODE": "token"}
PROMISE = "imserver: the first administrator is admin, with this password for one login: "


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("imserver.db*"))


async def test_the_first_password_is_printed_once_and_kept_nowhere(tmp_path: Path) -> None:
    async with started(tmp_path, *FLAGS, **MODE) as first:
        assert await first.terminated() == 0
    lines = first.said.splitlines()
    assert len(lines) == 2
    assert lines[1].startswith(PROMISE)
    password = lines[1].removeprefix(PROMISE)
    assert re.fullmatch(r"[\w-]{16}", password)
    assert password not in first.log
    assert password.encode() not in everything_in(tmp_path)

    async with started(tmp_path, *FLAGS, **MODE) as second:
        issued = await log_in(second, "admin", password)
        assert issued["must_change_password"] is True
        async with rest(second, None, issued["token"]) as admin:
            change = {"old_password": password, "new_password": NEW_PASSWORD}
            await admin.post("/api/v1/auth/password", change)
        async with login(second, "admin", issued["token"]):
            pass
        assert await second.terminated() == 0
    assert second.said.count("\n") == 1
    for secret in (password, NEW_PASSWORD, issued["token"]):
        assert secret not in second.said + second.log
        assert secret.encode() not in everything_in(tmp_path)


async def test_killed_behind_the_answer_a_login_and_what_was_revoked_stand(tmp_path: Path) -> None:
    give_accounts(tmp_path / "data", ["admin"], administrator=True)
    async with started(tmp_path, *FLAGS, **MODE) as server:
        first = await log_in(server, "admin")
        async with rest(server, None, first["token"]) as admin:
            change = {"old_password": PASSWORD, "new_password": NEW_PASSWORD}
            await admin.post("/api/v1/auth/password", change)
        issued = await log_in(server, "admin", NEW_PASSWORD)
        async with rest(server, None, issued["token"]) as admin:
            await admin.ask("DELETE", f"/api/v1/auth/sessions/{first['token_id']}")
        server.process.kill()
        await server.ended()
    async with started(tmp_path, *FLAGS, **MODE) as server:
        async with login(server, "admin", issued["token"]) as admin:
            [session] = (await admin.call("list_sessions"))["sessions"]
            assert session["token_id"] == issued["token_id"]
        async with rest(server, None, first["token"]) as gone:
            assert (await gone.request("GET", "/api/v1/groups")).status_code == 401
        assert (await try_to_log_in(server, "admin", PASSWORD)).status_code == 401


def test_a_server_without_accounts_starts_without_what_hashes_passwords() -> None:
    assert loaded_by("imserver.cli.program, imserver.cli.serving", "argon2") == []


HASHING = """
import os
from threading import Barrier, Thread
from imserver.resources import give_large_blocks_back
from imserver.service.accounts.hashing import Passwords

def memory():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

give_large_blocks_back()
hasher = Passwords()._hasher
hasher.hash("correct horse")
before = memory()
together = Barrier(9)

def work():
    for _ in range(3):
        hasher.hash("correct horse")
    together.wait()  # so that each has memory of its own
    together.wait()

threads = [Thread(target=work) for _ in range(8)]
for thread in threads:
    thread.start()
together.wait()
print(memory() - before)
together.wait()
"""


def test_the_memory_of_a_hash_is_given_back_whichever_thread_had_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", HASHING],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 10 * 1024 * 1024  # one takes 19 MiB

"""What the generator of large databases writes is what the server would have written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from imserver.store.tools.check import check
from tests.bench.generate import GROUPS, POPULAR, USERS, generate, group, user
from tests.support import login, rest, running_server

if TYPE_CHECKING:
    from pathlib import Path

MESSAGES = 3_000


async def test_a_generated_database_can_be_served(tmp_path: Path) -> None:
    filled = generate(tmp_path, MESSAGES)
    assert filled.messages == MESSAGES
    unsound = [finding for finding in check(filled.database) if finding.problems]
    assert not unsound
    async with (
        running_server(data=str(tmp_path)) as server,
        rest(server, user(0)) as everywhere,
        login(server, user(POPULAR)) as popular,
    ):
        everyone = await everywhere.get(f"/api/v1/groups/{group(0)}/members")
        assert len(everyone["members"]) == USERS
        smallest = await everywhere.get(f"/api/v1/groups/{group(GROUPS - 1)}")
        assert smallest["group"]["owner_id"] == user(0)
        assert len(smallest["group"]["members"]) == 19

        opening = await everywhere.get("/api/v1/messages/offline", limit=1)
        assert opening["messages"][0]["event"]["kind"] == "created"

        page = await popular.call("sync_offline", {"limit": 200})
        mine = [message for message in page["messages"] if message.get("receiver_id")]
        assert mine
        assert {message["receiver_id"] for message in mine} == {user(POPULAR)}

        sent = await everywhere.post(
            "/api/v1/messages", {"group_id": group(0), "content": "the next place"}
        )
        assert sent["message_id"] == f"msg_{MESSAGES + 1}"
        assert (await popular.push())["data"] == sent["message"]


def test_the_same_seed_writes_the_same_database(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    one = generate(tmp_path / "one", 1_000, seed=7)
    other = generate(tmp_path / "other", 1_000, seed=7)
    assert one.database.read_bytes() == other.database.read_bytes()

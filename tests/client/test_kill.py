"""The client and a real server process that is killed in the middle of everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio

from imserver.client import open_client
from tests.client.support import BRISK, hosted_process, messages, quiet, stored

if TYPE_CHECKING:
    from pathlib import Path

SENDERS = ("alice", "carol", "dave")
EACH = 60
KILLS = 3


async def test_each_message_once_and_in_order_across_kills(tmp_path: Path) -> None:
    everything = len(SENDERS) * EACH
    found: dict[str, list[str]] = {}
    results: dict[str, list[str]] = {name: [] for name in SENDERS}
    reached = trio.Event()  # replaced when the next part was read

    async def send(name: str) -> None:
        async with open_client(host.url, name, events=False, patience=BRISK) as client:
            for number in range(EACH):
                sent = await client.send(f"{name} {number}", to="bob")
                results[name].append(sent.id)

    async def read(device: str, user_id: str, count: int) -> None:
        nonlocal reached
        options: dict[str, Any] = {"cursor": "msg_0", "buffer": 20, "patience": BRISK}
        async with open_client(host.url, user_id, **options) as client:
            found[device] = []
            while len(found[device]) < count:
                found[device] += await messages(client, 1)
                if device == "bob" and len(found[device]) % (everything // (KILLS + 1)) == 0:
                    reached.set()
            await quiet(client)

    async with hosted_process(tmp_path) as host:
        async with trio.open_nursery() as programs:
            programs.start_soon(read, "bob", "bob", everything)
            programs.start_soon(read, "bob's phone", "bob", everything)
            programs.start_soon(read, "alice's phone", "alice", EACH)
            for name in SENDERS:
                programs.start_soon(send, name)
            for _ in range(KILLS):
                await reached.wait()
                reached = trio.Event()
                await host.stop()
                await host.start()
        order = await stored(host.url, "bob")
    assert sorted(order) == sorted(f"{name} {n}" for name in SENDERS for n in range(EACH))
    assert found["bob"] == found["bob's phone"] == order
    assert found["alice's phone"] == [f"alice {number}" for number in range(EACH)]
    assert len({message_id for ids in results.values() for message_id in ids}) == everything

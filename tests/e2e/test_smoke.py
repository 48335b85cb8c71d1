"""The main job, once, over both transports."""

from __future__ import annotations

from tests.support import login, rest, running_server


async def test_a_message_sent_over_rest_is_pushed_over_websocket() -> None:
    async with (
        running_server() as server,
        login(server, "bob") as bob,
        rest(server, "alice") as alice,
    ):
        sent = await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": "hello"})
        pushed = await bob.push()
        assert pushed["type"] == "new_message"
        assert pushed["data"] == sent["message"]

"""Two servers in one program: one keeps nothing, the other keeps its database in a folder.

Run it with `python docs/embedding.py`.
"""

from __future__ import annotations

import json
import tempfile

import httpx
import trio
from trio_websocket import open_websocket_url

import imserver


async def main() -> None:
    """Open both servers, have a word with each, and stop them."""
    with tempfile.TemporaryDirectory() as folder:
        scratch = imserver.Config(port=0, database=":memory:")
        kept = imserver.Config(port=0, data=folder)
        async with (
            imserver.open_server(scratch) as first,
            imserver.open_server(kept) as second,
        ):
            await converse(first, "hello, memory")
            await converse(second, "hello, file")
        # Leaving the block stopped both in order. What the second one kept is still there.
        async with imserver.open_server(kept) as again, rest(again, "bob") as bob:
            answer = await bob.get("/api/v1/messages/offline")
            print("after a restart:", [message["content"] for message in answer.json()["messages"]])


async def converse(server: imserver.Server, content: str) -> None:
    """Bob listens on a WebSocket, Alice sends over REST."""
    print(f"{server.url} ({server.database})")
    address = server.url.replace("http", "ws", 1) + "/ws"
    async with open_websocket_url(address) as bob, rest(server, "alice") as alice:
        await bob.send_message(json.dumps({"type": "login", "data": {"user_id": "bob"}}))
        print("  bob:  ", await bob.get_message())
        sent = await alice.post("/api/v1/messages", json={"receiver_id": "bob", "content": content})
        print("  alice:", sent.text)
        print("  bob:  ", await bob.get_message())


def rest(server: imserver.Server, user_id: str) -> httpx.AsyncClient:
    """A client for REST calls as one user."""
    return httpx.AsyncClient(base_url=server.url, headers={"X-User-ID": user_id})


if __name__ == "__main__":
    trio.run(main)

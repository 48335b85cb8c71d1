"""The `websockets` library on asyncio and nothing else: what reading and writing frames costs.

python echo.py PORT
"""

from __future__ import annotations

import asyncio
import sys

from websockets.asyncio.server import ServerConnection, serve


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


async def main(port: int) -> None:
    async with serve(echo, "127.0.0.1", port, compression=None, ping_interval=None) as server:
        await server.serve_forever()


asyncio.run(main(int(sys.argv[1])))

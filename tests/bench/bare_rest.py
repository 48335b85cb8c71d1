"""The least that REST costs: quart-trio on hypercorn that answers and does nothing else.

    python tests/bench/bare_rest.py PORT

`imserver bench rest --url http://127.0.0.1:PORT --server-pid PID` then says what a request costs
before anything is checked, stored or pushed; `imserver bench rest` what it costs with all that.
"""

from __future__ import annotations

import sys

import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio

app = QuartTrio(__name__)


@app.get("/health")
async def health() -> Response:
    return Response(b'{"status":"ok"}', content_type="application/json")


@app.post("/api/v1/messages")
async def send() -> Response:
    await request.get_data()
    return Response(b'{"success":true}', content_type="application/json")


if __name__ == "__main__":
    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    trio.run(serve, app, config)

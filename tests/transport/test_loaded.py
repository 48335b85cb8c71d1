"""What a server loads: HTTP/2 costs memory and time that only servers of HTTP/2 pay for."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("quart", "quart_trio", "werkzeug", "hypercorn", "h2", "h11")
PROGRAM = """
import sys, trio, imserver

async def main():
    async with imserver.open_server(imserver.Config(database=":memory:", port=0)) as server:
        stream = await trio.open_tcp_stream(*server.address)
        async with stream:
            await stream.send_all(b"GET /health HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n")
            assert (await stream.receive_some()).startswith(b"HTTP/1.1 200 ")
    print(*sorted(sys.modules))

trio.run(main)
"""


def test_a_server_without_a_certificate_loads_nothing_of_http2() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = done.stdout.split()
    assert "httptools" in loaded
    assert [name for name in loaded if name.partition(".")[0] in HEAVY] == []

"""The comparison with other servers runs, and its wires understand what arrives however cut up."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from tests.bench.compare.wires.mqtt import MqttQos0Wire, MqttQos1Wire
from tests.bench.compare.wires.nats import NatsWire
from tests.bench.compare.wires.xmpp import XmppWire

if TYPE_CHECKING:
    from imserver.bench.wire import Wire

PATIENCE = 60.0  # seconds
HERE = Path(__file__).parents[2]
TINY = ["--duration", "0.2", "--warmup", "0.1", "--pairs", "2", "--members", "5"]


def compare(folder: Path, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """What is told of each peer, and what was said on the way."""
    file = folder / "compared.json"
    command = [sys.executable, "-m", "tests.bench.compare", *TINY, "--json", str(file), *arguments]
    done = subprocess.run(command, cwd=HERE, capture_output=True, timeout=PATIENCE)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
    return json.loads(file.read_bytes())["results"], done.stderr.decode()


def test_peers_are_measured_in_turn(tmp_path: Path) -> None:
    peers = ["imserver", "websockets-echo"]
    results, said = compare(
        tmp_path, "--case", "direct-8", "--peer", peers[0], "--peer", peers[1], "--runs", "2"
    )
    assert [line.split(", ")[1] for line in said.splitlines()] == peers * 2
    assert [result["peer"] for result in results] == peers
    ours, echo = (result["figures"] for result in results)
    assert ours["kept"] >= ours["sent"] > 0
    assert results[1]["imserver_ratio"] == pytest.approx(ours["messages"] / echo["messages"])


@pytest.mark.parametrize("case", ["direct-1", "group-4"])
def test_the_chat_of_an_afternoon_keeps_every_message(case: str, tmp_path: Path) -> None:
    for module in ("uvicorn", "uvloop", "httptools"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is in the extra `bench`")
    (result,), _ = compare(tmp_path, "--case", case, "--peer", "uvicorn-chat", "--runs", "1")
    (run,) = result["runs"]
    assert run["kept"] == run["sent"] > 0


MQTT_PUBLISHED = (
    b"\x32\x0b\x00\x06user/b\x01\x02!" + b"\x32\x89\x01\x00\x06user/b\x01\x03" + 127 * b"!"
)
STREAMS = {
    # wire, what arrives: how much of it is received and confirmed, and what has to be said
    "mqtt-qos1": (
        MqttQos1Wire,
        MQTT_PUBLISHED + b"\x40\x02\x00\x01",
        (2, 1, b"\x40\x02\x01\x02\x40\x02\x01\x03"),
    ),
    "mqtt-qos0": (MqttQos0Wire, 3 * b"\x30\x09\x00\x06user/b!", (3, 0, b"")),
    "nats": (
        NatsWire,
        b'MSG answer.a 2 26\r\n{"stream":"IM", "seq":123}\r\n'
        b"PING\r\nMSG user.a 1 $JS.ACK.9 4\r\n\r\n\r\n\r\nMSG user.a 1 $JS.ACK.10 1\r\n!\r\n",
        (2, 1, b"PONG\r\nPUB $JS.ACK.9 4\r\n+ACK\r\nPUB $JS.ACK.10 4\r\n+ACK\r\n"),
    ),
    "xmpp": (
        XmppWire,
        b"<message from='a@localhost'><body>hi &lt;/body</body><delay/></message>"
        b"<presence/><message from='a@localhost'><body></body></message><",
        (2, 0, b""),
    ),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_wire_does_not_mind_where_the_kernel_cuts(name: str) -> None:
    kind, arrives, expected = STREAMS[name]
    for size in (1, 2, 3, 5, 7, 16, len(arrives)):
        wire: Wire = kind("a", Random(0))
        said = b"".join(
            wire.feed(arrives[place : place + size]) for place in range(0, len(arrives), size)
        )
        assert (wire.received, wire.acked, said) == expected, size

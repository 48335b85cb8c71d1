"""Fuzz what decodes clients' bytes, led by the lines that each input reaches (libFuzzer).

    pip install -e '.[test,fuzz]'
    python -m tests.fuzz frames --seconds 600
    python -m tests.fuzz requests --seconds 600

The targets are those of the tests (tests/fuzz/targets.py). What is found goes to `--findings`,
and the command ends with 1; `python -m tests.fuzz frames --replay FILE` tries it again. What was
learned is kept in `--corpus`, if that is given, and a later run begins with it.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_MOST_BYTES = 4096  # of an input
_CHILD = "--in-this-process"
# What inputs for `requests` are made of, besides bytes.
_WORDS = [
    "type", "data", "message_id", "null", "true", "false", "content", "receiver_id", "group_id",
    "client_msg_id", "status", "cumulative", "limit", "last_message_id", "members", "user_id",
    "msg_1", "group_", "read", "delivered", "1e400", "-1", "9223372036854775808", "\\ud800",
    "\\u0000",
]  # fmt: skip


@click.command()
@click.argument("target", type=click.Choice(["frames", "requests"]))
@click.option("--seconds", default=60, show_default=True, help="How long.")
@click.option("--corpus", type=click.Path(path_type=Path), help="Where inputs are kept.")
@click.option("--findings", type=click.Path(path_type=Path), default=Path("findings"))
@click.option("--replay", type=click.Path(path_type=Path, exists=True), help="Try one input.")
def main(
    target: str, seconds: int, corpus: Path | None, findings: Path, replay: Path | None
) -> None:
    """Run one target, and say as JSON how many inputs it took."""
    with tempfile.TemporaryDirectory() as folder:
        kept = corpus or Path(folder) / "corpus"
        kept.mkdir(parents=True, exist_ok=True)
        findings.mkdir(parents=True, exist_ok=True)
        words = Path(folder) / "words"
        words.write_text("".join(f'"{word}"\n' for word in _WORDS if "\\" not in word))
        command = [sys.executable, "-m", "tests.fuzz", _CHILD, target]
        if replay is not None:
            command.append(str(replay))
        else:
            for number, seed in enumerate(_seeds(target)):
                (kept / f"seed-{number}").write_bytes(seed)
            command += [
                f"-max_total_time={seconds}",
                f"-max_len={_MOST_BYTES}",
                f"-artifact_prefix={findings}/",
                f"-dict={words}",
                "-print_final_stats=1",
                "-timeout=20",
                str(kept),
            ]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    tried = re.search(r"number_of_executed_units: +(\d+)", done.stderr)
    reached = re.findall(r"cov: (\d+)", done.stderr)
    result = {
        "target": target,
        "seconds": seconds,
        "inputs": int(tried[1]) if tried else None,
        "reached": int(reached[-1]) if reached else None,
        "found": done.returncode != 0,
    }
    print(json.dumps(result, indent=2))
    if done.returncode:
        print(done.stderr[-8000:], file=sys.stderr)
        sys.exit(1)


def _seeds(target: str) -> list[bytes]:
    """Inputs to begin with."""
    from imserver.service.operations import OPERATIONS
    from tests.transport.raw import BINARY, CLOSE, CONT, PING, frame

    requests = [
        json.dumps(
            {
                "type": operation.ws,
                "data": dict.fromkeys(operation.request.__struct_fields__, "msg_1"),
                "message_id": "m",
            }
        ).encode()
        for operation in OPERATIONS
        if operation.ws
    ]
    if target == "requests":
        return requests
    fragments = frame(b"a", fin=False) + frame(opcode=PING) + frame(b"\xc3", opcode=CONT)
    streams = [
        frame(b"hello") * 3,
        fragments,
        frame(b"x" * 200) + frame(b"\x03\xe8", opcode=CLOSE),
        frame(b"x", opcode=BINARY),
        frame(b"x", masked=False),
        frame(b"", declared=1 << 40),
    ]
    return [bytes([cut]) + stream for stream in streams for cut in (0, 1, 7)]


def _fuzz(target: str, arguments: list[str]) -> None:
    import atheris

    with atheris.instrument_imports(include=["imserver", "websockets"]):
        from tests.fuzz import targets

    def frames(data: bytes) -> None:
        # The first byte says in pieces of which length the rest comes.
        size = data[0] if data and data[0] else len(data) or 1
        rest = data[1:]
        targets.frames([rest[at : at + size] for at in range(0, len(rest), size)])

    def requests(data: bytes) -> None:
        targets.request(data, known=not data.endswith(b"\n"))

    one: Callable[[bytes], None] = {"frames": frames, "requests": requests}[target]
    atheris.Setup([sys.argv[0], *arguments], one)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1:2] == [_CHILD]:
        _fuzz(sys.argv[2], sys.argv[3:])
    else:
        main()

"""A peer as a plain process in the foreground: in a temporary folder, on a free port, on a core."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Final

from imserver.bench.load_error import LoadError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

_TEMPLATES: Final = Path(__file__).parent / "templates"
_START_SECONDS: Final = 60.0
_BETWEEN_LOOKS: Final = 0.02  # seconds
_SAID_BYTES: Final = 2000  # of its log, when it fails


def free_port() -> int:
    """A port of the loopback interface that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def configured(template: str, folder: Path, **values: object) -> Path:
    """A configuration file in `folder`, made from the template of the same name."""
    text = Template((_TEMPLATES / template).read_text()).substitute(folder=folder, **values)
    path = folder / template
    path.write_text(text)
    return path


@contextmanager
def foreground(
    command: Callable[[Path, int], Sequence[str]],
    core: int | None,
    environment: Callable[[Path], Mapping[str, str]] | None = None,
) -> Generator[tuple[int, Path, int], None, None]:
    """Start what `command` says of a folder and a port; gives its process id, folder and port.

    Leaving the context kills it and removes the folder: what it keeps is looked at before.

    Raises:
        LoadError: it does not take connections within a minute, or dies.
    """
    with tempfile.TemporaryDirectory(prefix="compare-") as name:
        folder, port = Path(name), free_port()
        log = folder / "output.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command(folder, port),
                cwd=folder,
                env=os.environ | (environment(folder) if environment is not None else {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that everything it starts can be killed with it
                # Before it runs: threads of its own begin at once, and count the cores.
                preexec_fn=None if core is None else partial(os.sched_setaffinity, 0, {core}),
            )
        try:
            _wait_until_it_listens(process, port, log)
            yield process.pid, folder, port
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    end = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(_BETWEEN_LOOKS)
        else:
            return
    said = log.read_text(errors="replace")[-_SAID_BYTES:].strip()
    raise LoadError(f"{process.args!r} does not start; it said: {said}")

"""Telling a service manager how far the server is: the protocol of sd_notify(3).

`NOTIFY_SOCKET` names a datagram socket, in the file system or, with `@`, in Linux's abstract names.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

logger = logging.getLogger(__name__)

VARIABLE = "NOTIFY_SOCKET"
_PATIENCE = 60.0  # seconds that a start may take from now on, as the manager is told
_AGAIN = 15.0  # seconds until it is told again


def notify(*states: str) -> bool:
    """Say assignments such as `READY=1`; returns whether anybody was told.

    Where no manager asked to be told nothing happens; one that cannot be told is only logged.
    """
    name = os.environ.get(VARIABLE)
    if not name:
        return False
    address = f"\0{name[1:]}" if name.startswith("@") else name
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)  # a manager that does not listen holds nobody up
            sock.connect(address)
            sock.send("\n".join(states).encode())
    except OSError as error:
        logger.warning("%s=%s cannot be told %s: %s", VARIABLE, name, states[0], error)
        return False
    return True


@contextmanager
def asking_for_patience(every: float = _AGAIN) -> Iterator[None]:
    """Tell the manager again and again that the start goes on, while the context lasts.

    Else it would end a long upgrade of the database, which would begin anew at the next start.
    """
    over = threading.Event()

    def tell() -> None:
        while not over.wait(every):
            notify(f"EXTEND_TIMEOUT_USEC={int(_PATIENCE * 1e6)}", "STATUS=starting")

    # The upgrade holds the main thread; SQLite lets others run meanwhile.
    thread = threading.Thread(target=tell, name="patience", daemon=True)
    if os.environ.get(VARIABLE):
        thread.start()
    try:
        yield
    finally:
        over.set()
        if thread.ident is not None:
            thread.join()

"""Telling a service manager how far the server is: the protocol of sd_notify(3).

`NOTIFY_SOCKET` names a datagram socket, in the file system or, with `@`, in Linux's abstract names.
"""

from __future__ import annotations

import logging
import os
import socket

logger = logging.getLogger(__name__)

VARIABLE = "NOTIFY_SOCKET"


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

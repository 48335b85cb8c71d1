"""What the system grants the process: open files, and memory.

To change that is for the command line: what an embedding program may have is its own affair.
"""

from __future__ import annotations

import logging
import resource
from contextlib import suppress
from typing import Final

logger = logging.getLogger(__name__)

_RESERVED_FILES: Final = 128  # for the database, its readers, logs, and what libraries open
_M_MMAP_THRESHOLD: Final = -3  # in malloc.h
_LARGE_BLOCK: Final = 8 * 1024 * 1024  # bytes; beyond, a block is a mapping of its own


def raise_file_limit() -> None:
    """Let this process open as many files as the system allows it: each connection is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:  # some systems report more than they give
            logger.warning("the limit of open files stays at %d: %s", soft, error)


def give_large_blocks_back() -> None:
    """Let the system have large blocks back when they are freed, as those of each password's hash.

    glibc would soon keep one for every thread that ever had one (mallopt(3), M_MMAP_THRESHOLD).
    """
    import ctypes  # here, so that most servers start without it

    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)


def room_for_connections(wanted: int) -> int:
    """How many connections the process's file limit leaves room for, `wanted` at the most."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return wanted
    room = max(1, min(wanted, soft - _RESERVED_FILES))
    logger.info("room for %d connections (limit of open files: %d)", room, soft)
    return room

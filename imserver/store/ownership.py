"""Whose files are made, and who may read them.

Laws:

- Files and folders made here are for one account alone, whatever the umask.
- In a folder of another account root works as that account. So what it makes there belongs to
  that account, and a link that the account has planted leads root nowhere that the account could
  not go itself.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def as_owner_of(folder: Path) -> Iterator[None]:
    """Let root be the owner of a folder while the context lasts; nothing changes for others.

    Files that are open stay open. Where the folder is not there, nothing changes: root makes it.

    Raises:
        OSError: the folder cannot be looked at.
    """
    owner = _foreign_owner(folder)
    if owner is None:
        yield
        return
    uid, gid = owner
    groups, group = os.getgroups(), os.getegid()
    os.setgroups([gid])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(group)
        os.setgroups(groups)


def _foreign_owner(folder: Path) -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    try:
        found = folder.stat()
    except FileNotFoundError:
        return None
    return (found.st_uid, found.st_gid) if found.st_uid else None


def make_folder(path: Path) -> None:
    """Make a folder, and those that lead to it, where they are missing.

    Raises:
        OSError: it cannot be made.
    """
    if not path.parent.exists():
        make_folder(path.parent)
    path.mkdir(exist_ok=True, mode=0o700)


def make_file(path: Path) -> None:
    """Make an empty file; what SQLite puts beside it later gets the same mode.

    Raises:
        FileExistsError: something is there, if only a link to nothing.
        OSError: it cannot be made.
    """
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))

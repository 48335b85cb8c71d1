"""The three standard streams, which a process may have been started without."""

from __future__ import annotations

import io
import os
import sys


def have_standard_streams() -> None:
    """Open what is closed on nothing, and have what cannot be encoded written with escapes.

    Else a database or a connection would get the number of a standard stream, and what is printed
    there would go into it; and the name of a folder that is not UTF-8 could not be printed.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

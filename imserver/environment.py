"""Environment variables that begin as settings do, and which of them are none."""

from __future__ import annotations

import os
import re

PREFIX = "IMSERVER_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
_NOT_SETTINGS = (CONFIG_VARIABLE, f"{PREFIX}TOKEN")  # the latter is `imserver chat`'s

# Kubernetes gives every container such variables for each Service: those of one that is called
# `imserver`, or `imserver-` and more, begin as ours do.
_OF_SERVICE = re.compile(
    r"\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?"
)


def given(environment: dict[str, str] | os._Environ[str]) -> dict[str, str]:
    """The variables that should be settings; empty ones do not count."""
    return {
        name: value
        for name, value in environment.items()
        if name.startswith(PREFIX)
        and value
        and name not in _NOT_SETTINGS
        and not _is_of_kubernetes(name, value)
    }


def ignored(environment: dict[str, str] | os._Environ[str] = os.environ) -> list[str]:
    """The variables that Kubernetes has set for a Service."""
    return sorted(
        name
        for name, value in environment.items()
        if name.startswith(PREFIX) and _is_of_kubernetes(name, value)
    )


def _is_of_kubernetes(name: str, value: str) -> bool:
    is_link = name.endswith("_PORT") and re.match(r"(tcp|udp|sctp)://", value)
    return bool(_OF_SERVICE.fullmatch(name) or is_link)

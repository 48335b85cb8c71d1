"""Sessions that say nothing: what they weigh, how fast they come, what they cost meanwhile.

Client addresses are spread over 127.0.0.0/8, so that ports last for any number of sessions.
"""

from __future__ import annotations

import ipaddress
import resource
from typing import TYPE_CHECKING, Final

from imserver.bench import machine
from imserver.bench.load_error import LoadError
from imserver.bench.loop import clock
from imserver.bench.measuring import Field, Usage

if TYPE_CHECKING:
    from imserver.bench.machine import Memory

_FIRST_ADDRESS: Final = int(ipaddress.IPv4Address("127.1.0.0"))
_ADDRESSES: Final = 1 << 16
_SPARE_FILES: Final = 64
_FIRST_PART: Final = 10  # the slope is taken from a tenth of the sessions to all of them
_SETTLING: Final = 1.0  # seconds
_MB: Final = 1e6


def run(field: Field) -> dict[str, float]:
    """Bytes of the server's memory for each session, logins a second, CPU while idle."""
    load = field.load
    _raise_file_limit(load.sessions)
    empty = _memory(field)
    first = load.sessions // _FIRST_PART
    _open(field, 0, first)
    fewer = _memory(field)
    figures = _open(field, first, load.sessions)
    all_of_them = _memory(field)
    field.loop.run(load.warmup, "settling")
    usage = Usage(load.server)
    field.loop.run(load.duration, "idling")
    idling = usage.figures(0)
    figures |= {"sessions": load.sessions, "seconds": load.duration}
    if "server_cpu" in idling:
        figures["idle_cpu"] = idling["server_cpu"]
        figures["other_cpu"] = max(figures["other_cpu"], idling["other_cpu"])
    if empty is not None and fewer is not None and all_of_them is not None:
        figures |= {
            "empty_rss": empty.resident / _MB,
            "full_rss": all_of_them.resident / _MB,
            "session_rss": (all_of_them.resident - empty.resident) / load.sessions,
            "session_pss": (all_of_them.proportional - empty.proportional) / load.sessions,
        }
        if load.sessions > first:
            slope = (all_of_them.resident - fewer.resident) / (load.sessions - first)
            figures["slope_rss"] = slope
    return figures


def _open(field: Field, begin: int, end: int) -> dict[str, float]:
    """Open sessions of users `begin` to `end` - 1; the cost of it."""
    load = field.load
    local = ipaddress.ip_address(load.address[0]) in ipaddress.ip_network("127.0.0.0/8")
    sources = [
        str(ipaddress.IPv4Address(_FIRST_ADDRESS + number % _ADDRESSES))
        for number in range(begin, end)
    ]
    wires = [load.wire(field.user(number), field.random) for number in range(begin, end)]
    usage = Usage(load.server)
    start = clock()
    field.loop.open(load.address, wires, sources if local else ())
    figures = {"logins": (end - begin) / (clock() - start)} | usage.figures(end - begin)
    field.loop.run(_SETTLING, "settling")
    return figures


def _memory(field: Field) -> Memory | None:
    server = field.load.server
    return None if server is None else machine.memory(server)


def _raise_file_limit(sessions: int) -> None:
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and sessions + _SPARE_FILES > hard:
        raise LoadError(
            f"{sessions} sessions need more open files than the limit of {hard}: "
            "raise it (ulimit -n), for the server as well"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))

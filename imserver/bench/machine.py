"""Figures about processes and disks, from Linux's `/proc`."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Final, NamedTuple

_SCHEDULER_CLOCK: Final = 2  # CPUCLOCK_SCHED in the kernel
_TICKS: Final = os.sysconf("SC_CLK_TCK")  # a second
_KIB: Final = 1024


class Memory(NamedTuple):
    """A process's memory, in bytes."""

    resident: int  # RSS
    proportional: int  # PSS: shared pages divided by those who share them


def cpu_seconds(pid: int) -> float:
    """CPU time that a process and all its threads, ended ones too, have used.

    Raises:
        OSError: there is no such process.
    """
    # The clock that clock_getcpuclockid(3) names: in nanoseconds, where /proc counts hundredths.
    return time.clock_gettime(~pid << 3 | _SCHEDULER_CLOCK)


def machine_cpu_seconds() -> float:
    """CPU time that everything on this machine has used."""
    user, nice, system, _idle, _iowait, *rest = (
        int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    )
    interrupts, soft_interrupts = rest[:2]
    return (user + nice + system + interrupts + soft_interrupts) / _TICKS


def memory(pid: int) -> Memory:
    """What a process holds now."""
    fields = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) * _KIB
    return Memory(fields["Rss"], fields["Pss"])


def filesystem(path: Path) -> str:
    """The kind of file system that holds `path`: ext4, tmpfs, ..."""
    path = path.resolve()
    best, kind = "", "unknown"
    for line in Path("/proc/mounts").read_text().splitlines():
        _device, mount, found, *_ = line.split()
        if len(mount) >= len(best) and path.is_relative_to(mount):
            best, kind = mount, found
    return kind


def processor() -> str:
    """The processor's name as it calls itself."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"

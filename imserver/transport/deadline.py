"""Until when a client of HTTP/1.1 may take for what it does next."""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import Final

import trio


class Times:
    """How long clients may take, in seconds."""

    def __init__(self, *, head: float, body: float, idle: float) -> None:
        self.head = head
        self.body = body  # the whole of an operation's; each piece of a raw route's
        self.idle = idle


class Stage(Enum):
    """Where a connection stands; the table is in `exchanges`."""

    IDLE = "idle"
    HEAD = "head"
    BODY = "body"
    WORK = "work"
    NONE = "none"  # between two requests


class Deadline:
    """Owner of the time at which one connection's patience ends, by trio's clock."""

    __slots__ = ("_stage", "_times", "at")

    def __init__(self, times: Times) -> None:
        self._times: Final = times
        self._stage = Stage.NONE
        self.at = inf

    def stand(self, stage: Stage) -> None:
        """The connection stands there now; while it does, time runs on."""
        if stage is not self._stage or stage is Stage.IDLE:
            self._stage = stage
            self.renew()

    def renew(self) -> None:
        """Something came: time begins anew."""
        match self._stage:
            case Stage.IDLE:
                seconds = self._times.idle
            case Stage.HEAD:
                seconds = self._times.head
            case Stage.BODY:
                seconds = self._times.body
            case _:
                seconds = inf
        self.at = trio.current_time() + seconds

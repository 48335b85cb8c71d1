"""What every REST request has besides its answer: an id, a line in the access log, its time."""

from __future__ import annotations

import logging
import re
import secrets
from collections import Counter
from time import perf_counter
from typing import TYPE_CHECKING, Final

from imserver import log
from imserver.tally import SECONDS, Histogram, Refusals

if TYPE_CHECKING:
    from imserver.domain.errors import ApiError
    from imserver.domain.model import Peer
    from imserver.transport.heads import Head

REQUEST_ID_HEADER: Final = "X-Request-ID"
_SANE: Final = re.compile(rb"[\x20-\x7e]{1,128}")
_MOST_PATH: Final = 1000  # characters that are logged
_MOST_METHOD: Final = 32

access = logging.getLogger(log.ACCESS)


class Requests:
    """Counts a server's REST requests, and logs each if told to."""

    def __init__(self, *, access_log: bool, refusals: Refusals | None = None) -> None:
        self._access_log = access_log
        self._refusals = refusals or Refusals()
        self.seconds = Histogram(SECONDS)  # from a request's head to the end of its answer
        self.answers: Counter[int] = Counter()  # by HTTP status

    def begin(self, head: Head, peer: Peer) -> Request:
        """A request came from `peer`."""
        method = head.method[:_MOST_METHOD]
        return Request(_request_id(head), method, head.path[:_MOST_PATH], peer.address)

    def end(self, request: Request) -> None:
        """A request is done with, answered or not."""
        seconds = perf_counter() - request.begun
        self.seconds.observe(seconds)
        if request.status is not None:
            self.answers[request.status] += 1
        if self._access_log:
            fields = {
                "request_id": request.id,
                "user_id": request.user_id,
                "address": request.address,
                "method": request.method,
                "path": request.path,
                "status": request.status,
                "duration_ms": round(seconds * 1000, 3),
            }
            access.info("answered" if request.status else "not answered", extra=fields)

    def unreadable(self, error: ApiError, address: str) -> Request:
        """What came from an address was no request, and is refused."""
        self._refusals.count("rest", error)
        return Request(secrets.token_hex(16), "", "", address)


class Request:
    """One request under way."""

    __slots__ = ("address", "begun", "id", "method", "path", "status", "user_id")

    def __init__(self, request_id: str, method: str, path: str, address: str) -> None:
        self.id = request_id
        self.method = method
        self.path = path  # as it came, without its query
        self.address = address  # the client's
        self.status: int | None = None  # of the answer, if there was one
        self.user_id = ""  # of the caller, once known
        self.begun = perf_counter()

    def about(self) -> dict[str, str]:
        """What a log record of this request says besides its sentence."""
        return {"request_id": self.id, "user_id": self.user_id}


def _request_id(head: Head) -> str:
    for value in head.values(REQUEST_ID_HEADER):
        if _SANE.fullmatch(value):
            return value.decode()
    return secrets.token_hex(16)

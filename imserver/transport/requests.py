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
    from collections.abc import Iterable

    from hypercorn.typing import HTTPResponseStartEvent, HTTPScope

    from imserver.domain.errors import ApiError
    from imserver.domain.model import Peer

REQUEST_ID_HEADER: Final = "X-Request-ID"
_HEADER: Final = REQUEST_ID_HEADER.lower().encode()
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

    def begin(self, scope: HTTPScope, peer: Peer) -> Request:
        """A request came from `peer`. What its task logs from now on has its id."""
        method = scope["method"][:_MOST_METHOD]
        request = Request(_request_id(scope["headers"]), method, _path(scope), peer.address)
        log.about(request_id=request.id)
        return request

    def end(self, request: Request) -> None:
        """A request is done with, answered or not."""
        seconds = perf_counter() - request.begun
        self.seconds.observe(seconds)
        if request.status is not None:
            self.answers[request.status] += 1
        if self._access_log:
            fields = {
                **log.what_about(),
                "address": request.address,
                "method": request.method,
                "path": request.path,
                "status": request.status,
                "duration_ms": round(seconds * 1000, 3),
            }
            access.info("answered" if request.status else "not answered", extra=fields)

    def unreadable(self, status: int, error: ApiError, address: str) -> str:
        """What came from an address was no request, or not to its end, and is refused.

        Returns the id that the refusal carries.
        """
        request = Request(secrets.token_hex(16), "", "", address)
        request.status = status
        self._refusals.count("rest", error)
        self.end(request)
        return request.id


class Request:
    """One request under way."""

    __slots__ = ("address", "begun", "id", "method", "path", "status")

    def __init__(self, request_id: str, method: str, path: str, address: str) -> None:
        self.id = request_id
        self.method = method
        self.path = path  # as it came, without its query
        self.address = address  # the client's
        self.status: int | None = None  # of the answer, if there was one
        self.begun = perf_counter()

    def answered(self, answer: HTTPResponseStartEvent) -> None:
        """Note how it is answered, and say its id in the answer."""
        self.status = answer["status"]
        answer["headers"] = [*answer["headers"], (_HEADER, self.id.encode())]


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == _HEADER and _SANE.fullmatch(value):
            return value.decode()
    return secrets.token_hex(16)


def _path(scope: HTTPScope) -> str:
    # As it came, so that what is percent-encoded stays so: it may be the end of a line.
    raw = scope["raw_path"].partition(b"?")[0]
    if not raw.startswith(b"/"):  # it names a host, and may name a user and a password before it
        raw = b"/" + raw.partition(b"://")[2].partition(b"/")[2]
    return raw[:_MOST_PATH].decode("ascii", "backslashreplace")

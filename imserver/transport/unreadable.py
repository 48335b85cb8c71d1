"""What is no HTTP request is refused like everything else: with JSON, and an id.

hypercorn answers it before there is anything that an application could be called with, and would
do so without a body.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import h11

from imserver.domain.errors import ApiError, Code
from imserver.domain.frames import error_body
from imserver.transport.requests import REQUEST_ID_HEADER

if TYPE_CHECKING:
    from hypercorn.protocol.h11 import H11Protocol

    from imserver.transport.requests import Requests

TOO_SLOW: Final = 408
_REFUSALS: Final = {
    TOO_SLOW: ApiError(Code.TOO_SLOW),
    431: ApiError(Code.TOO_LARGE, "The head is too large"),
}
_OTHERWISE: Final = ApiError(Code.INVALID_REQUEST, "This is not a request of HTTP/1.1")


async def refuse(protocol: H11Protocol, requests: Requests, address: str, status: int) -> None:
    """Answer with a status of 400 or above, and the JSON that says why.

    In place of hypercorn's `_send_error_response`, which has the last argument only.
    """
    error = _REFUSALS.get(status, _OTHERWISE)
    request_id = requests.unreadable(status, error, address)
    body = error_body(error)
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
        (REQUEST_ID_HEADER.lower().encode(), request_id.encode()),
        *protocol.config.response_headers("h11"),
    ]
    await protocol._send_h11_event(h11.Response(status_code=status, headers=headers))
    if not _asks_for_a_head(protocol):
        await protocol._send_h11_event(h11.Data(data=body))
    await protocol._send_h11_event(h11.EndOfMessage())


def _asks_for_a_head(protocol: H11Protocol) -> bool:
    # It can be a request that was readable, up to something in its body.
    scope = getattr(protocol.stream, "scope", None)
    return scope is not None and scope.get("method") == "HEAD"

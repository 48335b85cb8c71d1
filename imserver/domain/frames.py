"""Frames: the WebSocket envelope, its codec, and the pushes."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from msgspec import Meta, Raw, Struct

from imserver.domain.answered import ErrorBody, Refusal, StatusChange, Success
from imserver.domain.decoding_errors import describe
from imserver.domain.errors import ApiError, Code

if TYPE_CHECKING:
    from imserver.domain.model import Invitation, Message

MAX_MESSAGE_ID: Final = 128  # characters of the envelope's correlation id


Correlation = Annotated[str, Meta(max_length=MAX_MESSAGE_ID)] | None


class Envelope(Struct, frozen=True, gc=False):
    """The fields around the payload of a frame. A client's `timestamp` is ignored."""

    type: str
    data: Raw = Raw(b"{}")
    message_id: Correlation = None


def request_frame(kind: str, payload: type[Struct]) -> type[Any]:
    """The struct of whole request frames of one type: `data` is the payload, decoded."""
    return msgspec.defstruct(
        f"{payload.__name__}Frame",
        [("data", payload), ("message_id", Correlation, None)],
        tag_field="type",
        tag=kind,
        frozen=True,
        gc=False,
    )


_encoder = msgspec.json.Encoder()
encode_json = _encoder.encode
DONE: Final = encode_json(Success(True))  # the answer of operations that return nothing
_envelope_decoder = msgspec.json.Decoder(Envelope)

ERROR_TYPE: Final = "error"
NEW_MESSAGE: Final = "new_message"
NEW_GROUP_MESSAGE: Final = "new_group_message"
MESSAGE_STATUS: Final = "message_status"
INVITATION: Final = "invitation"


def decode_envelope(text: bytes) -> Envelope:
    """Decode the envelope of a frame; its `data` stays undecoded.

    Raises:
        ApiError: `invalid_request`.
    """
    try:
        return _envelope_decoder.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error) from None


def malformed(error: Exception) -> ApiError:
    """The refusal of a request that cannot be decoded. It names the field and quotes no input."""
    match error:
        case RecursionError():
            return ApiError(Code.INVALID_REQUEST, "JSON is nested too deeply")
        case UnicodeDecodeError():
            return ApiError(Code.INVALID_REQUEST, "JSON is not UTF-8")
        case msgspec.DecodeError():
            return ApiError(Code.INVALID_REQUEST, describe(error))
        case _:
            return ApiError(Code.INVALID_REQUEST)


def error_body(error: ApiError) -> bytes:
    """The JSON of a refusal, as REST and `error` frames carry it."""
    return encode_json(ErrorBody(error.detail, error.code.value, error.retry_after_ms))


def refusal(error: ApiError) -> bytes:
    """The JSON of a refusal inside the answer to a known frame: with `"success": false`."""
    return encode_json(Refusal(False, error.detail, error.code.value, error.retry_after_ms))


def frame(kind: str, data: bytes, time_ms: int, correlation: str | None = None) -> bytes:
    """A whole frame. `data` is JSON; `correlation` is echoed as `message_id`."""
    if correlation is None:
        return b"".join((_opening(kind), data, _time(time_ms), b"}"))
    echo = encode_json(correlation)
    return b"".join((_opening(kind), data, _time(time_ms), b',"message_id":', echo, b"}"))


@cache
def _opening(kind: str) -> bytes:
    return b'{"type":"%b","data":' % kind.encode()


@lru_cache(maxsize=8)  # the frames of one batch share one or two times
def _time(time_ms: int) -> bytes:
    return b',"timestamp":%d' % time_ms


def push_of(message: Message, encoded: bytes) -> bytes:
    """The push of a new message; `encoded` is its JSON."""
    kind = NEW_MESSAGE if message.group_id is None else NEW_GROUP_MESSAGE
    return frame(kind, encoded, message.timestamp, message.id)


def sent_answer(identifier: str, encoded: bytes) -> bytes:
    """The answer to a send (see `Sent`); `encoded` is the JSON of the message."""
    return b'{"success":true,"message_id":"%b","message":%b}' % (identifier.encode(), encoded)


def invitation_push(invitation: Invitation, time_ms: int) -> bytes:
    """The push that tells a user of an invitation."""
    return frame(INVITATION, encode_json(invitation), time_ms)


def status_push(change: StatusChange) -> bytes:
    """The push of a message's new status."""
    return frame(MESSAGE_STATUS, encode_json(change), change.timestamp)


def decode_payload(decoder: msgspec.json.Decoder[Any], data: Raw) -> Any:
    """Decode the payload of a frame with its operation's decoder; `null` is an empty object.

    Raises:
        ApiError: `invalid_request`.
    """
    try:
        return decoder.decode(data if bytes(data) != b"null" else b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise malformed(error) from None

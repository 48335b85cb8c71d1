"""Frames: what comes in is decoded or refused, what goes out is the JSON that it should be."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Union

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from imserver.domain import answered, frames, requested
from imserver.domain.errors import ApiError, Code
from imserver.domain.model import Event, Message

if TYPE_CHECKING:
    from collections.abc import Callable

REQUESTS = [
    requested.Nothing,
    requested.Login,
    requested.Heartbeat,
    requested.SendMessage,
    requested.GetMessage,
    requested.Ack,
    requested.SyncOffline,
    requested.CreateGroup,
    requested.GroupRef,
]
# As the dispatcher decodes whole frames, envelope and payload in one pass.
WHOLE = msgspec.json.Decoder(
    Union[tuple(frames.request_frame(kind.__name__, kind) for kind in REQUESTS)]  # noqa: UP007
)

numbers = st.floats(allow_nan=False, allow_infinity=False)  # the rest is not JSON
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), numbers, st.text(), st.just("SendMessage")
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(["type", "data", "message_id", "content", "x"]), inner, max_size=3
        ),
    ),
    max_leaves=4,
)
NAMES = [
    *("type", "data", "message_id", "timestamp", "user_id", "receiver_id", "group_id", "content"),
    *("client_msg_id", "status", "cumulative", "limit", "last_message_id", "members", "name"),
]
fields = st.dictionaries(st.sampled_from(NAMES), values, max_size=5)
texts = fields.map(lambda value: json.dumps(value).encode())


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """JSON with a few bytes of it replaced, or cut off."""
    text = bytearray(draw(texts))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        text[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(text[: draw(st.integers(0, len(text)))])


anything = st.one_of(st.binary(), texts, damaged())
SECRET = "s3cr3t"
HOSTILE = [
    b"",
    b"null",
    b"[]",
    b"\xff\xfe{}",
    b"{" * 100_000,
    b"[" * 100_000,
    b'{"type":' * 50_000,
    b'{"type":"login","data":' + b"[" * 100_000,
    b'{"type":"' + b"x" * 100_000 + b'"}',
    b'{"type":"a","message_id":"\\ud800"}',
    b'{"type":"a\xed\xa0\x80"}',
    b'{"type":"a","message_id":"' + b"m" * 129 + b'"}',
    b'{"type":1e999}',
    b'{"type":"a","data":1e999}',
    b'{"type":"a","data":' + b"9" * 10_000 + b"}",
    b'{"type":"a","data":nan}',
    b'{"type":"a"}{"type":"b"}',
    b'{"type":"a","type":null}',
]


def _whole(text: bytes) -> Any:
    try:
        return WHOLE.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise frames.malformed(error) from None


def attempt(decode: Callable[[bytes], Any], text: bytes) -> Any:
    """What a text is decoded to, or the refusal."""
    try:
        return decode(text)
    except ApiError as refusal:
        return refusal


def payload_decoder(kind: type) -> Callable[[bytes], Any]:
    """Decodes the payloads of one operation."""
    decoder = msgspec.json.Decoder(kind)
    return lambda text: frames.decode_payload(decoder, msgspec.Raw(text))


@given(anything)
def test_whatever_comes_is_decoded_or_refused(text: bytes) -> None:
    for decode in (frames.decode_envelope, _whole):
        came = attempt(decode, text)
        assert not isinstance(came, ApiError) or came.code is Code.INVALID_REQUEST


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:24].decode("latin-1"))
def test_hostile_texts_are_decoded_or_refused(text: bytes) -> None:
    for decode in (frames.decode_envelope, _whole):
        came = attempt(decode, text)
        if isinstance(came, ApiError):
            assert came.code is Code.INVALID_REQUEST
        else:
            assert came.message_id is None


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
@given(data=anything)
@example(data=b"null")
@example(data=b"[" * 100_000)
@example(data=b'{"content":"\\ud800","user_id":"\\udfff","message_id":"\\ud800","status":"x"}')
def test_whatever_payload_comes_is_decoded_or_refused(kind: type, data: bytes) -> None:
    came = attempt(payload_decoder(kind), data)
    if isinstance(came, ApiError):
        assert came.code is Code.INVALID_REQUEST
    else:
        assert isinstance(came, kind)
        msgspec.json.encode(came).decode()  # all text in it is text that can be stored


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
@given(data=fields)
def test_frames_decoded_at_once_are_those_decoded_by_parts(
    kind: type, data: dict[str, Any]
) -> None:
    text = json.dumps({"type": kind.__name__, "data": data, "message_id": "m"}).encode()
    frame = attempt(_whole, text)
    envelope = frames.decode_envelope(text)
    payload = attempt(payload_decoder(kind), bytes(envelope.data))
    if isinstance(frame, ApiError):
        assert isinstance(payload, ApiError)
    else:
        assert (frame.data, frame.message_id) == (payload, envelope.message_id) == (payload, "m")


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        (b"{", "The request is not valid JSON"),
        (b'{"type":"a","data":\xff}', "The request is not valid JSON"),
        (b'{"type":"\xff"}', "JSON is not UTF-8"),
        (b"[" * 100_000, "The request must be an object"),
        (b'{"x":' + b"[" * 100_000, "JSON is nested too deeply"),
        (b'{"data":{}}', "type is required"),
        (b'{"type":7}', "type must be a string"),
        (
            b'{"type":"a","message_id":"' + b"m" * 129 + b'"}',
            "message_id must have at most 128 characters",
        ),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_refusal_says_what_is_wrong_with_a_frame(text: bytes, detail: str) -> None:
    with pytest.raises(ApiError) as refusal:
        frames.decode_envelope(text)
    assert refusal.value.detail == detail


@pytest.mark.parametrize("kind", REQUESTS, ids=lambda kind: kind.__name__)
@given(
    data=st.dictionaries(
        st.sampled_from(
            [SECRET, "message_id", "status", "limit", "members", "name", "content", "cumulative"]
        ),
        st.sampled_from([SECRET, [SECRET], {SECRET: SECRET}, 1, None, [[SECRET]]]),
    )
)
def test_a_refusal_quotes_nothing_of_the_request(kind: type, data: dict[str, Any]) -> None:
    for text in (json.dumps(data).encode(), json.dumps({"type": SECRET, "data": data}).encode()):
        for decode in (frames.decode_envelope, payload_decoder(kind)):
            came = attempt(decode, text)
            assert not isinstance(came, ApiError) or SECRET not in came.detail


def test_an_envelope_needs_nothing_but_a_type() -> None:
    envelope = frames.decode_envelope(b'{"type":"heartbeat"}')
    assert (envelope.type, bytes(envelope.data), envelope.message_id) == ("heartbeat", b"{}", None)


def test_what_an_envelope_says_besides_is_the_clients_affair() -> None:
    text = b'{"type":"a","timestamp":"noon","message_id":null,"x":[1],"data":null}'
    envelope = frames.decode_envelope(text)
    decoder = msgspec.json.Decoder(requested.Heartbeat)
    assert frames.decode_payload(decoder, envelope.data) == requested.Heartbeat()


# -- what goes out ----------------------------------------------------------------------------

MESSAGE = Message(
    id="msg_7",
    sender_id="ann",
    receiver_id="bob",
    type="text",
    content='你好 "\\ \x01 \u2028',
    status="sent",
    timestamp=1640995200000,
)


def test_a_message_has_the_documents_fields_in_its_order() -> None:
    assert list(json.loads(frames.encode_json(MESSAGE)).items()) == [
        ("id", "msg_7"),
        ("sender_id", "ann"),
        ("receiver_id", "bob"),
        ("type", "text"),
        ("content", '你好 "\\ \x01 \u2028'),
        ("status", "sent"),
        ("timestamp", 1640995200000),
    ]


@given(st.text(max_size=20), st.integers(0, 2**53), st.one_of(st.none(), st.text(max_size=128)))
def test_a_frame_is_the_json_that_it_says(
    content: str, time_ms: int, correlation: str | None
) -> None:
    data = frames.encode_json({"content": content})
    expected = {"type": "ack", "data": {"content": content}, "timestamp": time_ms}
    if correlation is not None:
        expected["message_id"] = correlation
    assert json.loads(frames.frame("ack", data, time_ms, correlation)) == expected


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        (MESSAGE, "new_message"),
        (
            msgspec.structs.replace(MESSAGE, receiver_id=None, group_id="group_x"),
            "new_group_message",
        ),
        (
            msgspec.structs.replace(
                MESSAGE,
                receiver_id=None,
                group_id="group_x",
                sender_id="system",
                type="system",
                event=Event("join", "ann", "ann"),
            ),
            "new_group_message",
        ),
    ],
)
def test_a_push_carries_the_message_and_its_id(message: Message, kind: str) -> None:
    encoded = frames.encode_json(message)
    assert json.loads(frames.push_of(message, encoded)) == {
        "type": kind,
        "data": json.loads(encoded),
        "timestamp": message.timestamp,
        "message_id": "msg_7",
    }


def test_the_answer_to_a_send_is_as_its_struct_describes_it() -> None:
    built = frames.sent_answer(MESSAGE.id, frames.encode_json(MESSAGE))
    assert built == frames.encode_json(answered.Sent(True, MESSAGE.id, MESSAGE))


@pytest.mark.parametrize(
    ("change", "data"),
    [
        (
            answered.StatusChange("msg_7", "read", "bob", 5),
            {"message_id": "msg_7", "status": "read", "user_id": "bob", "timestamp": 5},
        ),
        (
            answered.StatusChange("msg_7", "delivered", "bob", 5, cumulative=True),
            {
                "message_id": "msg_7",
                "status": "delivered",
                "user_id": "bob",
                "timestamp": 5,
                "cumulative": True,
            },
        ),
    ],
)
def test_a_change_of_status_is_pushed(change: answered.StatusChange, data: dict[str, Any]) -> None:
    expected = {"type": "message_status", "data": data, "timestamp": 5}
    assert json.loads(frames.status_push(change)) == expected


def test_a_refusal_is_told_in_both_shapes() -> None:
    error = ApiError(Code.NOT_FOUND, "There is no such message")
    told = {"error": "There is no such message", "code": "not_found"}
    assert json.loads(frames.error_body(error)) == told
    assert json.loads(frames.refusal(error)) == {"success": False} | told
    slow = ApiError(Code.RATE_LIMITED, retry_after_ms=30)
    assert json.loads(frames.error_body(slow))["retry_after_ms"] == 30
    assert json.loads(frames.refusal(slow))["retry_after_ms"] == 30

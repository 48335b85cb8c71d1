"""Whatever bytes a client sends: frames in pieces, broken ones, and requests that are none.

What clients are known to do on purpose or by mistake, and where it is tried:

| what | where |
|---|---|
| text that is not UTF-8, whole or across fragments | here; contract/test_limits.py |
| JSON that is deep, huge, cut off, has duplicate keys | here; contract/test_answers.py |
| wrong types, numbers out of range | here; contract/test_answers.py; e2e/test_openapi.py |
| NUL and control characters, in ids and in contents | here; unit/test_model.py |
| ids that look like paths, SQL, patterns or formats | here |
| fragmented, interleaved, unmasked, oversized and half frames | here; test_frames.py |
| pings in floods, pongs that nobody asked for | test_frames.py; here |
| clients that never read, or a byte at a time | test_slow.py; e2e/test_overload.py |
| clients that send a byte at a time, or stop in the middle | test_handshake.py; test_damaged.py |
| connections that vanish without a FIN | contract/test_limits.py (silence); e2e/test_overload.py |

`TEST_EXAMPLES` says how many of each are tried (default 200). Longer, and led by what the code does
with it: `python -m tests.fuzz`.
"""

from __future__ import annotations

import json
import os
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz import targets
from tests.transport.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, frame

EXAMPLES = int(os.environ.get("TEST_EXAMPLES", "200"))

# -- frames -----------------------------------------------------------------------------------

texts = st.sampled_from(
    [b"", b"{}", b"\xc3\xa9", b"\xc3", b"\xa9", b"\xed\xa0\x80", b"\x00", b"x" * 300]
)
payloads = texts | st.binary(max_size=8) | st.integers(0, 2 * targets.MOST).map(lambda n: b"x" * n)
whole_frames = st.builds(
    frame,
    payloads,
    st.sampled_from([TEXT, TEXT, TEXT, CONT, CONT, PING, PONG, BINARY, CLOSE, 3, 11, 15]),
    fin=st.sampled_from([True, True, False]),
    rsv=st.sampled_from([0] * 10 + [1, 2, 4]),
    masked=st.sampled_from([True] * 20 + [False]),
    declared=st.sampled_from([None] * 20 + [0, 126, 301, 1 << 16, 1 << 63, (1 << 64) - 1]),
)
streams = st.lists(whole_frames | st.binary(max_size=4), max_size=12).map(b"".join)


@settings(max_examples=EXAMPLES)
@given(stream=streams, cuts=st.lists(st.integers(0, 4000), max_size=30))
def test_any_bytes_in_any_pieces_are_what_the_codec_alone_says(
    stream: bytes, cuts: list[int]
) -> None:
    ends = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    targets.frames([stream[start:end] for start, end in pairwise(ends)])


# -- requests ---------------------------------------------------------------------------------

ODD_IDS = [
    "", " ", "ann", "..", "../../etc/passwd", "/", "a/b", "%2e%2e", "'; DROP TABLE message; --",
    '" OR 1=1', "*", "%", "_", "${x}", "{0}", "%s", "\\", "\x00", "a\x00b", "\r\nX: y", "\x7f",
    "\u202e",
    "\ud7ff", "\ue000", "\U0010ffff", "e\u0301", "msg_0", "msg_1", "msg_-1", "msg_01", "msg_ 1",
    "msg_99999999999999999999", "msg_9223372036854775807", "msg_9223372036854775808", "msg_\u0661",
    "group_", "group_000000000000", "system", "optional_group_id", "x" * 64, "x" * 65, "长" * 64,
    "x" * 1000,
]  # fmt: skip
ODD_NUMBERS = [
    0, -0.0, 1, -1, 0.5, 200, 201, 1e308, -1e308, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63) - 1,
    2**64, 10**400,
]  # fmt: skip
values = st.recursive(
    st.none()
    | st.booleans()
    | st.sampled_from(ODD_NUMBERS)
    | st.sampled_from(ODD_IDS)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
KINDS = [*filter(None, (operation.ws for operation in targets.OPERATIONS))]
FIELDS = sorted(
    {field for operation in targets.OPERATIONS for field in operation.request.__struct_fields__}
)
payload_of_a_request = st.dictionaries(st.sampled_from(FIELDS), values, max_size=6)
requests = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS) | values, "data": payload_of_a_request | values},
    optional={"message_id": values, "timestamp": values},
)


def spelled(value: Any, escaped: bool) -> bytes:
    """JSON, with its characters as they are or escaped."""
    return json.dumps(value, ensure_ascii=escaped).encode("utf-8", "surrogatepass")


@settings(max_examples=EXAMPLES, deadline=None)
@given(value=requests, escaped=st.booleans(), known=st.booleans())
def test_any_request_is_answered_once_and_never_by_a_defect(
    value: Any, escaped: bool, known: bool
) -> None:
    targets.request(spelled(value, escaped), known=known)


@settings(max_examples=EXAMPLES, deadline=None)
@given(value=requests, place=st.floats(0, 1), junk=st.binary(max_size=4), cut=st.booleans())
def test_a_request_with_bytes_lost_or_put_in_is_answered_too(
    value: Any, place: float, junk: bytes, cut: bool
) -> None:
    text = spelled(value, escaped=False)
    at = round(place * len(text))
    targets.request(text[:at] + junk + (b"" if cut else text[at:]))


@pytest.mark.parametrize(
    "text",
    [
        b"[" * 100_000,
        b'{"type":"heartbeat","data":' + b'{"a":' * 100_000,
        b'{"type":"heartbeat","x":' + b"[" * 500 + b"]" * 500 + b"}",
        b'{"type":"send_message","data":{"content":' + b"[" * 500 + b"]" * 500 + b"}}",
        b'{"type":"heartbeat","data":{"user_id":' + b"9" * 100_000 + b"}}",
        b'{"type":"heartbeat","x":"' + b"\\u0000" * 50_000 + b'"}',
        b'{"type":"login","type":"heartbeat"}',
        b'{"type":"heartbeat","data":{},"data":{"user_id":1}}',
        b'{"type":"send_message","data":{"receiver_id":"bob","receiver_id":1,"content":"x"}}',
        b'{"type":"heartbeat","message_id":"\\ud800"}',
        b'{"type":"send_message","data":{"receiver_id":"bob","content":"\\udc00"}}',
        b'{"type":"heartbeat"}{"type":"heartbeat"}',
        b'{"type":"heartbeat","data":{"user_id":NaN}}',
        b'\xef\xbb\xbf{"type":"heartbeat"}',
        b"{" + b",".join(b'"%d":0' % number for number in range(50_000)) + b"}",
    ],
    ids=lambda text: text[:30].decode("ascii", "replace"),
)
def test_what_parsers_are_known_to_stumble_over(text: bytes) -> None:
    for known in (True, False):
        targets.request(text, known=known)

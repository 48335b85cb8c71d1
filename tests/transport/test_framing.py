"""The cutter: whatever the network does to the bytes, the same frames come of them."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from imserver.transport.framing import FrameCutter, text_frame
from tests.transport.raw import BINARY, CLOSE, CONT, PING, PONG, TEXT, frame

MOST = 300  # bytes of a frame's payload


class Sent(NamedTuple):
    opcode: int
    fin: bool
    rsv: int
    payload: bytes

    @property
    def raw(self) -> bytes:
        return frame(self.payload, self.opcode, fin=self.fin, rsv=self.rsv)

    @property
    def plain(self) -> bool:
        return self.opcode == TEXT and self.fin and not self.rsv


frames = st.builds(
    Sent,
    st.sampled_from([TEXT, TEXT, TEXT, CONT, BINARY, CLOSE, PING, PONG, 3, 15]),
    st.booleans() | st.just(True),
    st.sampled_from([0, 0, 0, 1, 4]),
    st.binary(max_size=5) | st.integers(0, MOST).map(lambda size: b"x" * size),
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes in segments that end at `cuts`."""
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    return [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def cut_up(segments: list[bytes]) -> list[tuple[bytes, bool]]:
    cutter = FrameCutter(MOST)
    return [piece for segment in segments for piece in cutter.cut(segment)]


@given(st.lists(frames, max_size=8), st.lists(st.integers(0, 3000), max_size=20))
def test_frames_come_whole_and_in_order_however_they_are_cut(
    sent: list[Sent], cuts: list[int]
) -> None:
    raw = [one.raw for one in sent]
    expected = [
        (one.payload, True) if one.plain else (data, False)
        for one, data in zip(sent, raw, strict=True)
    ]
    assert cut_up(pieces(b"".join(raw), cuts)) == expected


@given(
    st.lists(frames, max_size=3),
    st.sampled_from(
        [
            frame(b"unmasked", masked=False),
            frame(b"", masked=False),
            frame(b"x" * 200, masked=False),
            frame(declared=MOST + 1),
            frame(declared=1 << 40),
            frame(declared=MOST + 1, masked=False),
        ]
    ),
    st.binary(max_size=20),
)
def test_behind_a_violation_everything_is_handed_on(
    before: list[Sent], violation: bytes, behind: bytes
) -> None:
    taken = cut_up([b"".join(one.raw for one in before) + violation + behind])
    assert len(taken) == len(before) + 1
    assert taken[-1] == (violation + behind, False)


@given(st.sampled_from([MOST + 1, 65_535, 1 << 20, 1 << 62]))
def test_a_frame_that_is_too_long_is_not_waited_for(declared: int) -> None:
    head = frame(declared=declared)[:-4]  # without its mask even
    *early, last = cut_up([head[i : i + 1] for i in range(len(head))])
    assert early == []
    assert last == (head, False)


@given(st.integers(0, 70_000))
def test_a_text_frame_says_how_long_it_is(length: int) -> None:
    framed = text_frame(b"x" * length)
    assert framed[0] == 0x81
    match framed[1]:
        case 127:
            head, said = 10, int.from_bytes(framed[2:10], "big")
            assert length >= 65_536
        case 126:
            head, said = 4, int.from_bytes(framed[2:4], "big")
            assert 126 <= length < 65_536
        case short:
            head, said = 2, short
            assert length < 126
    assert said == length
    assert framed[head:] == b"x" * length

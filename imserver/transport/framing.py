"""Cuts a client's bytes into whole WebSocket frames, and reads the plain ones itself.

Nearly everything that clients send is an unfragmented text frame, and to step the codec's
generators for each costs more than all else that a frame needs. Laws:

- The codec gets whole frames only, so it always stands between two frames, and a plain frame may
  pass it by.
- What is not plain is the codec's to judge: fragments, control frames, every violation of RFC
  6455, and frames that are too long, as soon as their header says so.
"""

from __future__ import annotations

from typing import Final

try:
    from websockets.speedups import apply_mask
except ImportError:  # built without its C part
    from websockets.utils import apply_mask

_FINAL_TEXT: Final = 0x81  # FIN, no extension, opcode 1


def text_frame(payload: bytes) -> bytes:
    """A payload as one whole unmasked text frame (RFC 6455 section 5.2)."""
    length = len(payload)
    return (_HEADS[length] if length < len(_HEADS) else _head(length)) + payload


def _head(length: int) -> bytes:
    if length < 126:
        return b"\x81%c" % length
    if length < 65536:
        return b"\x81\x7e" + length.to_bytes(2, "big")
    return b"\x81\x7f" + length.to_bytes(8, "big")


_HEADS: Final = tuple(map(_head, range(1024)))  # of the lengths that nearly all frames have


class FrameCutter:
    """Owner of the bytes of one connection's frame that is not yet whole."""

    __slots__ = ("_most", "_needed", "_partial")

    def __init__(self, most: int) -> None:
        self._most = most  # bytes of a frame's payload
        self._partial = bytearray()
        self._needed = 0  # bytes before it is worth looking again

    def cut(self, data: bytes) -> list[tuple[bytes, bool]]:
        """The frames that `data` completes: plain ones as their text (True), others as they are.

        Behind a frame that breaks the protocol everything is handed on with it.
        """
        if self._partial:
            self._partial += data
            if len(self._partial) < self._needed:
                return []
            data = bytes(self._partial)
            self._partial.clear()
        frames: list[tuple[bytes, bool]] = []
        needed = 2
        position = 0
        end = len(data)
        while end - position >= 2:
            length = data[position + 1] - 128
            start = position + 6  # behind the mask
            if length == 126:
                if end - position < 4:
                    break
                length = data[position + 2] << 8 | data[position + 3]
                start += 2
            elif length == 127:
                if end - position < 10:
                    break
                length = int.from_bytes(data[position + 2 : position + 10], "big")
                start += 8
            if not 0 <= length <= self._most:  # not masked, or too long
                frames.append((data[position:], False))
                return frames
            after = start + length
            if after > end:
                needed = after - position
                break
            if data[position] == _FINAL_TEXT:
                frames.append((apply_mask(data[start:after], data[start - 4 : start]), True))
            else:
                frames.append((data[position:after], False))
            position = after
        if position < end:
            self._partial += data[position:]
            self._needed = needed
        return frames

"""What must hold for whatever bytes a client sends: shared by the tests and by the fuzzers.

`frames`: our cutter and the codec find what the codec alone finds, byte by byte.
`request`: a frame's text is answered exactly once, and never by a defect; what it asks for is done
on a real store, in memory.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio
from websockets.frames import Opcode
from websockets.protocol import Protocol, Side, State

from imserver.domain import frames as domain
from imserver.domain.errors import CATALOGUE, CloseCode
from imserver.domain.model import Peer
from imserver.service.operations import OPERATIONS
from imserver.transport import dispatch
from imserver.transport.link import Connection
from tests.service.engines import Engines, MemoryLink

if TYPE_CHECKING:
    from collections.abc import Iterable

MOST: Final = 300  # bytes of a message, in `frames`
_HEAD: Final = 14  # bytes of a frame's head, at the most
_LIVES: Final = 20_000  # requests until the engine starts afresh, so that memory stays bounded
_SILENT: Final = logging.getLogger("tests.fuzz")
_SILENT.disabled = True


# -- frames -----------------------------------------------------------------------------------


def frames(segments: Iterable[bytes]) -> None:
    """Bytes as the network hands them on."""
    engine = _engines().engine
    protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=MOST, logger=_SILENT)
    nothing: Any = None
    connection = Connection(engine, nothing, nothing, Peer("127.0.0.1"), protocol, nothing, MOST)
    data = b""
    texts = []
    for segment in segments:
        data += segment
        texts += (text for text in connection._read_texts(segment) if text is not None)
        partial = connection._cutter._partial
        assert len(partial) <= MOST + _HEAD, "more is kept than a frame can be"
        assert len(connection._fragments) <= MOST, "more is kept than a message can be"
    engine.hub.close(connection.session)
    # A frame that is not whole yet is not judged yet, unless by its length.
    judged = data[: len(data) - len(partial)] if data else b""
    assert (texts, b"".join(protocol.data_to_send())) == _by_the_codec(judged)


def _by_the_codec(data: bytes) -> tuple[list[bytes], bytes]:
    """The messages in `data`, and what is to be said to who sent it."""
    found = _fed(data, max(len(data), 1))
    if found is None:  # it has to be told at once what the codec does not look at
        found = _fed(data, 1)
    assert found is not None
    return found


def _fed(data: bytes, step: int) -> tuple[list[bytes], bytes] | None:
    # None: at this step it is too late to tell the codec that a message is not for us.
    protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=MOST, logger=_SILENT)
    texts: list[bytes] = []
    message = b""
    for at in range(0, len(data), step):
        protocol.receive_data(data[at : at + step])
        for frame in protocol.events_received():
            if frame.opcode is Opcode.BINARY:
                if step > 1:
                    return None
                protocol.fail(CloseCode.UNSUPPORTED_DATA, "text frames only")
            elif frame.opcode in (Opcode.TEXT, Opcode.CONT):
                message += frame.data
                if not frame.fin:
                    continue
                try:
                    message.decode()
                except UnicodeDecodeError:
                    if step > 1:
                        return None
                    protocol.fail(CloseCode.INVALID_DATA, "text is not UTF-8")
                else:
                    texts.append(message)
                message = b""
    return texts, b"".join(protocol.data_to_send())


# -- requests ---------------------------------------------------------------------------------

_CODES: Final = {str(code) for code in CATALOGUE}
_REQUESTS: Final = {operation.ws: operation for operation in OPERATIONS if operation.ws}
_lives: list[Engines] = []
_lived = 0


def _engines() -> Engines:
    global _lived
    if not _lives or _lived % _LIVES == 0:
        if _lives:
            _lives.pop().stop()
        _lives.append(Engines(None))
    _lived += 1
    return _lives[0]


def request(text: bytes, *, known: bool = True) -> None:
    """One frame's text, from a session that is logged in or not."""
    engines = _engines()
    engine = engines.engine
    if known:
        session = engines.connect("ann")
    else:
        session = engine.hub.open(MemoryLink(prompt=True), Peer("127.0.0.1"))
    try:
        pause = dispatch.Dispatcher(engine, session).receive(text)
        batch = list(engine.writer._queue)
        engine.writer._queue.clear()
        for command, result in zip(batch, engine.writer._write(batch), strict=True):
            command.finish(result)
        if pause is not None:
            trio.run(_awaited, pause)
        engine.hub.flush()
        assert isinstance(session.link, MemoryLink)
        answers = [
            frame
            for frame in session.link.received()
            if frame["type"] in _REQUESTS or frame["type"] == domain.ERROR_TYPE
        ]
        (answer,) = answers
        code = answer["data"].get("code")
        assert code != "internal"
        assert code is None or code in _CODES
        assert (code is None) == answer["data"].get("success", answer["type"] != domain.ERROR_TYPE)
    finally:
        engine.hub.close(session)
    _both_decoders_agree(text)


async def _awaited(pause: Any) -> None:
    await pause


def _both_decoders_agree(text: bytes) -> None:
    """A frame that is decoded in one pass is the same in two."""
    try:
        frame: Any = dispatch._decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return
    operation = dispatch._FRAMES[type(frame)]
    envelope = domain.decode_envelope(text)
    assert operation.ws == envelope.type
    decoder = dispatch._payload_decoders[envelope.type]
    assert domain.decode_payload(decoder, envelope.data) == frame.data
    assert envelope.message_id == frame.message_id

"""XMPP over a plain socket: register, log in, say one is there, then chat (RFC 6120, RFC 6121)."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING, Final

from imserver.bench.load_error import LoadError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from random import Random

_PASSWORD: Final = "bench"
_ARRIVED: Final = b"</body>"
_STREAM: Final = (
    "<?xml version='1.0'?><stream:stream to='localhost' version='1.0' xmlns='jabber:client' "
    "xmlns:stream='http://etherx.jabber.org/streams'>"
)
_BAD: Final = re.compile(rb"""<stream:error|<failure|type=['"]error['"]""")
_COUNT: Final = re.compile(rb"<count>(\d+)</count>")


class XmppWire:
    """One message stanza a message, to the bare address.

    A server confirms nothing without stream management (XEP-0198), which costs it an answer a
    message; it is left out, and what is sent counts as confirmed.
    """

    def __init__(self, user: str, random: Random) -> None:
        """See `imserver.bench.wire.Wire`."""
        self.acked = 0
        self.received = 0
        self._user = user
        self._rest = b""
        self._message = b""

    @staticmethod
    def create_group(address: tuple[str, int], members: Sequence[str], tls: None) -> str:
        """See `imserver.bench.wire.Wire`; groups are not compared."""
        raise NotImplementedError

    def opening(self, host: str) -> Generator[bytes, bytes, bytes]:
        """A new account, a session, and presence."""
        yield from _said(_STREAM, b"</stream:features>")
        account = f"<username>{self._user}</username><password>{_PASSWORD}</password>"
        yield from _asked(f"<query xmlns='jabber:iq:register'>{account}</query>")
        yield from self._log_in()
        # The answer says that the presence before it has been taken in: messages are delivered.
        roster = _iq("<query xmlns='jabber:iq:roster'/>", "get")
        yield from _said(f"<presence/>{roster}", b"jabber:iq:roster")
        return b""

    def compose(self, content: str, *, to: str, group: bool, idempotent: bool) -> None:
        """See `imserver.bench.wire.Wire`."""
        self._message = (
            f"<message to='{to}@localhost' type='chat'><body>{content}</body></message>".encode()
        )

    def messages(self, count: int) -> bytes:
        """See `imserver.bench.wire.Wire`."""
        self.acked += count
        return self._message * count

    def feed(self, data: bytes) -> bytes:
        """See `imserver.bench.wire.Wire`."""
        if self._rest:
            data = self._rest + data
        if _BAD.search(data):
            raise LoadError(f"the server said: {data.decode()}")
        self.received += data.count(_ARRIVED)
        # What may be the beginning of a mark; too short to hold a whole one again.
        self._rest = data[data.rfind(b"<") :] if b"<" in data[-len(_ARRIVED) + 1 :] else b""
        return b""

    def _log_in(self) -> Generator[bytes, bytes, None]:
        plain = base64.b64encode(f"\0{self._user}\0{_PASSWORD}".encode()).decode()
        auth = f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{plain}</auth>"
        yield from _said(auth, b"<success")
        yield from _said(_STREAM, b"</stream:features>")
        yield from _asked("<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'/>")
        yield from _asked("<session xmlns='urn:ietf:params:xml:ns:xmpp-session'/>")


class ArchiveWire(XmppWire):
    """Looks into a user's archive (XEP-0313), once the load is over."""

    kept = 0  # messages in it

    def opening(self, host: str) -> Generator[bytes, bytes, bytes]:
        """Log in, and ask for none of them but their number."""
        yield from _said(_STREAM, b"</stream:features>")
        yield from self._log_in()
        page = "<set xmlns='http://jabber.org/protocol/rsm'><max>0</max></set>"
        answer = yield from _asked(f"<query xmlns='urn:xmpp:mam:2'>{page}</query>")
        found = _COUNT.search(answer)
        if found is None:
            raise LoadError(f"the server does not count its archive: {answer.decode()}")
        self.kept = int(found[1])
        return b""


def _iq(child: str, kind: str) -> str:
    return f"<iq id='bench' type='{kind}'>{child}</iq>"


def _asked(child: str) -> Generator[bytes, bytes, bytes]:
    answer = yield from _said(_iq(child, "set"), b"<iq ")
    while not answer.endswith((b"/>", b"</iq>")):
        answer += yield b""
    return answer


def _said(text: str, until: bytes) -> Generator[bytes, bytes, bytes]:
    answer = yield text.encode()
    while True:
        if _BAD.search(answer):
            raise LoadError(f"the server refused {text}: {answer.decode()}")
        if until in answer:
            return answer
        answer += yield b""

"""What REST requests come to: the rules that hold whichever version of HTTP carries them.

A lane reads a head and calls `begin`. If there is no answer yet it reads the body and calls `start`
for an operation, or `serve` for a raw route; `finish` completes the answer's headers.

Laws:

- Each rule stands here or in `service`, never in a lane.
- Rules that need the head alone are applied before a body is read.
- Nothing raises: whatever fails becomes an answer. (A body that breaks off has nobody to answer.)
"""

from __future__ import annotations

import logging
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio

from imserver import log
from imserver.domain import frames
from imserver.domain.errors import ApiError, Code
from imserver.service.callers import admit, charge, settle
from imserver.service.engine import Caller, Engine, Immediate, Operation, Procedure, Read, Write
from imserver.transport import answers
from imserver.transport.proxies import FORWARDED_FOR
from imserver.transport.routes import JSON, Answer, RawCall, RawRoute

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from imserver.domain.model import Peer
    from imserver.service.identity.pages import Pages
    from imserver.transport.gate import Gate
    from imserver.transport.heads import Head
    from imserver.transport.proxies import Proxies
    from imserver.transport.requests import Request, Requests
    from imserver.transport.routes import Match, Route, Routes

logger = logging.getLogger(__name__)

_PAUSE: Final = 0.5  # seconds, at most, before a request that came too early is refused


class BodyError(ApiError):
    """A refusal of a body whose rest is not waited for."""


def body_too_large() -> BodyError:
    """What is said to a body beyond its limit."""
    return BodyError(Code.TOO_LARGE, "The body is too large")


def body_too_slow() -> BodyError:
    """What is said to a body that stalls."""
    return BodyError(Code.TOO_SLOW, "The body took too long to arrive")


class RestCall:
    """One request under way, and what was found out about it so far."""

    __slots__ = ("answer", "caller", "head", "match", "origin", "path", "request", "route")

    def __init__(self, head: Head, request: Request, caller: Caller) -> None:
        self.head = head
        self.request = request
        self.caller = caller  # nobody yet, from where it came
        self.origin: str | None = None  # of the page that asks, which may read the answer
        self.match: Match | None = None
        self.route: Route | None = None
        self.answer: Answer | None = None  # known before the body is

    @property
    def raw(self) -> RawRoute | None:
        """The route, if it is no operation's."""
        return self.route if isinstance(self.route, RawRoute) else None


class RestRules:
    """Applies the rules, and does what is asked."""

    def __init__(
        self,
        engine: Engine,
        pages: Pages,
        proxies: Proxies,
        routes: Routes,
        requests: Requests,
        gate: Gate | None,
        *,
        body_bytes: int,
    ) -> None:
        self._engine = engine
        self._pages = pages
        self._proxies = proxies
        self._routes = routes
        self.requests = requests
        self._gate = gate  # None: an address may ask as much at once as it likes
        self.body_bytes = body_bytes  # of an operation's request

    # -- with the head alone ------------------------------------------------------------------

    def begin(self, head: Head, peer: Peer) -> RestCall:
        """Find out what a request asks for and whether it may; `peer` is its connection's."""
        client = peer
        if peer.proxied:
            forwarded = (value.decode("latin-1") for value in head.values(FORWARDED_FOR))
            client = self._proxies.client(peer, forwarded)
        call = RestCall(head, self.requests.begin(head, client), Caller("", peer=client))
        try:
            self._pages.check(peer, head.values)
            call.origin = head.text("Origin")
            call.match = match = self._routes.find(head)
            if match is None:
                raise ApiError(Code.NOT_FOUND, "There is no such path")
            call.route = match.route(head.method)
            if call.route is None and head.method == "OPTIONS" and call.origin is not None:
                call.answer = answers.preflight(match)
                return call
            if call.route is None:
                refused = self.refusal(ApiError(Code.METHOD_NOT_ALLOWED))
                call.answer = refused._replace(headers=(("Allow", match.allowed),))
                return call
            call.caller = admit(self._engine, call.route, call.caller, head.values)
            call.request.user_id = call.caller.user_id
        except ApiError as error:
            call.answer = self.refusal(error)
        except Exception:
            call.answer = self._defect(call)
        return call

    # -- with the body ------------------------------------------------------------------------

    def start(
        self, call: RestCall, body: bytes, done: Callable[[Answer], None]
    ) -> Callable[[], Awaitable[Answer]] | None:
        """Do an operation: `done` gets the answer, now or later.

        Unless something comes back: that is to be called and awaited for the answer, by a task of
        the caller's.
        """
        operation, engine = call.route, self._engine
        assert operation is not None
        assert not isinstance(operation, RawRoute)
        try:
            asked = _request(operation, call, body)
            charge(engine, operation, call.caller, asked)
            if isinstance(operation, Immediate):
                done(answers.json_answer(operation.handle(engine, call.caller, asked)))
            elif isinstance(operation, Write):
                change = operation.handle(engine, call.caller, asked)
                if engine.writer.full:
                    return partial(self._wait, call, partial(engine.write, change))
                engine.submit(change, lambda result: done(self._answer(result)))
            else:
                return partial(self._wait, call, partial(self._ask, operation, call, asked))
        except ApiError as error:
            done(self.refusal(error))
        except Exception:
            done(self._defect(call))
        return None

    async def _ask(self, operation: Read | Procedure, call: RestCall, asked: Any) -> bytes:
        engine, caller = self._engine, call.caller
        if self._gate is None or not caller.peer.address:
            answer = await operation.handle(engine, caller, asked)
        else:
            async with self._gate.under_way(caller.peer.address):
                answer = await operation.handle(engine, caller, asked)
        settle(engine, operation, caller, answer)
        return answer

    async def _wait(self, call: RestCall, work: Callable[[], Awaitable[bytes]]) -> Answer:
        log.about(**call.request.about())
        try:
            return answers.json_answer(await work())
        except ApiError as error:
            return self.refusal(error)
        except Exception:
            return self._defect(call)
        finally:
            log.about_nothing()

    async def serve(self, call: RestCall, body: AsyncIterator[bytes]) -> Answer | None:
        """Ask a raw route; None if nobody is there any more to be answered."""
        route = call.raw
        assert route is not None
        assert call.match is not None
        log.about(**call.request.about())
        try:
            return await route.handle(RawCall(call.caller, call.head, call.match.path, body))
        except BodyError as error:
            return self.refusal(error, closing=True)
        except ApiError as error:
            return self.refusal(error)
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError):
            logger.debug("a body broke off", exc_info=True)
            return None
        except Exception:
            return self._defect(call)
        finally:
            log.about_nothing()

    # -- answers ------------------------------------------------------------------------------

    def _answer(self, result: bytes | ApiError) -> Answer:
        if isinstance(result, ApiError):
            return self.refusal(result)
        return answers.json_answer(result)

    def refusal(self, error: ApiError, *, closing: bool = False) -> Answer:
        """The answer that refuses a request; it is counted."""
        self._engine.refusals.count("rest", error)
        answer = answers.refusal(error, self._engine.identity.challenge, closing=closing)
        if error.code is Code.RATE_LIMITED and error.retry_after_ms:
            # A refusal costs as much as an answer: a client that does not wait is made to.
            return answer._replace(wait=min(error.retry_after_ms / 1000, _PAUSE))
        return answer

    def _defect(self, call: RestCall) -> Answer:
        route = call.route
        name = call.head.path if route is None or isinstance(route, RawRoute) else route.name
        logger.exception("%s failed", name, extra=call.request.about())
        return self.refusal(ApiError(Code.INTERNAL))

    def finish(self, call: RestCall, answer: Answer) -> Answer:
        """Complete an answer that is about to be sent."""
        call.request.status = answer.status
        if call.origin is not None:
            answer = answers.shared(answer, call.origin, call.match)
        return answer


@cache
def _field_names(kind: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind)}


@cache
def _decoder(kind: type[msgspec.Struct]) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(kind)


def _request(operation: Operation, call: RestCall, body: bytes) -> Any:
    """The request of an operation, from the path, and the query (GET) or the body.

    Raises:
        ApiError: `invalid_request`, `unsupported_media_type`.
    """
    assert operation.rest is not None
    assert call.match is not None
    kind, path, head = operation.request, call.match.path, call.head
    names = _field_names(kind)
    try:
        if operation.rest.method == "GET":
            return msgspec.convert(head.parameters() | path, kind, strict=False)
        if names <= path.keys():
            return msgspec.convert(path, kind)
        media = (head.text("Content-Type") or "").partition(";")[0].strip().lower()
        if media and media != JSON and not media.endswith("+json"):
            raise ApiError(Code.UNSUPPORTED_MEDIA_TYPE)
        if path:
            fields = msgspec.json.decode(body or b"{}", type=dict[str, Any])
            asked = msgspec.convert(fields | path, kind)
        else:
            asked = _decoder(kind).decode(body or b"{}")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise frames.malformed(error) from None
    if "client_msg_id" in names and (keys := head.values(answers.IDEMPOTENCY_HEADER)):
        return _with_key(asked, keys[0])
    return asked


def _with_key(asked: Any, value: bytes) -> Any:
    try:
        key = value.decode()
    except UnicodeError:
        raise ApiError(Code.INVALID_REQUEST, f"{answers.IDEMPOTENCY_HEADER} is not UTF-8") from None
    if not key:
        return asked
    if asked.client_msg_id not in (None, "", key):
        raise ApiError(
            Code.INVALID_REQUEST, f"client_msg_id and {answers.IDEMPOTENCY_HEADER} must be the same"
        )
    return msgspec.structs.replace(asked, client_msg_id=key)

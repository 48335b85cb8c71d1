"""REST: the quart-trio application, its routes derived from the operations table."""

from __future__ import annotations

import logging
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

import msgspec
import trio
from quart import Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from imserver import log
from imserver.domain import frames
from imserver.domain.errors import ApiError, Code
from imserver.service.callers import admit, charge, settle
from imserver.service.engine import Caller, Engine, Immediate, Operation, Write
from imserver.service.identity.modes import USER_HEADER
from imserver.service.operations import OPERATIONS
from imserver.transport.http import ESCAPED_SLASH
from imserver.transport.openapi import describe
from imserver.transport.requests import REQUEST_ID_HEADER
from imserver.transport.sockets import retry_after

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from werkzeug.datastructures import Headers
    from werkzeug.routing import Map

    from imserver.domain.model import Peer
    from imserver.service.identity.pages import Pages
    from imserver.transport.metrics import Metrics

logger = logging.getLogger(__name__)

_PAUSE: Final = 0.5  # seconds, at most, before a request that came too early is refused
IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
# Nothing here is a page: no browser is to take it for one, frame it, or keep it.
_SECURITY_HEADERS: Final = (
    ("Cache-Control", "no-store"),
    ("Content-Security-Policy", "default-src 'none'; connect-src 'self'; frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("X-Content-Type-Options", "nosniff"),
)
_PREFLIGHT: Final = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE",
    "Access-Control-Allow-Headers": f"Authorization, Content-Type, {USER_HEADER}, "
    f"{IDEMPOTENCY_HEADER}, {REQUEST_ID_HEADER}",
    "Access-Control-Max-Age": "600",  # seconds
}
_HTTP_CODES: Final = {
    404: ApiError(Code.NOT_FOUND, "There is no such path"),
    405: ApiError(Code.METHOD_NOT_ALLOWED),
    408: ApiError(Code.TOO_SLOW, "The body took too long to arrive"),
    413: ApiError(Code.TOO_LARGE, "The body is too large"),
    415: ApiError(Code.UNSUPPORTED_MEDIA_TYPE),
    500: ApiError(Code.INTERNAL),
}


def build_app(
    engine: Engine,
    pages: Pages,
    metrics: Metrics | None,
    *,
    version: str,
    body_bytes: int,
    body_timeout: float,
) -> QuartTrio:
    """The application: one route an operation, JSON in every answer, errors included.

    With `metrics` there is `/metrics` too, which speaks the text that Prometheus reads.
    """
    app = _bare_app()
    app.url_map = _routes(metrics is not None)
    app.config["MAX_CONTENT_LENGTH"] = body_bytes
    app.config["BODY_TIMEOUT"] = body_timeout
    app.register_error_handler(HTTPException, partial(_http_refusal, engine))

    async def look_at_origin() -> Response | None:
        try:
            pages.check(request.scope["state"]["connected"], partial(_given, request.headers))
        except ApiError as error:
            return _refusal(engine, error)
        origin = request.headers.get("Origin")
        if origin and request.method == "OPTIONS" and pages.allows(origin):
            return Response(b"", 204, headers=_PREFLIGHT)
        return None

    async def finish(response: Response) -> Response:
        response.headers.extend(_SECURITY_HEADERS)
        origin = request.headers.get("Origin")
        if origin and pages.allows(origin):
            response.headers["Access-Control-Allow-Origin"] = origin
            response.headers["Access-Control-Expose-Headers"] = f"Retry-After, {REQUEST_ID_HEADER}"
            response.headers["Vary"] = "Origin"
        return response

    app.before_request(look_at_origin)
    app.after_request(finish)
    for operation in OPERATIONS:
        if operation.rest is not None:
            app.view_functions[operation.name] = _view(engine, operation)
    description = _description(version, tuple(engine.identity.scheme.items()))

    async def openapi() -> Response:
        return _json(description)

    app.view_functions["openapi"] = openapi

    if metrics is not None:

        async def scrape() -> Response:
            text, content_type = metrics.render(request.headers.get("Accept", ""))
            return Response(text, content_type=content_type)

        app.view_functions["metrics"] = scrape

    async def not_ws() -> Response:
        response = _refusal(engine, ApiError(Code.UPGRADE_REQUIRED))
        response.headers["Upgrade"] = "websocket"
        return response

    app.view_functions["not_ws"] = not_ws
    return app


def _bare_app() -> QuartTrio:
    app = QuartTrio("imserver", static_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # they would say that they are HTML
    return app


@cache
def _routes(with_metrics: bool) -> Map:
    """The paths and the names of their views. Compiled once: that takes longer than a start."""
    app = _bare_app()
    for operation in OPERATIONS:
        if operation.rest is not None:
            path = operation.rest.path.replace("{", "<").replace("}", ">")
            app.add_url_rule(path, operation.name, methods=[operation.rest.method])
    app.add_url_rule("/openapi.json", "openapi")
    if with_metrics:
        app.add_url_rule("/metrics", "metrics")
    app.add_url_rule("/ws", "not_ws")
    return app.url_map


@cache
def _description(version: str, scheme: tuple[tuple[str, str], ...]) -> bytes:
    """The OpenAPI document; it is the same for every server with this security scheme."""
    return msgspec.json.encode(describe(version, dict(scheme)))


def _json(body: bytes, status: int = 200) -> Response:
    return Response(body, status, content_type="application/json")


def _refusal(engine: Engine, error: ApiError) -> Response:
    engine.refusals.count("rest", error)
    response = _json(frames.error_body(error), error.status)
    if error.code is Code.UNAUTHORIZED and engine.identity.challenge is not None:
        response.headers["WWW-Authenticate"] = engine.identity.challenge
    if error.retry_after_ms is not None:
        response.headers["Retry-After"] = retry_after(error.retry_after_ms)
    return response


async def _http_refusal(engine: Engine, error: HTTPException) -> Response:
    status = error.code or 500
    known = _HTTP_CODES.get(status)
    response = _refusal(engine, known or ApiError(Code.INVALID_REQUEST))
    if status in (408, 413):  # the rest of the body stays unread
        response.headers["Connection"] = "close"
    for name, value in error.get_headers():
        if name.lower() == "allow":
            response.headers[name] = value
    return response


def _view(engine: Engine, operation: Operation) -> Callable[..., Awaitable[Response]]:
    decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(operation.request)
    takes_key = "client_msg_id" in _field_names(operation.request)

    async def view(**segments: str) -> Response:
        path = {name: value.replace(ESCAPED_SLASH, "/") for name, value in segments.items()}
        try:
            headers = request.headers
            peer: Peer = request.scope["state"]["peer"]
            caller = admit(engine, operation, Caller("", peer=peer), partial(_given, headers))
            log.also_about(user_id=caller.user_id)
            call = await _request(operation, decoder, path)
            if takes_key and (key := headers.get(IDEMPOTENCY_HEADER)):
                call = _with_key(call, _utf8(key, IDEMPOTENCY_HEADER))
            charge(engine, operation, caller, call)
            if isinstance(operation, Immediate):
                answer = operation.handle(engine, caller, call)
            elif isinstance(operation, Write):
                answer = await engine.write(operation.handle(engine, caller, call))
            else:
                answer = await operation.handle(engine, caller, call)
                settle(engine, operation, caller, answer)
        except ApiError as error:
            if error.code is Code.RATE_LIMITED and error.retry_after_ms:
                # A refusal costs as much as an answer: whoever does not wait is made to.
                await trio.sleep(min(error.retry_after_ms / 1000, _PAUSE))
            return _refusal(engine, error)
        except HTTPException:
            raise
        except Exception:
            logger.exception("%s failed", operation.name)
            return _refusal(engine, ApiError(Code.INTERNAL))
        return _json(answer)

    return view


@cache
def _field_names(kind: type[msgspec.Struct]) -> set[str]:
    return {field.name for field in msgspec.structs.fields(kind)}


def _given(headers: Headers, name: str) -> list[bytes]:
    # The framework reads header bytes as Latin-1, which loses nothing.
    return [value.encode("latin-1") for value in headers.getlist(name)]


def _utf8(value: str, name: str) -> str:
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        raise ApiError(Code.INVALID_REQUEST, f"{name} is not UTF-8") from None


async def _request(
    operation: Operation, decoder: msgspec.json.Decoder[Any], path: dict[str, str]
) -> Any:
    """The request of an operation, from the path, the query (GET) or the body (POST)."""
    assert operation.rest is not None
    kind = operation.request
    try:
        if operation.rest.method == "GET":
            query = {name: value for name, value in request.args.items() if value != ""}
            return msgspec.convert(query | path, kind, strict=False)
        body = await request.get_data(cache=False)
        if _field_names(kind) <= path.keys():
            return msgspec.convert(path, kind)
        mimetype = request.mimetype
        if mimetype and mimetype != "application/json" and not mimetype.endswith("+json"):
            raise ApiError(Code.UNSUPPORTED_MEDIA_TYPE)
        if not path:
            return decoder.decode(body or b"{}")
        fields = msgspec.json.decode(body or b"{}", type=dict[str, Any])
        return msgspec.convert(fields | path, kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise frames.malformed(error) from None


def _with_key(call: Any, key: str) -> Any:
    if call.client_msg_id not in (None, "", key):
        raise ApiError(
            Code.INVALID_REQUEST, f"client_msg_id and {IDEMPOTENCY_HEADER} are not the same"
        )
    return msgspec.structs.replace(call, client_msg_id=key)

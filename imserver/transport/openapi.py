"""The OpenAPI 3.1 document, derived from the operations table and the structs."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from imserver.domain import answered
from imserver.domain.errors import CATALOGUE, Code
from imserver.service.engine import Operation, Who
from imserver.service.operations import COMMON_ERRORS, OPERATIONS

_REF: Final = "#/components/schemas/{name}"


def describe(version: str, user_scheme: dict[str, str]) -> dict[str, Any]:
    """The whole document, as plain data; `user_scheme` is how calls name their user."""
    offered = [operation for operation in OPERATIONS if operation.rest is not None]
    types = [operation.request for operation in offered] + [
        operation.answer for operation in offered
    ]
    schemas, components = msgspec.json.schema_components(
        [*types, answered.ErrorBody], ref_template=_REF
    )
    requests = dict(zip((op.name for op in offered), schemas, strict=False))
    answers = dict(zip((op.name for op in offered), schemas[len(offered) :], strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for operation in offered:
        assert operation.rest is not None
        for path in operation.rest.paths:
            entry = _entry(
                operation, path, requests[operation.name], answers[operation.name], components
            )
            paths.setdefault(path, {})[operation.rest.method.lower()] = entry
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "imserver",
            "version": version,
            "description": "Instant messaging over REST; live delivery is at the WebSocket /ws.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"user": user_scheme},
        },
    }


def _entry(
    operation: Operation,
    path: str,
    request: dict[str, Any],
    answer: dict[str, Any],
    components: dict[str, Any],
) -> dict[str, Any]:
    assert operation.rest is not None
    in_path = re.findall(r"{(\w+)}", path)
    in_any_path = re.findall(r"{(\w+)}", "".join(operation.rest.paths))
    schema = components[request["$ref"].rsplit("/", 1)[1]]
    properties: dict[str, Any] = schema.get("properties", {})
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in in_path
    ]
    entry: dict[str, Any] = {
        # Ids are unique in the document; programs that are generated from it name calls by them.
        "operationId": operation.name
        if path == operation.rest.path
        else f"{operation.name}_of_group",
        "summary": operation.summary,
        "x-who": operation.who.value,
        "responses": _responses(operation, answer),
    }
    others = {name: value for name, value in properties.items() if name not in in_any_path}
    if operation.rest.method == "GET":
        parameters += [
            {"name": name, "in": "query", "required": False, "schema": value}
            for name, value in others.items()
        ]
    elif others:
        required = [name for name in schema.get("required", ()) if name in others]
        body = {"type": "object", "properties": others, "required": required}
        entry["requestBody"] = {
            "required": bool(required),
            "content": {"application/json": {"schema": request if not in_path else body}},
        }
    if "client_msg_id" in properties:
        parameters.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "maxLength": 128},
            }
        )
    if parameters:
        entry["parameters"] = parameters
    if operation.who is not Who.ANYONE:
        entry["security"] = [{"user": []}]
    return entry


def _responses(operation: Operation, answer: dict[str, Any]) -> dict[str, Any]:
    assert operation.rest is not None
    codes: set[Code] = {*operation.errors, *COMMON_ERRORS}
    if operation.who is not Who.ANYONE:
        codes |= {Code.UNAUTHORIZED, Code.FORBIDDEN}  # nobody, or the server's own user id
    if operation.rest.method in ("POST", "PUT", "PATCH"):
        codes |= {Code.TOO_LARGE, Code.UNSUPPORTED_MEDIA_TYPE, Code.TOO_SLOW}
    by_status: dict[int, list[Code]] = {}
    for code in sorted(codes):
        by_status.setdefault(CATALOGUE[code].status, []).append(code)
    responses: dict[str, Any] = {
        "200": {
            "description": "Done",
            "content": {"application/json": {"schema": answer}},
        }
    }
    for status, listed in sorted(by_status.items()):
        responses[str(status)] = {
            "description": "; ".join(f"`{code}`: {CATALOGUE[code].meaning}" for code in listed),
            "content": {"application/json": {"schema": {"$ref": _REF.format(name="ErrorBody")}}},
        }
    return responses

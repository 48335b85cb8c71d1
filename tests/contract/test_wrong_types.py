"""Wrong types and values, in every field of every operation: what the refusals say.

A refusal names the field in plain words, and shows nothing of how the server decodes requests.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from imserver.config import Admission
from imserver.service.operations import OPERATIONS
from tests.contract.api import ADMIN_PATHS, PATHS, REST, WEBSOCKET, acting
from tests.support import Refused
from tests.support.accounts import token_of, token_server

if TYPE_CHECKING:
    from collections.abc import Iterator

# What only a decoder says. `Object` stands at the start of one of its texts.
FOREIGN = ("$", "|", "`", "Expected", "Object", "null", "enum", "got ", "msgspec")
WRONG: tuple[Any, ...] = (7, 1.5, "\x07", True, None, [], [7], {}, {"a": 1}, 10**30)
REQUIRED = {
    "message_id": "msg_1",
    "group_id": "group_1",
    "user_id": "bob",
    "token_id": "token_1",
    "status": "read",
    "role": "admin",
    "members": ["bob"],
    "old_password": "no password of root",
    "new_password": "another, also long",
}
FIELDS = {
    operation.name: [field.encode_name for field in msgspec.structs.fields(operation.request)]
    for operation in OPERATIONS
    if operation.name in PATHS | ADMIN_PATHS
}


def requests_of(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Requests with one wrong field, and that field."""
    right = {key: value for key, value in REQUIRED.items() if key in FIELDS[name]}
    for field in FIELDS[name]:
        if field in right:
            yield field, {key: value for key, value in right.items() if key != field}
        for value in WRONG:
            yield field, right | {field: value}


@pytest.mark.parametrize("transport", [WEBSOCKET, REST])
async def test_a_refusal_speaks_of_fields_in_plain_words(transport: str) -> None:
    tables = PATHS if transport == WEBSOCKET else PATHS | ADMIN_PATHS
    seen = set()
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(
            token_server("bob", admission=Admission(mode="off"))
        )
        token = await token_of(server, "root")
        root = await stack.enter_async_context(acting(server, transport, "root", token))
        for name in tables:
            for field, request in requests_of(name):
                if transport == REST and f"{{{field}}}" in tables[name][1]:
                    continue  # it is a part of the path: a string, whatever it is
                try:
                    await root.call(name, request)
                except Refused as refused:
                    error = refused.answer["error"]
                    assert not any(word in error for word in FOREIGN), (name, request, error)
                    seen.add(error)
    assert len(seen) > 50

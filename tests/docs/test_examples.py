"""The API reference's examples are one conversation; here it is held with a real server.

The clock stands still at the time that the API document prints everywhere.
"""

from __future__ import annotations

import json
import re
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from tests.docs.markdown import Page
from tests.support import connect, http_client, login, running_server
from tests.support.accounts import PASSWORD, log_in, token_server

if TYPE_CHECKING:
    import httpx

    from imserver import Server
    from tests.docs.markdown import Code
    from tests.support import Socket

PRINTED_TIME = 1640995200000
GROUP_ID = re.compile(r"group_[a-z0-9]{12}")
FRAME = re.compile(r"(\w+) ([<>]) (.+)")


class GroupIds:
    """Group ids are random: each that is printed stands for one that the server gave out."""

    def __init__(self) -> None:
        self._real: dict[str, str] = {}

    def real(self, text: str) -> str:
        """The text with the server's ids in place of the printed ones."""
        return GROUP_ID.sub(lambda found: self._real.get(found[0], found[0]), text)

    def expected(self, printed: str, answer: str) -> Any:
        """What is printed, as JSON, with ids that are new in it taken from the answer."""
        pairs = zip(GROUP_ID.findall(printed), GROUP_ID.findall(answer), strict=False)
        for shown, given in pairs:
            self._real.setdefault(shown, given)
        return json.loads(self.real(printed))


async def call(http: httpx.AsyncClient, ids: GroupIds, example: Code) -> None:
    """One REST call: the request, an empty line, its body if any, an empty line, the answer."""
    head, *body, printed = ids.real(example.text).split("\n\n")
    line, *headers = head.splitlines()
    method, path = line.split(" ")
    status, printed = printed.split("\n", 1)
    answer = await http.request(
        method,
        path,
        headers=dict(header.split(": ") for header in headers),
        content="\n\n".join(body).encode(),
    )
    assert answer.json() == ids.expected(printed, answer.text), f"line {example.line}"
    assert answer.status_code == int(status), f"line {example.line}"


async def talk(server: Server, ids: GroupIds, example: Code) -> None:
    """Frames of one or more connections; at its end none of them has anything left unread."""
    async with AsyncExitStack() as connections:
        sockets: dict[str, Socket] = {}
        lines = [FRAME.fullmatch(line) for line in example.text.splitlines()]
        steps = [found.groups() for found in lines if found is not None]
        assert len(steps) == len(lines), f"line {example.line}: not a frame"
        for user, _, frame in steps:
            if user not in sockets:
                opening = connect(server) if '"login"' in frame else login(server, user)
                sockets[user] = await connections.enter_async_context(opening)
        for user, direction, frame in steps:
            if direction == ">":
                await sockets[user].connection.send_message(ids.real(frame))
            else:
                received = await sockets[user].receive()
                wanted = ids.expected(frame, json.dumps(received))
                assert received == wanted, f"line {example.line}: {user}"
        for socket in sockets.values():
            await socket.no_push()


async def test_the_examples_are_what_a_server_says() -> None:
    ids = GroupIds()
    played = 0
    async with (
        running_server(clock=lambda: PRINTED_TIME) as server,
        http_client(server) as http,
    ):
        for example in Page("docs/api.md").blocks:
            match example.language:
                case "http":
                    await call(http, ids, example)
                case "ws":
                    await talk(server, ids, example)
                case "json":
                    continue  # of another mode: see below
                case other:
                    raise AssertionError(f"line {example.line}: what is {other!r}?")
            played += 1
    assert played > 20


async def test_a_login_is_as_it_is_printed() -> None:
    section = Page("docs/api.md").section("`password_login`")
    request, answer = re.findall(r"```json\n(.+?)```", section, re.DOTALL)
    asked, printed = json.loads(request), json.loads(answer)
    assert asked.pop("password") == PASSWORD
    async with token_server("alice") as server:
        answered = await log_in(server, **asked)
    for one in (answered, printed):
        assert re.fullmatch(r"ims_[\w-]{43}", one.pop("token"))
        assert re.fullmatch(r"token_[a-z0-9]{12}", one.pop("token_id"))
        assert re.fullmatch(r"[\d-]{10}T[\d:]{8}Z", one.pop("expires_at"))
    assert answered == printed

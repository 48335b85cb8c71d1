"""What the server says of itself: the design's section, Stats and health."""

from __future__ import annotations

from tests.support import connect, login, rest, running_server


async def test_no_identity_is_needed_and_none_is_looked_at() -> None:
    async with running_server() as server, rest(server, None) as nobody:
        for path in ("/health", "/ready", "/api/v1/stats"):
            for headers in ({}, {"X-User-ID": ""}, {"X-User-ID": "two words"}):
                answer = await nobody.request("GET", path, headers=headers)
                assert answer.status_code == 200


async def test_connections_are_websockets_logged_in_or_not() -> None:
    async def stats() -> tuple[int, int]:
        answer = await nobody.get("/api/v1/stats")
        return answer["connections"], answer["online_users"]

    async with running_server() as server, rest(server, None) as nobody:
        assert await stats() == (0, 0)
        async with connect(server) as first:
            assert await stats() == (1, 0)
            await first.call("login", {"user_id": "alice"})
            assert await stats() == (1, 1)
            async with login(server, "alice"), login(server, "bob"):
                assert await stats() == (3, 2)
        # A close is answered by the server when it has seen it, so both are gone by now.
        assert await stats() == (0, 0)


async def test_users_over_rest_are_not_online() -> None:
    async with running_server() as server, rest(server, "alice") as alice:
        await alice.post("/api/v1/messages", {"receiver_id": "bob", "content": "hello"})
        stats = await alice.get("/api/v1/stats")
        assert (stats["connections"], stats["online_users"]) == (0, 0)


async def test_times_are_whole_milliseconds_of_now() -> None:
    async with (
        running_server(clock=lambda: 1640995200123) as server,
        rest(server, None) as nobody,
        login(server, "alice") as alice,
    ):
        times = [
            (await nobody.get("/health"))["timestamp"],
            (await nobody.get("/api/v1/stats"))["timestamp"],
            (await alice.call("heartbeat"))["timestamp"],
            (await alice.ask("heartbeat"))["timestamp"],
        ]
        assert times == [1640995200123] * 4
        assert {type(time) for time in times} == {int}


async def test_a_heartbeat_is_answered_whoever_it_names() -> None:
    async with running_server() as server, login(server, "alice") as alice:
        for data in ({}, {"user_id": "alice"}, {"user_id": "bob"}, {"user_id": None}):
            assert list(await alice.call("heartbeat", data)) == ["timestamp"]

"""THE TABLE of scenarios and of the figures that each one gives."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final, NamedTuple

from imserver.bench.scenarios import direct, group, idle, latency, paging, rest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from imserver.bench.measuring import Field


class Figure(NamedTuple):
    """One number of a report."""

    name: str  # as in JSON
    label: str
    unit: str
    digits: int = 0  # behind the point


class Scenario(NamedTuple):
    """One load, and the figures that it gives."""

    name: str
    summary: str  # `{...}` are fields of Load
    run: Callable[[Field], dict[str, float]]
    figures: tuple[Figure, ...]  # the first one is what the scenario is about
    defaults: Mapping[str, int]  # of the parameters whose defaults differ between scenarios


def _percentiles(name: str, label: str, *parts: str) -> tuple[Figure, ...]:
    return tuple(Figure(f"{name}_p{part}", f"{label}, p{part}", "ms", 2) for part in parts)


_COST: Final = (
    Figure("server_us", "server CPU for each", "µs", 1),
    Figure("server_cpu", "server CPU", "% of a core"),
    Figure("client_cpu", "load client CPU", "% of a core"),
    Figure("other_cpu", "other processes' CPU", "% of a core"),
)
_PER_COMMIT: Final = Figure("per_commit", "messages per commit", "", 1)
_DISK: Final = Figure("disk_bytes", "disk for each message", "bytes")
_SENT: Final = Figure("sent", "messages in all, none lost", "")

SCENARIOS: Final[dict[str, Scenario]] = {
    scenario.name: scenario
    for scenario in (
        Scenario(
            "direct",
            "{pairs} pairs, {in_flight} messages in flight each",
            direct.run,
            (
                Figure("messages", "messages", "/s"),
                *_percentiles("receive", "send to receive", "50", "99"),
                *_percentiles("ack", "send to ack", "50", "99"),
                *_COST,
                _PER_COMMIT,
                _DISK,
                _SENT,
            ),
            {"in_flight": 8},
        ),
        Scenario(
            "acks",
            "{pairs} pairs, {in_flight} messages in flight each, each read by its receiver",
            partial(direct.run, acknowledged=True),
            (
                Figure("messages", "messages", "/s"),
                *_percentiles("receive", "send to receive", "50", "99"),
                *_percentiles("ack", "send to ack", "50", "99"),
                *_COST,
                _PER_COMMIT,
                _DISK,
                _SENT,
            ),
            {"in_flight": 8},
        ),
        Scenario(
            "group",
            "a group of {members}, {in_flight} messages in flight",
            group.run,
            (
                Figure("deliveries", "deliveries", "/s"),
                Figure("messages", "messages", "/s"),
                *_percentiles("receive", "send to receive", "50", "99"),
                *_percentiles("last", "send to last receiver", "50", "99"),
                *_COST,
                _PER_COMMIT,
                _SENT,
            ),
            {"in_flight": 4},
        ),
        Scenario(
            "latency",
            "{rate:g} messages/s over {sessions} sessions, whatever happens",
            latency.run,
            (
                *_percentiles("receive", "due to receive", "50", "99", "99.9"),
                *_percentiles("ack", "due to ack", "50", "99", "99.9"),
                Figure("messages", "messages", "/s"),
                *_COST,
                _PER_COMMIT,
                _SENT,
            ),
            {"sessions": 200},
        ),
        Scenario(
            "rest",
            "messages posted over {connections} keep-alive connections",
            rest.run,
            (
                Figure("messages", "messages", "/s"),
                *_percentiles("answer", "post to answer", "50", "99"),
                *_COST,
                _PER_COMMIT,
                _SENT,
            ),
            {"connections": 16},
        ),
        Scenario(
            "sync",
            "{connections} session(s) paging through {backlog} messages, {page} a page",
            paging.run,
            (
                Figure("messages", "messages", "/s"),
                Figure("pages", "pages", "/s", 1),
                *_percentiles("page", "a page", "50", "99"),
                *_COST,
                Figure("backlog", "messages in the backlog", ""),
                Figure("passes", "times from beginning to end", ""),
            ),
            {"connections": 1},
        ),
        Scenario(
            "idle",
            "{sessions} sessions that say nothing",
            idle.run,
            (
                Figure("session_rss", "resident memory a session", "bytes"),
                Figure("session_pss", "proportional memory a session", "bytes"),
                Figure("slope_rss", "resident, from a tenth of them to all", "bytes a session"),
                Figure("empty_rss", "the empty server, resident", "MB", 1),
                Figure("full_rss", "the server with all of them", "MB", 1),
                Figure("logins", "logins", "/s"),
                Figure("server_us", "server CPU for each login", "µs"),
                Figure("server_cpu", "server CPU at login", "% of a core"),
                Figure("client_cpu", "load client CPU at login", "% of a core"),
                Figure("idle_cpu", "server CPU while idle", "% of a core", 1),
                Figure("seconds", "idle for", "s", 1),
                Figure("other_cpu", "other processes' CPU at most", "% of a core"),
                Figure("sessions", "sessions", ""),
                Figure("ready", "start to ready", "ms"),
            ),
            {"sessions": 10_000},
        ),
    )
}

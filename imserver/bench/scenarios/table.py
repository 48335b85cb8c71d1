"""THE TABLE of scenarios and of the figures that each one gives."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from imserver.bench.scenarios import direct, group, latency

if TYPE_CHECKING:
    from collections.abc import Callable

    from imserver.bench.measuring import Field


class Figure(NamedTuple):
    """One number of a report."""

    name: str  # as in JSON
    label: str
    unit: str
    digits: int = 0  # behind the point


class Scenario(NamedTuple):
    """One load, and what is to be read off it."""

    name: str
    summary: str  # `{...}` are fields of Load
    run: Callable[[Field], dict[str, float]]
    figures: tuple[Figure, ...]  # the first one is what the scenario is about
    in_flight: int = 1  # the default


def _percentiles(name: str, label: str, *parts: str) -> tuple[Figure, ...]:
    return tuple(Figure(f"{name}_p{part}", f"{label}, p{part}", "ms", 2) for part in parts)


_COST: Final = (
    Figure("server_us", "server CPU for each", "µs", 1),
    Figure("server_cpu", "server CPU", "% of a core"),
    Figure("client_cpu", "load client CPU", "% of a core"),
    Figure("other_cpu", "other processes' CPU", "% of a core"),
)
_STORED: Final = (
    Figure("per_commit", "messages per commit", "", 1),
    Figure("disk_bytes", "disk for each message", "bytes"),
)
_CHECK: Final = (
    Figure("sent", "messages sent in all", ""),
    Figure("lost", "messages lost", ""),
)

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
                *_STORED,
                *_CHECK,
            ),
            in_flight=8,
        ),
        Scenario(
            "group",
            "a group of {members}, {in_flight} messages in flight",
            group.run,
            (
                Figure("deliveries", "deliveries", "/s"),
                Figure("messages", "messages", "/s"),
                *_percentiles("receive", "send to receive", "50", "99"),
                *_percentiles("last", "send to the last receiver", "50", "99"),
                *_COST,
                *_STORED,
                *_CHECK,
            ),
            in_flight=4,
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
                *_STORED,
                *_CHECK,
            ),
        ),
    )
}

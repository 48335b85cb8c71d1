"""What a server says of itself to Prometheus: read from its parts when asked, sums only, no ids.

Nothing is counted here. Each server has a registry of its own, so that several live in one process;
only what concerns the process is said by each of them alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from imserver.domain.errors import CloseCode
from imserver.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from imserver.service.engine import Engine
    from imserver.service.upkeep.retention import Kept
    from imserver.tally import Histogram
    from imserver.transport.requests import Requests


class Metrics:
    """The text of `/metrics`."""

    def __init__(
        self,
        engine: Engine,
        requests: Requests,
        sizes: Callable[[], Mapping[str, int]],
        kept: Kept,
    ) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Parts(engine, requests, sizes, kept))
        ProcessCollector(registry=self._registry)

    def render(self, accept: str) -> tuple[bytes, str]:
        """All there is to say now, and its content type; `accept` is the header of that name."""
        encode, content_type = choose_encoder(accept)
        return encode(self._registry), content_type


class _Parts(Collector):
    """Asks each part for what it counted."""

    def __init__(
        self,
        engine: Engine,
        requests: Requests,
        sizes: Callable[[], Mapping[str, int]],
        kept: Kept,
    ) -> None:
        self._engine = engine
        self._requests = requests
        self._sizes = sizes
        self._kept = kept

    def describe(self) -> Iterable[Metric]:
        """See `Collector`: the names are not needed before somebody asks."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """See `Collector`."""
        yield _gauge("imserver_info", "The version that runs.", {(__version__,): 1}, "version")
        yield from self._sessions()
        yield from self._store()
        yield from self._answers()

    def _sessions(self) -> Iterator[Metric]:
        hub = self._engine.hub
        waiting = [session.outbox.size for session in hub.sessions() if session.outbox.size]
        ended = {(str(code.value),): count for code, count in hub.ended.items()}
        yield _gauge("imserver_sessions", "Open WebSockets, logged in or not.", hub.connections)
        yield _gauge("imserver_online_users", "Users with a WebSocket.", hub.online_users)
        yield _counter("imserver_sessions_opened", "WebSockets opened.", hub.opened)
        yield _counter(
            "imserver_sessions_ended",
            "WebSockets that the server ended, by close code.",
            ended,
            "code",
        )
        yield _counter(
            "imserver_outbox_overflows",
            "WebSockets ended because their client was too slow (close code 4008).",
            hub.ended[CloseCode.TOO_SLOW],
        )
        yield _gauge(
            "imserver_outboxes_waiting",
            "WebSockets whose client has not taken yet all that is for it.",
            len(waiting),
        )
        yield _gauge(
            "imserver_outbox_waiting_bytes", "Bytes that wait for such clients.", sum(waiting)
        )

    def _store(self) -> Iterator[Metric]:
        writer = self._engine.writer
        yield _counter(
            "imserver_messages_stored",
            "Messages stored, by type.",
            {(kind,): count for kind, count in writer.stored.items()},
            "type",
        )
        removals = self._engine.removals
        yield _counter(
            "imserver_messages_removed", "Messages removed by retention.", removals.messages
        )
        yield _counter(
            "imserver_messages_failed",
            "Of these, messages that nobody had got.",
            removals.failed,
        )
        yield _gauge(
            "imserver_retention_ended_seconds",
            "When retention was last through, as Unix time; 0 if it never was.",
            removals.ended_ms // 1000,
        )
        yield _gauge(
            "imserver_audit_entries",
            "Entries of the audit log, when retention was last through.",
            removals.audit_entries,
        )
        kept = self._kept
        yield _gauge(
            "imserver_retention_seconds",
            "How long is kept what is listed; 0: for ever.",
            {("messages",): kept.keep_ms // 1000, ("audit",): kept.audit_ms // 1000},
            "what",
        )
        yield _gauge(
            "imserver_retention_bytes",
            "How much the database may hold; 0: any amount.",
            kept.most_bytes,
        )
        yield _gauge("imserver_writes_queued", "Writes that wait for a batch.", writer.queued)
        yield _gauge(
            "imserver_reads_queued",
            "Reads that wait for a connection.",
            self._engine.reader.waiting,
        )
        yield _gauge(
            "imserver_store_failing",
            "1 while the store refuses writes or its file cannot be written, else 0.",
            int(writer.failing),
        )
        yield _histogram("imserver_batch_writes", "Writes in one transaction.", writer.batches)
        yield _histogram(
            "imserver_commit_seconds", "How long a commit took to be on disk.", writer.commits
        )
        yield _histogram(
            "imserver_write_seconds",
            "How long a write took at most, from its request to its answer.",
            writer.waits,
        )
        sizes = {(name,): size for name, size in self._sizes().items()}
        yield _gauge("imserver_store_bytes", "Sizes of the store's files.", sizes, "file")

    def _answers(self) -> Iterator[Metric]:
        yield _counter(
            "imserver_refusals",
            "Refusals, by code; `connection`: before there was a request.",
            self._engine.refusals.counts,
            "transport",
            "code",
        )
        statuses = {(str(code),): count for code, count in self._requests.answers.items()}
        yield _counter("imserver_rest_answers", "REST answers, by HTTP status.", statuses, "status")
        yield _histogram(
            "imserver_rest_seconds",
            "How long a REST request took, from its head to the end of its answer.",
            self._requests.seconds,
        )


_Values = int | Mapping[Any, int]  # by the labels' values, a tuple


def _gauge(name: str, text: str, values: _Values, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(name, text, labels=labels), values)


def _counter(name: str, text: str, values: _Values, *labels: str) -> Metric:
    return _filled(CounterMetricFamily(name, text, labels=labels), values)


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, values: _Values
) -> GaugeMetricFamily | CounterMetricFamily:
    for labels, value in ({(): values} if isinstance(values, int) else values).items():
        family.add_metric(labels, value)
    return family


def _histogram(name: str, text: str, histogram: Histogram) -> Metric:
    buckets = [
        ("+Inf" if bound == float("inf") else str(bound), count)
        for bound, count in histogram.buckets()
    ]
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=histogram.total)

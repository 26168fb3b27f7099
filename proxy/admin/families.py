"""The metrics, read from the rooms' own numbers when somebody asks."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from proxy import __version__
from proxy.admin.health import Health
from proxy.admin.metrics import Family
from proxy.admin.telemetry import Telemetry
from proxy.admin.tls_files import TlsWatch
from proxy.core.tables import BoundedTable


def families_of(telemetry: Telemetry, health: Health) -> Sequence[Family]:
    """All of the proxy's own; labels are closed sets."""
    tls = _tls(telemetry.tls) if telemetry.tls is not None else ()
    return (*_pulls(telemetry), *tls, *_holdings(telemetry), *_letting_go(telemetry), *_process(telemetry, health))


def _pulls(telemetry: Telemetry) -> Sequence[Family]:
    access_log, front, cache = telemetry.access_log, telemetry.front, telemetry.cache
    return (
        Family("requests", "counter", "Requests of clients.", ("upstream", "kind", "outcome"),
               access_log.requests),
        Family("responses", "counter", "Replies to clients by status class.", ("status",),
               access_log.statuses),
        Family("client_bytes", "counter", "Bytes of bodies sent to clients.", ("upstream", "outcome"),
               access_log.sent),
        Family("replies_cut", "counter", "Replies broken off: the client left, or the bytes were not good.", (),
               lambda: {(): access_log.cut}),
        Family("upstream_requests", "counter", "Requests to upstreams.", ("upstream", "kind", "status"),
               telemetry.registries.requests),
        Family("upstream_bytes", "counter", "Bytes of bodies received from upstreams.", ("upstream",),
               telemetry.registries.received),
        Family("upstream_offline", "gauge", "1 where an upstream is not asked, by configuration.", ("upstream",),
               lambda: {(name,): 1.0 for name in telemetry.registries.offline()}),
        Family("upstream_touches", "counter", "Manifests fetched to keep upstream's pull times honest.", (),
               lambda: {(): cache.touches.done}),
        Family("connections", "gauge", "Open client connections.", (), lambda: {(): len(front.connections)}),
        Family("connections_refused", "counter", "Connections refused: too many.", (),
               lambda: {(): front.refused}),
        Family("logins", "counter", "Logins that had to be proven, by result.", ("result",),
               lambda: {(result,): count for result, count in telemetry.logins.counts.items()}),
        Family("requests_malformed", "counter", "Requests that are not HTTP.", (),
               lambda: {(): front.malformed.count}),
    )  # fmt: skip


def _tls(watch: TlsWatch) -> Sequence[Family]:
    return (
        Family("tls_handshakes", "counter", "Handshakes with clients, by how they ended.", ("result",),
               lambda: {(result,): count for result, count in watch.tls.handshakes.items()}),
        Family("tls_files", "counter", "New files of TLS that were taken, or refused.", ("result",),
               lambda: {(result,): count for result, count in watch.counts.items()}),
        Family("tls_certificate_ends_seconds", "gauge", "When our certificate ends, since the epoch; 0: it has.", (),
               lambda: {(): watch.ends or 0.0}),
    )  # fmt: skip


def _holdings(telemetry: Telemetry) -> Sequence[Family]:
    cache, fills, scrub = telemetry.cache, telemetry.cache.fills, telemetry.cache.maintenance.scrub
    budget = cache.holdings.budget
    return (
        Family("cache_bytes", "gauge", "Bytes of the cache.", ("state",),
               lambda: {("committed",): budget.committed, ("reserved",): budget.reserved}),
        Family("cache_limit_bytes", "gauge", "The byte budget.", ("limit",),
               lambda: {("soft",): budget.limits.soft, ("hard",): budget.limits.hard}),
        Family("fills", "gauge", "Blobs that are arriving.", (), lambda: {(): len(fills)}),
        Family("fill_results", "counter", "How fills ended.", ("result",),
               lambda: {(key,): value for key, value in asdict(fills.stats).items()}),
        Family("upstream_cache_bytes", "gauge", "Bytes by the upstream they were first fetched from, or arrive from.",
               ("upstream",), lambda: _used_by(telemetry)),
        Family("scrubbed_bytes", "counter", "Bytes read again to see that they are good.", (),
               lambda: {(): scrub.stats.size}),
        Family("scrubbed_bad", "counter", "Contents found bad, and put into quarantine.", (),
               lambda: {(): scrub.stats.bad}),
        Family("table_bytes", "gauge", "Bytes of what is remembered of things that clients and upstreams name.",
               ("table",), lambda: {(name,): table.total for name, table in _tables(telemetry)}),
        Family("warm_images", "counter", "Images that were to be brought on schedule, by what became of them.",
               ("result",), lambda: {(result,): count for result, count in cache.warm_schedule.images.items()}),
        Family("warm_failing", "gauge", "Images that the last scheduled run could not bring.", (),
               lambda: {(): cache.warm_schedule.last.failed}),
        Family("immutable_tags_moved", "gauge", "Tags declared immutable that point elsewhere upstream.", (),
               lambda: {(): len(cache.manifests.tags.moved)}),
    )  # fmt: skip


def _letting_go(telemetry: Telemetry) -> Sequence[Family]:
    maintenance = telemetry.cache.maintenance
    gone, lifecycle = maintenance.retention.stats, maintenance.lifecycle
    return (
        Family("evictions", "counter", "Contents let go for space.", (), lambda: {(): gone.evicted}),
        Family("evicted_bytes", "counter", "Bytes let go for space.", (), lambda: {(): gone.evicted_bytes}),
        Family("lifecycle_runs", "counter", "Runs of the lifecycle policies.", ("result",),
               lambda: {(result,): count for result, count in lifecycle.runs.items()}),
        Family("lifecycle_images", "counter", "Images that policies chose, by what was to be done.", ("action",),
               lambda: {(action,): count for action, count in lifecycle.actions.items()}),
        Family("expired_images", "counter", "Images let go by policies.", (), lambda: {(): gone.expired}),
        Family("expired_bytes", "counter", "Bytes let go by policies.", (), lambda: {(): gone.expired_bytes}),
        Family("purged", "counter", "Contents let go by order.", (), lambda: {(): gone.purged}),
        Family("purged_bytes", "counter", "Bytes let go by order.", (), lambda: {(): gone.purged_bytes}),
        Family("pins", "gauge", "Patterns of content that is never let go.", (),
               lambda: {(): len(maintenance.retention.pins.list())}),
    )  # fmt: skip


def _process(telemetry: Telemetry, health: Health) -> Sequence[Family]:
    return (
        Family("reloads", "counter", "Reloads of policies and pins.", ("result",),
               lambda: {(result,): count for result, count in telemetry.reload.counts.items()}),
        Family("loop_lag_seconds", "gauge", "How late the event loop was in the last minute.", ("quantile",),
               telemetry.lag.quantiles),
        Family("log_lines_dropped", "counter", "Log lines that nobody took in time.", (),
               lambda: {(): telemetry.logs.dropped}),
        Family("build_info", "gauge", "The version.", ("version",), lambda: {(__version__,): 1}),
        Family("job_failures", "counter", "Failures of background jobs.", ("job",),
               lambda: {(name,): state.failures for name, state in telemetry.jobs.items()}),
        Family("degraded", "gauge", "1 while something is wrong that pulls go on without; status says what.", (),
               lambda: {(): 1.0 if health.degraded() else 0.0}),
        Family("catalog_recovered", "gauge", "How the catalog came up at the start.", ("how",),
               lambda: {(telemetry.recovered(),): 1.0}),
    )  # fmt: skip


def _tables(telemetry: Telemetry) -> list[tuple[str, BoundedTable[Any, Any]]]:
    return [*telemetry.cache.holdings.tables.made.items(), *telemetry.registries.tables.made.items()]


def _used_by(telemetry: Telemetry) -> dict[tuple[str, ...], float]:
    totals: dict[tuple[str, ...], float] = {}
    budget = telemetry.cache.holdings.budget
    for upstream in {*budget.committed_by, *budget.reserved_by}:
        label = (telemetry.registries.label(upstream),)
        totals[label] = totals.get(label, 0) + budget.used_by(upstream)
    return totals

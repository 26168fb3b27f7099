"""What an operator can see: the metrics and the status, read from the rooms' own numbers."""

from dataclasses import asdict
from typing import Any

from proxy import __version__
from proxy.cache.engine import Cache
from proxy.front.access_log import AccessLog
from proxy.front.connections import ClientConnections
from proxy.front.handler import Handler
from proxy.ops.lag import LoopLag
from proxy.ops.logs import LogWriter
from proxy.ops.metrics import Family
from proxy.registries import Registries


class Telemetry:
    """The rooms that are looked at; nothing is changed."""

    def __init__(
        self,
        cache: Cache,
        access_log: AccessLog,
        connections: ClientConnections,
        registries: Registries,
        logs: LogWriter,
        lag: LoopLag,
    ) -> None:
        self._cache = cache
        self._access_log = access_log
        self._connections = connections
        self._registries = registries
        self._logs = logs
        self._lag = lag

    def families(self) -> tuple[Family, ...]:
        cache, access_log, connections = self._cache, self._access_log, self._connections
        budget, fills, maintenance = cache.holdings.budget, cache.fills, cache.maintenance
        gone, lifecycle, scrub = maintenance.retention.stats, maintenance.lifecycle, maintenance.scrub
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
                   self._registries.requests),
            Family("upstream_bytes", "counter", "Bytes of bodies received from upstreams.", ("upstream",),
                   self._registries.received),
            Family("cache_bytes", "gauge", "Bytes of the cache.", ("state",),
                   lambda: {("committed",): budget.committed, ("reserved",): budget.reserved}),
            Family("cache_limit_bytes", "gauge", "The byte budget.", ("limit",),
                   lambda: {("soft",): budget.limits.soft, ("hard",): budget.limits.hard}),
            Family("fills", "gauge", "Blobs that are arriving.", (), lambda: {(): len(fills)}),
            Family("fill_results", "counter", "How fills ended.", ("result",),
                   lambda: {(key,): value for key, value in asdict(fills.stats).items()}),
            Family("evictions", "counter", "Contents let go for space.", (), lambda: {(): gone.evicted}),
            Family("evicted_bytes", "counter", "Bytes let go for space.", (), lambda: {(): gone.evicted_bytes}),
            Family("upstream_cache_bytes", "gauge", "Bytes of the cache by the upstream they were first fetched from.",
                   ("upstream",), self._used_by),
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
            Family("reloads", "counter", "Reloads of policies and pins.", ("result",),
                   lambda: {(result,): count for result, count in lifecycle.reloads.items()}),
            Family("scrubbed_bytes", "counter", "Bytes read again to see that they are good.", (),
                   lambda: {(): scrub.stats.size}),
            Family("scrubbed_bad", "counter", "Contents found bad, and put into quarantine.", (),
                   lambda: {(): scrub.stats.bad}),
            Family("immutable_tags_moved", "gauge", "Tags declared immutable that point elsewhere upstream.", (),
                   lambda: {(): len(cache.manifests.tags.moved)}),
            Family("upstream_touches", "counter", "Manifests fetched to keep upstream's pull times honest.", (),
                   lambda: {(): cache.touches.done}),
            Family("connections", "gauge", "Open client connections.", (), lambda: {(): connections.open}),
            Family("connections_refused", "counter", "Connections refused: too many.", (),
                   lambda: {(): connections.refused}),
            Family("requests_malformed", "counter", "Requests that are not HTTP.", (),
                   lambda: {(): connections.malformed}),
            Family("loop_lag_seconds", "gauge", "How late the event loop was in the last minute.", ("quantile",),
                   self._lag.quantiles),
            Family("log_lines_dropped", "counter", "Log lines that nobody took in time.", (),
                   lambda: {(): self._logs.dropped}),
            Family("build_info", "gauge", "The version.", ("version",), lambda: {(__version__,): 1}),
        )  # fmt: skip

    def _used_by(self) -> dict[tuple[str, ...], float]:
        totals: dict[tuple[str, ...], float] = {}
        for upstream, size in self._cache.holdings.budget.committed_by.items():
            label = (self._registries.label(upstream),)
            totals[label] = totals.get(label, 0) + size
        return totals

    def status(self, handler: Handler, uptime: float) -> dict[str, Any]:
        budget, maintenance = self._cache.holdings.budget, self._cache.maintenance
        return {
            "version": __version__,
            "uptime_seconds": round(uptime, 1),
            "cache": {
                "committed_bytes": budget.committed,
                "reserved_bytes": budget.reserved,
                "soft_limit_bytes": budget.limits.soft,
                "hard_limit_bytes": budget.limits.hard,
            },
            "fills": {"arriving": len(self._cache.fills), **asdict(self._cache.fills.stats)},
            "evicted_bytes": maintenance.retention.stats.evicted_bytes,
            "lifecycle": {
                **asdict(maintenance.lifecycle.last),
                "reloads_refused": maintenance.lifecycle.reloads["refused"],
            },
            "scrub": asdict(maintenance.scrub.stats),
            "pins": len(maintenance.retention.pins.list()),
            "connections": self._connections.open,
            "requests_active": handler.active,
            "outcomes": {outcome: count for (outcome,), count in self._access_log.outcomes().items()},
            "upstreams": self._registries.status(),
            "aws_tokens": self._registries.amazon.tokens(),
            "immutable_tags_moved": {
                f"{repository}:{tag}": str(there)
                for (repository, tag), there in self._cache.manifests.tags.moved.items()
            },
        }

"""Metrics of what is held: how it comes, what is let go, and what watches over it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from proxy.admin.families.declared import Declaration, Observed
from proxy.admin.telemetry import Telemetry
from proxy.cache.lifecycle import Lifecycle
from proxy.cache.retention import RetentionStats
from proxy.core.tables import BoundedTable

HOLDINGS: Sequence[Declaration] = (
    Declaration("cache_bytes", "gauge", "Bytes of the cache.", ("state",), lambda seen: _bytes(seen.telemetry)),
    Declaration("cache_limit_bytes", "gauge", "The byte budget.", ("limit",), lambda seen: _limits(seen.telemetry)),
    Declaration("upstream_cache_bytes", "gauge",
                "Bytes by the upstream they were first fetched from, or arrive from.", ("upstream",),
                lambda seen: {(name,): size for name, size in seen.telemetry.held_by_registry().items()}),
    Declaration("fills", "gauge", "Blobs that are arriving.", (), lambda seen: {(): len(seen.telemetry.cache.fills)}),
    Declaration("fills_waiting", "gauge", "Blobs that wait for a place to arrive in.", (),
                lambda seen: {(): seen.telemetry.cache.fills.waiting}),
    Declaration("fill_results", "counter", "How fills ended.", ("result",),
                lambda seen: {(key,): value for key, value in asdict(seen.telemetry.cache.fills.stats).items()}),
    Declaration("fill_seconds", "histogram", "How long fills took, by how they ended.", ("result",),
                lambda seen: {(key,): took for key, took in seen.telemetry.cache.fills.durations.items()}),
    Declaration("fill_size_bytes", "histogram", "Sizes of the blobs that fills brought and kept.", (),
                lambda seen: {(): seen.telemetry.cache.fills.sizes}),
    Declaration("evictions", "counter", "Contents let go for space, by the limit that wanted it.", ("cause",),
                lambda seen: {(cause.value,): count for cause, count in _gone(seen).evictions.items()}),
    Declaration("evicted_bytes", "counter", "Bytes let go for space, by the limit that wanted it.", ("cause",),
                lambda seen: {(cause.value,): size for cause, size in _gone(seen).evicted.items()}),
    Declaration("eviction_age_seconds", "histogram", "Time since the last use of what was let go for space.", (),
                lambda seen: {(): _gone(seen).eviction_ages}),
    Declaration("lifecycle_runs", "counter", "Runs of the lifecycle policies.", ("result",),
                lambda seen: {(result,): count for result, count in _lifecycle(seen).runs.items()}),
    Declaration("lifecycle_images", "counter", "Images that policies chose, by what was to be done.", ("action",),
                lambda seen: {(action,): count for action, count in _lifecycle(seen).actions.items()}),
    Declaration("expired_images", "counter", "Images let go by policies.", (),
                lambda seen: {(): _gone(seen).expired}),
    Declaration("expired_bytes", "counter", "Bytes let go by policies.", (),
                lambda seen: {(): _gone(seen).expired_bytes}),
    Declaration("purged", "counter", "Contents let go by order.", (), lambda seen: {(): _gone(seen).purged}),
    Declaration("purged_bytes", "counter", "Bytes let go by order.", (), lambda seen: {(): _gone(seen).purged_bytes}),
    Declaration("pins", "gauge", "Patterns of content that is never let go.", (),
                lambda seen: {(): len(seen.telemetry.cache.maintenance.retention.pins.list())}),
    Declaration("scrubbed_bytes", "counter", "Bytes read again to see that they are good.", (),
                lambda seen: {(): seen.telemetry.cache.maintenance.scrub.stats.size}),
    Declaration("scrubbed_bad", "counter", "Contents found bad, and put into quarantine.", (),
                lambda seen: {(): seen.telemetry.cache.maintenance.scrub.stats.bad}),
    Declaration("warm_images", "counter", "Images that were to be brought on schedule, by what became of them.",
                ("result",),
                lambda seen: {(key,): count for key, count in seen.telemetry.cache.warm_schedule.images.items()}),
    Declaration("warm_failing", "gauge", "Images that the last scheduled run could not bring.", (),
                lambda seen: {(): seen.telemetry.cache.warm_schedule.last.failed}),
    Declaration("immutable_tags_moved", "gauge", "Tags declared immutable that point elsewhere upstream.", (),
                lambda seen: {(): len(seen.telemetry.cache.manifests.tags.moved)}),
    Declaration("table_bytes", "gauge", "Bytes of what is remembered of things that clients and upstreams name.",
                ("table",), lambda seen: {(name,): table.total for name, table in _tables(seen.telemetry)}),
)  # fmt: skip


def _gone(seen: Observed) -> RetentionStats:
    return seen.telemetry.cache.maintenance.retention.stats


def _lifecycle(seen: Observed) -> Lifecycle:
    return seen.telemetry.cache.maintenance.lifecycle


def _bytes(telemetry: Telemetry) -> Mapping[tuple[str, ...], float]:
    budget = telemetry.cache.holdings.budget
    return {("committed",): budget.committed, ("reserved",): budget.reserved}


def _limits(telemetry: Telemetry) -> Mapping[tuple[str, ...], float]:
    limits = telemetry.cache.holdings.budget.limits
    return {("soft",): limits.soft, ("hard",): limits.hard}


def _tables(telemetry: Telemetry) -> list[tuple[str, BoundedTable[Any, Any]]]:
    return [*telemetry.cache.holdings.tables.made.items(), *telemetry.registries.tables.made.items()]

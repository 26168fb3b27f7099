"""The status, read from the rooms' own numbers; nothing is changed."""

from collections.abc import Mapping
from dataclasses import asdict

from proxy import __version__
from proxy.admin.health import Health
from proxy.admin.report import (
    CacheReport,
    CatalogReport,
    ImportReport,
    JobReport,
    LifecycleReport,
    ScrubReport,
    Status,
    TlsReport,
    TokenReport,
    UpstreamReport,
    WarmReport,
)
from proxy.admin.telemetry import Telemetry
from proxy.admin.tls_files import TlsWatch
from proxy.cache.warm_schedule import WarmSchedule
from proxy.tasks.jobs import JobState


def status_of(telemetry: Telemetry, health: Health) -> Status:
    """As of now. Never waits."""
    cache, maintenance = telemetry.cache, telemetry.cache.maintenance
    scrub = maintenance.scrub.stats
    return Status(
        version=__version__,
        uptime_seconds=round(telemetry.uptime(), 1),
        state=health.stage.value,
        degraded=health.degraded(),
        cache=_cache(telemetry),
        catalog=CatalogReport(recovered=telemetry.recovered()),
        jobs=_jobs(telemetry.jobs),
        fills={"arriving": len(cache.fills), **asdict(cache.fills.stats)},
        evicted_bytes=maintenance.retention.stats.evicted_bytes,
        lifecycle=LifecycleReport(
            **asdict(maintenance.lifecycle.last), reloads_refused=telemetry.reload.counts["refused"]
        ),
        scrub=ScrubReport(contents=scrub.contents, size=scrub.size, bad=scrub.bad),
        imports=ImportReport(**cache.imports.count._asdict()),
        warm=_warm(cache.warm_schedule),
        pins=len(maintenance.retention.pins.list()),
        connections=len(telemetry.front.connections),
        requests_active=telemetry.requests_active(),
        outcomes={outcome: count for (outcome,), count in telemetry.access_log.outcomes().items()},
        upstreams={name: UpstreamReport(**each) for name, each in telemetry.registries.status().items()},
        aws_tokens={name: TokenReport(**each) for name, each in telemetry.registries.amazon.tokens().items()},
        immutable_tags_moved={
            f"{repository}:{tag}": str(there) for (repository, tag), there in cache.manifests.tags.moved.items()
        },
        reload=telemetry.reload.last,
        tls=_tls(telemetry.tls) if telemetry.tls is not None else None,
    )


def _tls(watch: TlsWatch) -> TlsReport:
    return TlsReport(
        certificate_ends_at=watch.ends,
        handshakes=dict(watch.tls.handshakes),
        files_refused=watch.counts["refused"],
    )


def _cache(telemetry: Telemetry) -> CacheReport:
    budget = telemetry.cache.holdings.budget
    return CacheReport(
        committed_bytes=budget.committed,
        reserved_bytes=budget.reserved,
        soft_limit_bytes=budget.limits.soft,
        hard_limit_bytes=budget.limits.hard,
        quarantine_bytes=budget.beside.get("quarantine", 0),
        catalog_bytes=budget.beside.get("catalog", 0),
    )


def _warm(schedule: WarmSchedule) -> WarmReport:
    return WarmReport(**asdict(schedule.last), due_at=schedule.due_at, running=schedule.under_way is not None)


def _jobs(states: Mapping[str, JobState]) -> dict[str, JobReport]:
    return {
        name: JobReport(failures=state.failures, in_a_row=state.in_a_row, trouble=state.trouble)
        for name, state in states.items()
    }

"""The status of a running proxy: what the admin listener tells at ``/api/v1/status``, and commands and pages show.

Sizes are bytes, times seconds, counts since the start. A report of another version may lack what is newer.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from proxy.admin.messages import ReloadResult

_FROM_HELD = ("hit", "stale", "offline", "revalidated")  # outcomes that needed no content of upstream
_FETCHED = ("miss", "collapsed", "bypass")


class Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class CacheReport(Part):
    committed_bytes: int
    reserved_bytes: int
    soft_limit_bytes: int
    hard_limit_bytes: int
    quarantine_bytes: int = 0
    catalog_bytes: int = 0  # with its copy and what was put aside


class CatalogReport(Part):
    recovered: str = "intact"  # how it came up: ``intact``, from its copy, or empty


class JobReport(Part):
    failures: int
    in_a_row: int
    trouble: str  # the last failure in words, empty once it works again


class LifecycleReport(Part):
    began_at: float | None = None  # of the last run, since the epoch; None where there was none yet
    seconds: float = 0.0
    repositories: int = 0
    images: int = 0
    expired: int = 0
    freed_bytes: int = 0
    reloads_refused: int = 0


class ScrubReport(Part):
    contents: int
    size: int
    bad: int


class ImportReport(Part):
    """Since the cache was made."""

    images: int = 0  # ordered by imports, ever
    last_at: float | None = None


class WarmReport(Part):
    """Of the images that the configuration brings on schedule: the last run, of whose failures the first are told in
    words, and the next."""

    began_at: float | None = None  # since the epoch; None where there was none yet
    seconds: float = 0.0
    images: int = 0
    failed: int = 0
    fetched_bytes: int = 0
    failures: tuple[str, ...] = ()
    due_at: float | None = None  # None where none is due
    running: bool = False


class UpstreamReport(Part):
    requests: int
    bytes: int
    rate_limit: int | None = None  # as upstream last said
    rate_limit_remaining: int | None = None
    last_fault: str = ""  # in words; empty where there was none
    last_fault_seconds_ago: float | None = None
    closed_off: int = 0  # hosts and things that are not asked now, because they did not answer
    offline: bool = False  # it is not asked, by configuration


class TlsReport(Part):
    """Of the pull listener; counts since the start."""

    certificate_ends_at: float | None  # seconds since the epoch; None where that is past
    handshakes: dict[str, int]  # full, resumed, failed
    files_refused: int  # new ones that did not fit


class TokenReport(Part):
    calls: int
    failures: int
    expires_in: float | None = None
    trouble: str = ""


class Status(Part):
    """``degraded`` is what is wrong, by what it concerns; empty when all is well. ``fills`` and ``outcomes`` are counts
    by result; ``immutable_tags_moved`` where each now points upstream."""

    version: str
    uptime_seconds: float
    state: Literal["starting", "ready", "stopping"] = "ready"
    degraded: dict[str, str] = {}
    cache: CacheReport
    catalog: CatalogReport = CatalogReport()
    jobs: dict[str, JobReport] = {}
    fills: dict[str, int]
    evicted_bytes: int
    lifecycle: LifecycleReport
    scrub: ScrubReport
    imports: ImportReport = ImportReport()
    warm: WarmReport = WarmReport()
    pins: int
    connections: int
    requests_active: int
    outcomes: dict[str, int]
    upstreams: dict[str, UpstreamReport]
    aws_tokens: dict[str, TokenReport]
    immutable_tags_moved: dict[str, str]
    reload: ReloadResult | None = None
    tls: TlsReport | None = None  # None where the listener is plain

    @property
    def condition(self) -> str:
        """``state`` in one word for people: ``degraded`` where it is ready and something is wrong."""
        return "degraded" if self.degraded and self.state == "ready" else self.state

    @property
    def hit_ratio(self) -> float | None:
        """What part of the content that was asked for was held; None where none was asked for."""
        held, fetched = (sum(self.outcomes.get(each, 0) for each in those) for those in (_FROM_HELD, _FETCHED))
        return held / (held + fetched) if held + fetched else None

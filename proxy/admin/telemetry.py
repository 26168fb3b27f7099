"""The rooms that are looked at: their numbers become metrics and status."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from proxy.admin.reload import Reload
from proxy.admin.tls_files import TlsWatch
from proxy.cache.engine import Cache
from proxy.front.access_log import AccessLog
from proxy.front.connection import Front
from proxy.login.logins import Logins
from proxy.logs import LogWriter
from proxy.registries import Registries
from proxy.tasks.jobs import JobState
from proxy.tasks.lag import LoopLag


@dataclass(frozen=True)
class Telemetry:
    """``recovered``: how the catalog came up. ``uptime`` is in seconds; ``requests_active`` counts clients' requests
    under way; ``tls`` is None where the listener is plain."""

    cache: Cache
    access_log: AccessLog
    front: Front
    registries: Registries
    logs: LogWriter[Any]
    lag: LoopLag
    jobs: Mapping[str, JobState]
    reload: Reload
    recovered: Callable[[], str]
    uptime: Callable[[], float]
    requests_active: Callable[[], int]
    logins: Logins
    tls: TlsWatch | None = None

    def held_by_registry(self) -> dict[str, int]:
        """Bytes that are held or arrive, by the key of the configuration through which they first came; empty of what
        is not configured any more."""
        totals: dict[str, int] = {}
        budget = self.cache.holdings.budget
        for upstream in {*budget.committed_by, *budget.reserved_by}:
            label = self.registries.label(upstream)
            totals[label] = totals.get(label, 0) + budget.used_by(upstream)
        return totals

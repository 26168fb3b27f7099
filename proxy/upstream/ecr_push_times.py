"""When Amazon ECR's images were pushed, for lifecycle rules: worth having, and nothing waits long for it."""

import logging
from collections.abc import Callable, Mapping

from proxy.core.errors import RateLimited, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from proxy.core.names import Repository
from proxy.upstream.ecr_aws import Aws
from proxy.upstream.ecr_faults import AwsFault

log = logging.getLogger("entrepot.lifecycle")

_OUT = 60.0  # seconds in which an API that was out is not asked again
_WARNED = 86_400.0  # seconds in which a warning is not repeated


class PushTimes:
    """``now`` is monotonic."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._out_until: dict[str, float] = {}  # by upstream
        self._warned_until: dict[tuple[str, type[UpstreamFault]], float] = {}

    async def of(self, repository: Repository, aws: Aws, account: str) -> Mapping[str, float]:
        """Seconds since the epoch by digest; empty where they are not to be had."""
        if self._now() < self._out_until.get(repository.upstream, 0.0):
            return {}
        try:
            return await aws.push_times(account, repository.name)
        except AwsFault as fault:
            self._fall_back(repository, fault)
            return {}

    def _fall_back(self, repository: Repository, fault: AwsFault) -> None:
        """A warning per upstream and cause, and no further call for a while where the API itself is out."""
        now, upstream = self._now(), repository.upstream
        if issubclass(fault.kind, RateLimited | UpstreamTimeout | UpstreamUnreachable):
            self._out_until[upstream] = now + _OUT
        known = now < self._warned_until.get((upstream, fault.kind), 0.0)
        if not known:
            self._warned_until[upstream, fault.kind] = now + _WARNED
        log.log(
            logging.DEBUG if known else logging.WARNING,
            "%s: ecr:DescribeImages failed, lifecycle rules count from when images were cached: %s",
            repository,
            fault.why,
        )

"""What ECR itself knows of a private repository, and pulls do not tell: which tags cannot move, and when images were
pushed.

Both are worth having, and no pull waits for them. Where the rights are missing they stay unknown.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from cachetools import TTLCache

from proxy.core.ecr_tags import TagMutability, is_immutable
from proxy.core.errors import RateLimited, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from proxy.core.names import Repository, Tag
from proxy.tasks.flights import Flights
from proxy.tasks.jobs import Jobs
from proxy.upstream.ecr_aws import Aws
from proxy.upstream.ecr_faults import AwsFault

log = logging.getLogger(__name__)
lifecycle = logging.getLogger("entrepot.lifecycle")

KEPT = 3600.0  # seconds an answer holds, a refusal too
LARGEST = 10_000  # repositories remembered
AT_ONCE = 4  # lookups in the air; further ones wait for a later pull
_OUT = 60.0  # seconds in which an API that was out is not asked again for push times
_WARNED = 86_400.0  # seconds in which a warning is not repeated

Describe = Callable[[str, str], Awaitable[dict[str, Any]]]


class EcrRepositories:
    """Tags that cannot move, which need no revalidation. A repository that is not known yet is looked up in the
    background, and counts as unknown until then.

    ``describe`` is ``Aws.describe_repository``: account and name to what DescribeRepositories says of it.
    """

    def __init__(self, describe: Describe, jobs: Jobs, now: Callable[[], float] = time.monotonic) -> None:
        self._jobs = jobs
        self._describe = describe
        self._known: TTLCache[tuple[str, str], TagMutability | None] = TTLCache(LARGEST, KEPT, now)
        self._lookups: Flights[tuple[str, str], None] = Flights(jobs.group)

    def immutable(self, account: str, name: str, tag: Tag) -> bool | None:
        """Whether the tag cannot be overwritten; None while that is unknown."""
        repository = (account, name)
        if repository not in self._known:
            self._look_up(repository)
            return None
        mutability = self._known[repository]
        return None if mutability is None else is_immutable(mutability, tag)

    def _look_up(self, repository: tuple[str, str]) -> None:
        if len(self._lookups) < AT_ONCE:
            learn = partial(self._learn, repository)
            self._lookups.launch(repository, lambda: self._jobs.once("tag mutability", learn))

    async def _learn(self, repository: tuple[str, str]) -> None:
        try:
            answer = await self._describe(*repository)
        except AwsFault as fault:
            log.info("tag mutability of %s stays unknown: %s", repository[1], fault.why)
            self._known[repository] = None
        else:
            self._known[repository] = _mutability(answer)


def _mutability(answer: dict[str, Any]) -> TagMutability:
    filters = answer.get("imageTagMutabilityExclusionFilters") or []
    return TagMutability(
        str(answer.get("imageTagMutability", "")),
        tuple(str(each.get("filter", "")) for each in filters if each.get("filterType") == "WILDCARD"),
    )


class PushTimes:
    """When images were pushed, for lifecycle rules. ``now`` is monotonic."""

    def __init__(self, jobs: Jobs, now: Callable[[], float]) -> None:
        self._now = now
        self._asked: Flights[Repository, Mapping[str, float]] = Flights(jobs.group)
        self._out_until: dict[str, float] = {}  # by upstream
        self._warned_until: dict[tuple[str, type[UpstreamFault]], float] = {}

    async def of(self, repository: Repository, aws: Aws, account: str) -> Mapping[str, float]:
        """Seconds since the epoch by digest; empty where they are not to be had."""
        if self._now() < self._out_until.get(repository.upstream, 0.0):
            return {}
        return await self._asked.join(repository, partial(self._ask, repository, aws, account))

    async def _ask(self, repository: Repository, aws: Aws, account: str) -> Mapping[str, float]:
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
        lifecycle.log(
            logging.DEBUG if known else logging.WARNING,
            "%s: ecr:DescribeImages failed, lifecycle rules count from when images were cached: %s",
            repository,
            fault.why,
        )

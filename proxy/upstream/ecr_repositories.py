"""What ECR itself knows of a private repository, and pulls do not tell: which tags cannot move, and when images were
pushed.

Both are worth having, and no pull waits for them. Where the rights are missing they stay unknown.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from proxy.core.ecr_tags import TagMutability, is_immutable
from proxy.core.errors import RateLimited, UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from proxy.core.names import Repository, Tag
from proxy.core.tables import BoundedTable, Tables, of_upstream
from proxy.tasks.flights import Flights
from proxy.tasks.jobs import Jobs
from proxy.upstream.ecr_aws import Aws
from proxy.upstream.ecr_faults import AwsFault

log = logging.getLogger(__name__)
lifecycle = logging.getLogger("entrepot.lifecycle")

KEPT = 3600.0  # seconds an answer holds, a refusal too
LARGEST = 4 << 20  # bytes of what is remembered of repositories
CAUSES = 256 << 10  # bytes of what is remembered of APIs that were out
AT_ONCE = 4  # lookups in the air; further ones wait for a later pull
_OUT = 60.0  # seconds in which an API that was out is not asked again for push times
_WARNED = 86_400.0  # seconds in which a warning is not repeated

_UNKNOWN = TagMutability("", ())  # it was not asked for yet

Describe = Callable[[str, str], Awaitable[dict[str, Any]]]


class EcrRepositories:
    """Tags that cannot move, which need no revalidation. A repository that is not known yet is looked up in the
    background, and counts as unknown until then.

    ``describe`` is ``Aws.describe_repository``: account and name to what DescribeRepositories says of it. ``scope``
    tells apart whom it asks.
    """

    def __init__(self, describe: Describe, jobs: Jobs, tables: Tables, scope: str = "") -> None:
        self._scope = scope
        self._jobs = jobs
        self._describe = describe
        self._known: BoundedTable[tuple[str, str, str], TagMutability | None] = tables.table(
            "tag mutability", LARGEST, KEPT
        )
        self._lookups: Flights[tuple[str, str], None] = Flights(jobs.group)

    def immutable(self, account: str, name: str, tag: Tag) -> bool | None:
        """Whether the tag cannot be overwritten; None while that is unknown."""
        repository = (account, name)
        mutability = self._known.get((self._scope, *repository), _UNKNOWN)
        if mutability is _UNKNOWN:
            self._look_up(repository)
        return None if mutability is None or mutability is _UNKNOWN else is_immutable(mutability, tag)

    def _look_up(self, repository: tuple[str, str]) -> None:
        if len(self._lookups) < AT_ONCE:
            learn = partial(self._learn, repository)
            self._lookups.launch(repository, lambda: self._jobs.once("tag mutability", learn))

    async def _learn(self, repository: tuple[str, str]) -> None:
        try:
            answer = await self._describe(*repository)
        except AwsFault as fault:
            log.info("tag mutability of %s stays unknown: %s", repository[1], fault.why)
            self._known.put((self._scope, *repository), None)
        else:
            self._known.put((self._scope, *repository), _mutability(answer))


def _mutability(answer: dict[str, Any]) -> TagMutability:
    filters = answer.get("imageTagMutabilityExclusionFilters") or []
    return TagMutability(
        str(answer.get("imageTagMutability", "")),
        tuple(str(each.get("filter", "")) for each in filters if each.get("filterType") == "WILDCARD"),
    )


class PushTimes:
    """When images were pushed, for lifecycle rules."""

    def __init__(self, jobs: Jobs, tables: Tables) -> None:
        self._asked: Flights[Repository, Mapping[str, float]] = Flights(jobs.group)
        self._out: BoundedTable[tuple[str], bool] = tables.table("AWS APIs that are out", CAUSES, _OUT, of_upstream)
        self._warned: BoundedTable[tuple[str, type[UpstreamFault]], bool] = tables.table(
            "warnings of AWS APIs", CAUSES, _WARNED, of_upstream
        )

    async def of(self, repository: Repository, aws: Aws, account: str) -> Mapping[str, float]:
        """Seconds since the epoch by digest; empty where they are not to be had."""
        if (repository.upstream,) in self._out:
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
        upstream = repository.upstream
        if issubclass(fault.kind, RateLimited | UpstreamTimeout | UpstreamUnreachable):
            self._out.put((upstream,), True)
        known = (upstream, fault.kind) in self._warned
        if not known:
            self._warned.put((upstream, fault.kind), True)
        lifecycle.log(
            logging.DEBUG if known else logging.WARNING,
            "%s: ecr:DescribeImages failed, lifecycle rules count from when images were cached: %s",
            repository,
            fault.why,
        )

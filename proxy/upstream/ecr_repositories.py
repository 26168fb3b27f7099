"""Which tags of private ECR repositories cannot move, as ECR itself says; such tags need no revalidation.

Asking is never waited for: a repository that is not known yet is looked up in the background, and counts as unknown
until then, as it does where ``ecr:DescribeRepositories`` is not allowed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from cachetools import TTLCache

from proxy.core.ecr_tags import TagMutability, is_immutable
from proxy.core.names import Tag
from proxy.upstream.ecr_faults import AwsFault

log = logging.getLogger(__name__)

KEPT = 3600.0  # seconds an answer holds, a refusal too
LARGEST = 10_000  # repositories remembered
AT_ONCE = 4  # lookups in the air; further ones wait for a later pull

Describe = Callable[[str, str], Awaitable[dict[str, Any]]]


class EcrRepositories:
    """``describe`` is ``Aws.describe_repository``: account and name to what DescribeRepositories says of it."""

    def __init__(self, describe: Describe, now: Callable[[], float] = time.monotonic) -> None:
        self._describe = describe
        self._known: TTLCache[tuple[str, str], TagMutability | None] = TTLCache(LARGEST, KEPT, now)
        self._lookups: dict[tuple[str, str], asyncio.Task[None]] = {}

    def immutable(self, account: str, name: str, tag: Tag) -> bool | None:
        """Whether the tag cannot be overwritten; None while that is unknown."""
        repository = (account, name)
        if repository not in self._known:
            self._look_up(repository)
            return None
        mutability = self._known[repository]
        return None if mutability is None else is_immutable(mutability, tag)

    async def close(self) -> None:
        lookups = list(self._lookups.values())
        for lookup in lookups:
            lookup.cancel()
        await asyncio.gather(*lookups, return_exceptions=True)

    def _look_up(self, repository: tuple[str, str]) -> None:
        if repository in self._lookups or len(self._lookups) >= AT_ONCE:
            return
        lookup = asyncio.create_task(self._learn(repository), name="ecr-repository")
        self._lookups[repository] = lookup
        lookup.add_done_callback(lambda _: self._lookups.pop(repository))

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

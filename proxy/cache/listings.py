"""Lists: tags and referrers as upstream has them, the catalog as we hold it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlencode

from cachetools import LRUCache

from proxy.cache.answers import Outcome
from proxy.cache.holdings import Holdings
from proxy.core.errors import Outage, ReferrersUnsupported
from proxy.core.freshness import Standing, TagRules, age, standing
from proxy.core.names import Digest, Repository
from proxy.core.paging import AFTER, LARGEST_PAGE, Page, cut, without
from proxy.tasks.flights import Flights
from proxy.upstream.contract import ReferrersPage, Registry, TagsPage

_REFERRERS_BYTES = 16 << 20
_CATALOG_PAGE = 100

ReferrersKey = tuple[Repository, Digest, str]


@dataclass(frozen=True, slots=True)
class _Kept:
    page: ReferrersPage | None  # None: upstream has no referrers API
    checked_at: float


@dataclass(frozen=True, slots=True)
class ReferrersAnswer:
    page: ReferrersPage
    outcome: Outcome
    age: float | None = None


class Listings:
    """``registry(upstream)`` gives the registry of a configured upstream."""

    def __init__(
        self,
        holdings: Holdings,
        registry: Callable[[str], Registry],
        rules: TagRules,
        group: asyncio.TaskGroup,
        now: Callable[[], float],
    ) -> None:
        self._holdings = holdings
        self._registry = registry
        self._rules = rules
        self._now = now
        self._tags: Flights[tuple[Repository, str], TagsPage] = Flights(group)
        self._asking: Flights[ReferrersKey, _Kept] = Flights(group)
        self._referrers: LRUCache[ReferrersKey, _Kept] = LRUCache(
            _REFERRERS_BYTES, getsizeof=lambda kept: 256 + (len(kept.page.raw) if kept.page else 0)
        )

    async def tags(self, repository: Repository, limit: int | None, query: str) -> Page:
        """At most ``limit``. ``query`` is the client's, encoded. Raises NameUnknown, and upstream's faults."""
        if limit == 0:
            return Page((), None)
        registry = self._registry(repository.upstream)
        asked = without(query, AFTER)
        page = await self._tags.join((repository, asked), lambda: registry.tags(repository.name, asked))
        return cut(page.tags, limit, query, page.next_query)

    async def referrers(self, repository: Repository, digest: Digest, query: str) -> ReferrersAnswer:
        """Raises ReferrersUnsupported, and upstream's faults."""
        key = (repository, digest, query)
        kept = self._referrers.get(key)
        fresh = kept is not None and standing(self._rules, kept.checked_at, self._now()) is Standing.FRESH
        if kept is not None and fresh:
            return _answer(kept, Outcome.HIT)
        try:
            return _answer(await self._asking.join(key, lambda: self._ask(key)), Outcome.MISS)
        except Outage:
            if kept is None or standing(self._rules, kept.checked_at, self._now()) is Standing.DEAD:
                raise
            return _answer(kept, Outcome.STALE, age(kept.checked_at, self._now()))

    async def catalog(self, limit: int | None, last: str | None) -> Page:
        """Repositories of which a manifest is held, as ``upstream/name``."""
        size = _CATALOG_PAGE if limit is None else min(limit, LARGEST_PAGE)
        if size == 0:
            return Page((), None)
        upstream, _, name = (last or "").partition("/")
        after = (upstream, name) if last else None
        memberships = self._holdings.catalog.memberships
        found = [str(repository) for repository in await memberships.repositories(after, size + 1)]
        onward = urlencode({"n": size, "last": found[size - 1]}) if len(found) > size else None
        return Page(found[:size], onward)

    async def _ask(self, key: ReferrersKey) -> _Kept:
        repository, digest, query = key
        try:
            page = await self._registry(repository.upstream).referrers(repository.name, digest, query)
        except ReferrersUnsupported:
            page = None
        kept = _Kept(page, self._now())
        self._referrers[key] = kept
        return kept


def _answer(kept: _Kept, outcome: Outcome, stale_for: float | None = None) -> ReferrersAnswer:
    if kept.page is None:
        raise ReferrersUnsupported("upstream has no referrers API")
    return ReferrersAnswer(kept.page, outcome, stale_for)

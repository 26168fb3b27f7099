"""Lists: tags and referrers as upstream has them, or as we hold them while it is away; the catalog as we hold it."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qs, urlencode

from proxy.cache.answers import Outcome, outcome_of
from proxy.cache.holdings import Holdings, readable
from proxy.cache.standings import Standings
from proxy.core.errors import Outage, ReferrersUnsupported, UpstreamOffline
from proxy.core.freshness import Standing, TagRules, age, asked_at, standing
from proxy.core.names import Digest, Repository
from proxy.core.paging import LARGEST_PAGE, Page, cut, first_page, place_of, to_upstream
from proxy.core.referrers import Referrer, fallback_tag, referrers_index
from proxy.core.tables import BoundedTable, of_repository
from proxy.tasks.flights import Flights
from proxy.tasks.hops import SCOPE
from proxy.upstream.contract import ReferrersPage, Registry, TagsPage

log = logging.getLogger("entrepot.listings")

_REFERRERS_BYTES = 16 << 20
_CATALOG_PAGE = 100
_AWAY = "served stale: upstream does not answer"
_FROM_HELD = f"{_AWAY}, and what is held here is listed"

ReferrersKey = tuple[Repository, Digest, str, bytes]


@dataclass(frozen=True, slots=True)
class _Kept:
    page: ReferrersPage | None  # None: upstream has no referrers API
    checked_at: float


@dataclass(frozen=True, slots=True)
class ReferrersAnswer:
    page: ReferrersPage
    outcome: Outcome
    age: float | None = None  # seconds since upstream was asked; of stale answers, where that is known
    warning: str = ""  # why it is stale


class TagsAnswer(NamedTuple):
    page: Page
    outcome: Outcome
    warning: str = ""  # why it is stale


class Listings:
    """``registry(upstream)`` gives the registry of a configured upstream. While upstream is away its lists are those of
    what is held, if that is anything: an empty list would say what nobody knows."""

    def __init__(
        self,
        holdings: Holdings,
        standings: Standings,
        registry: Callable[[str], Registry],
        rules: TagRules,
        group: asyncio.TaskGroup,
        now: Callable[[], float],
    ) -> None:
        self._holdings = holdings
        self._standings = standings
        self._registry = registry
        self._rules = rules
        self._now = now
        self._tags: Flights[tuple[Repository, str, bytes], TagsPage] = Flights(group)
        self._asking: Flights[ReferrersKey, _Kept] = Flights(group)
        self._referrers: BoundedTable[ReferrersKey, _Kept] = holdings.tables.table(
            "referrers", _REFERRERS_BYTES, None, of_repository
        )

    async def tags(self, repository: Repository, limit: int | None, query: str) -> TagsAnswer:
        """At most ``limit``. ``query`` is the client's, encoded. Raises NameUnknown, and upstream's faults."""
        if limit == 0:
            return TagsAnswer(Page((), None), Outcome.BYPASS)
        registry = self._registry(repository.upstream)
        asked = to_upstream(query)
        try:
            key = repository, asked, SCOPE.get()
            page = await self._tags.join(key, lambda: registry.tags(repository.name, asked))
        except Outage as cause:
            held = await readable(self._held_tags(repository, limit or LARGEST_PAGE, place_of(query)))
            if held is None or await self._standings.is_suspended(repository):
                raise
            if isinstance(cause, UpstreamOffline):
                return TagsAnswer(held, Outcome.OFFLINE)
            log.warning("the tags of %s are listed from what is held: %s", repository, cause)
            return TagsAnswer(held, Outcome.STALE, _FROM_HELD)
        part = await self._holdings.turns.run(cut(page.tags, limit, query, page.next_query))
        told = page.second_hand
        return TagsAnswer(part, Outcome.BYPASS) if told is None else TagsAnswer(part, outcome_of(told), told.warning)

    async def referrers(self, repository: Repository, digest: Digest, query: str) -> ReferrersAnswer:
        """Raises ReferrersUnsupported, and upstream's faults."""
        key = (repository, digest, query, SCOPE.get())
        kept = self._referrers.get(key)
        fresh = kept is not None and standing(self._rules, kept.checked_at, self._now()) is Standing.FRESH
        if kept is not None and fresh:
            return _answer(kept, Outcome.HIT)
        try:
            return _answer(await self._asking.join(key, lambda: self._ask(key)), Outcome.MISS)
        except Outage as cause:
            if await self._standings.is_suspended(repository):
                raise
            if kept is not None and standing(self._rules, kept.checked_at, self._now()) is not Standing.DEAD:
                return _answer(kept, Outcome.STALE, age(kept.checked_at, self._now()), _AWAY)
            held = await readable(self._held_referrers(repository, digest, query))
            if held is None:
                raise
            if isinstance(cause, UpstreamOffline):
                return ReferrersAnswer(held, Outcome.OFFLINE)
            return ReferrersAnswer(held, Outcome.STALE, None, _FROM_HELD)

    async def catalog(self, limit: int | None, last: str | None, shown: Callable[[Repository], bool]) -> Page:
        """Repositories of which a manifest is held, as ``upstream/name``, of those that are to be ``shown``."""
        size = _CATALOG_PAGE if limit is None else min(limit, LARGEST_PAGE)
        if size == 0:
            return Page((), None)
        upstream, _, name = (last or "").partition("/")
        after = (upstream, name) if last else None
        found: list[Repository] = []
        step = size + 1
        while len(found) <= size:
            behind = await self._holdings.catalog.memberships.repositories(after, step)
            found += filter(shown, behind)
            if len(behind) < step:
                break
            after, step = behind[-1], LARGEST_PAGE
        return first_page([str(repository) for repository in found[: size + 1]], size)

    async def _held_tags(self, repository: Repository, limit: int, last: str | None) -> Page | None:
        """None where no tag is held at all, and where nobody but upstream knows the place ``last``."""
        if last is None:
            return None
        held = self._holdings.catalog.tags
        found = await held.list(repository, last, limit + 1)
        return first_page(found, limit) if found or await held.list(repository, "", 1) else None

    async def _held_referrers(self, repository: Repository, subject: Digest, query: str) -> ReferrersPage | None:
        """None where nothing about the subject is held. Raises ReferrersUnsupported where clients find what is held
        under the fallback tag."""
        catalog = self._holdings.catalog
        asked = {key: values[0] for key, values in parse_qs(query).items()}
        found = []
        for held in await catalog.memberships.referrers(repository, subject):
            raw = await self._holdings.read(held.content) if held.content.digest > asked.get("last", "") else None
            if raw is not None:
                found.append(Referrer(held.content.digest, held.membership.media_type, raw))
        if not found and await catalog.tags.get(repository, fallback_tag(subject)) is not None:
            raise ReferrersUnsupported("upstream does not answer, and the fallback tag is held")
        if not found:
            return None
        artifact_type = asked.get("artifactType")
        index = await self._holdings.turns.run(referrers_index(found, artifact_type))
        onward = urlencode({**asked, "last": index.last}) if index.last is not None else None
        return ReferrersPage(index.raw, artifact_type is not None, onward)

    async def _ask(self, key: ReferrersKey) -> _Kept:
        repository, digest, query, _ = key
        try:
            page = await self._registry(repository.upstream).referrers(repository.name, digest, query)
        except ReferrersUnsupported:
            page = None
        told, now = page.second_hand if page is not None else None, self._now()
        kept = _Kept(page, now if told is None else asked_at(told, now, self._rules))
        self._referrers.put(key, kept)
        return kept


def _answer(kept: _Kept, outcome: Outcome, stale_for: float | None = None, warning: str = "") -> ReferrersAnswer:
    if kept.page is None:
        raise ReferrersUnsupported("upstream has no referrers API")
    if (told := kept.page.second_hand) is not None:
        return ReferrersAnswer(kept.page, outcome_of(told), told.age, told.warning)
    return ReferrersAnswer(kept.page, outcome, stale_for, warning)

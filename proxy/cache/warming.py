"""Images brought before anybody pulls them, by an operator's order or on schedule."""

import logging
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from proxy.cache.answers import Outcome
from proxy.cache.holdings import Holdings
from proxy.cache.listings import Listings
from proxy.cache.pins import Pins
from proxy.cache.warm_ledger import NotBrought, WarmedImage, WarmLedger
from proxy.cache.whole_images import PlatformWish, WholeImages
from proxy.core.errors import Fault, NameInvalid, TagInvalid, UpstreamUnknown
from proxy.core.image_names import repository_named
from proxy.core.names import Repository, Tag, names_a_host
from proxy.core.paging import LARGEST_PAGE
from proxy.tasks.side_by_side import side_by_side
from proxy.upstream.contract import Registry
from proxy.warm.references import Wanted, WantedImage, WantedTags, parse_wanted
from proxy.warm.versions import chosen

log = logging.getLogger("entrepot.warm")

IMAGES_LIMIT = 10_000
"""Of one warming."""

_AT_ONCE = 4  # images
_TAGS_LIMIT = 100_000  # of a repository


class WarmOrder(NamedTuple):
    """``images`` as they are written, or as the configuration has them."""

    images: Sequence[str | Wanted]
    wish: PlatformWish
    pin: bool = False
    newest: int | None = None  # of each glob and range that is written


class Warming:
    """One image that fails costs no other. ``registry(upstream)`` gives the registry of a configured upstream."""

    def __init__(
        self,
        holdings: Holdings,
        listings: Listings,
        pins: Pins,
        images: WholeImages,
        registry: Callable[[str], Registry],
    ) -> None:
        self._holdings = holdings
        self._listings = listings
        self._pins = pins
        self._images = images
        self._registry = registry

    def ledger(self) -> WarmLedger:
        """For a warming that is to begin."""
        return WarmLedger(self._holdings.budget.limits.soft)

    async def run(self, order: WarmOrder, ledger: WarmLedger) -> None:
        """All that is ordered; what became of each stands in the ledger. Cancelled, what came until then is held."""
        images: dict[WantedImage, None] = {}
        await side_by_side(_AT_ONCE, order.images, partial(self._find, order.newest, images, ledger))
        for image in list(images)[IMAGES_LIMIT:]:
            ledger.results.append(_failed(str(image), NotBrought("space", f"more than {IMAGES_LIMIT} images at once")))
        ledger.expected = len(images) + len(ledger.results)
        await side_by_side(_AT_ONCE, list(images)[:IMAGES_LIMIT], partial(self._bring, order, ledger))

    async def _find(
        self, newest: int | None, images: dict[WantedImage, None], ledger: WarmLedger, written: str | Wanted
    ) -> None:
        async with _kept(str(written), ledger):
            try:
                wanted = parse_wanted(written, newest) if isinstance(written, str) else written
            except ValueError as wrong:
                raise NotBrought("reference", str(wrong)) from None
            wanted = wanted._replace(repository=self._meant(wanted.repository))
            found = [wanted] if isinstance(wanted, WantedImage) else await self._tagged(wanted)
            images |= dict.fromkeys(found)

    def _meant(self, repository: Repository) -> Repository:
        """Where clients name images by the path form, ``entrepot.internal:5000/ghcr.io/o/i``, the upstream within."""
        if self._is_upstream(repository.upstream) or not names_a_host(repository.name.partition("/")[0]):
            return repository
        try:
            within = repository_named(repository.name)
        except NameInvalid:
            return repository
        return within if self._is_upstream(within.upstream) else repository

    def _is_upstream(self, name: str) -> bool:
        try:
            self._registry(name)
        except UpstreamUnknown:
            return False
        return True

    async def _tagged(self, wanted: WantedTags) -> list[WantedImage]:
        """Raises NotBrought, and upstream's faults."""
        tags = await self._tags(wanted.repository)
        found = await self._holdings.turns.run(chosen(wanted.choice, tags))
        if not found:
            raise NotBrought("unknown", f"none of its {len(tags)} tags is {wanted.choice}")
        return [WantedImage(wanted.repository, Tag.parse(tag)) for tag in found]

    async def _tags(self, repository: Repository) -> list[str]:
        tags: dict[str, None] = {}
        query: str | None = f"n={LARGEST_PAGE}"
        while query is not None:
            answer = await self._listings.tags(repository, LARGEST_PAGE, query)
            if answer.outcome is Outcome.STALE:
                raise NotBrought("outage", f"its tags cannot be asked for: {answer.warning}")
            before = len(tags)
            tags |= dict.fromkeys(filter(_is_tag, answer.page.names))
            if len(tags) > _TAGS_LIMIT:
                raise NotBrought("space", f"it has more than {_TAGS_LIMIT} tags")
            query = answer.page.next_query if len(tags) > before else None
        return list(tags)

    async def _bring(self, order: WarmOrder, ledger: WarmLedger, image: WantedImage) -> None:
        async with _kept(str(image), ledger):
            result = await self._images.bring(image, order.wish, ledger)
            if order.pin:
                await self._pins.add(str(image), *result.named)
            ledger.results.append(result)


@asynccontextmanager
async def _kept(name: str, ledger: WarmLedger) -> AsyncIterator[None]:
    """What goes wrong inside is the result of this one, and costs no other."""
    try:
        yield
        return
    except NotBrought as cause:
        failed = _failed(name, cause)
    except Fault as fault:
        failed = _failed(name, NotBrought.by(fault))
    except Exception:
        log.exception("warming %s", name)
        failed = _failed(name, NotBrought("failed", "an unforeseen failure; the log has it"))
    ledger.results.append(failed)


def _failed(name: str, cause: NotBrought) -> WarmedImage:
    return WarmedImage(name, kind=cause.kind, refused=str(cause))


def _is_tag(text: str) -> bool:
    try:
        return bool(Tag.parse(text))
    except TagInvalid:
        return False

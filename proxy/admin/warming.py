"""The operation that warms: what a person orders is brought by the running cache, and told while it comes."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any

from proxy.admin.answering import Offer
from proxy.admin.warm_messages import WARM, WarmBlob, WarmEnd, WarmLine, WarmRequest, WarmResult, WarmState
from proxy.cache.engine import Cache
from proxy.cache.warm_ledger import WarmedImage, WarmProgress
from proxy.cache.warming import IMAGES_LIMIT, WarmOrder
from proxy.cache.whole_images import PlatformWish
from proxy.core.errors import RequestFault
from proxy.core.platforms import Platform

_EVERY = 0.5  # seconds between two looks

WarmLines = AsyncGenerator[WarmLine | WarmResult | WarmEnd, None]


class WarmOperation:
    """Its work ends with the connection of who asks; what came until then is held, and the same order goes on."""

    def __init__(self, cache: Cache) -> None:
        self._warming = cache.warming
        self._schedule = cache.warm_schedule

    def offers(self) -> Sequence[Offer[Any, Any]]:
        return (Offer(WARM, self.warm),)

    async def warm(self, request: WarmRequest) -> WarmLines:
        """Raises RequestFault."""
        order, ledger = self._order(request), self._warming.ledger()
        work = asyncio.ensure_future(self._warming.run(order, ledger))
        told, before = 0, None
        try:
            while True:
                ended = bool((await asyncio.wait([work], timeout=_EVERY))[0])
                for result in ledger.results[told:]:
                    told += 1
                    yield _result(result)
                progress = ledger.progress()
                if progress != before:
                    before = progress
                    yield WarmLine(progress=_state(progress))
                if ended:
                    work.result()
                    break
        finally:
            work.cancel()
            await asyncio.wait([work])
        failed = len(ledger.failed)
        yield WarmEnd(held=len(ledger.results) - failed, failed=failed, fetched=ledger.fetched)

    def _order(self, request: WarmRequest) -> WarmOrder:
        if len(request.images) > IMAGES_LIMIT:
            raise RequestFault(f"images: at most {IMAGES_LIMIT} at once")
        if request.newest is not None and request.newest < 1:
            raise RequestFault("newest: at least 1")
        rules = self._schedule.rules
        if not request.images and not rules.images:
            raise RequestFault("images: name some, or set warm.images in the configuration")
        images = request.images or rules.images
        return WarmOrder(images, self._wish(request), request.pin or (not request.images and rules.pin), request.newest)

    def _wish(self, request: WarmRequest) -> PlatformWish:
        if request.all_platforms:
            return PlatformWish(None)
        try:
            named = tuple(map(Platform.parse, request.platforms))
        except ValueError as wrong:
            raise RequestFault(f"platforms: {wrong}") from None
        return PlatformWish(named, each=True) if named else PlatformWish(self._schedule.rules.platforms)


def _result(image: WarmedImage) -> WarmResult:
    return WarmResult(
        name=image.name,
        image_digest=image.digest,
        contents=image.contents,
        fetched=image.fetched,
        signatures=image.signatures,
        lacking=image.lacking,
        kind=image.kind,
        refused=image.refused,
    )


def _state(progress: WarmProgress) -> WarmState:
    arriving = tuple(
        WarmBlob(digest=each.digest, repository_name=str(each.repository), received=each.received, size=each.size)
        for each in progress.arriving
    )
    return WarmState(
        images=progress.images,
        images_done=progress.images_done,
        total=progress.total,
        done=progress.done,
        arriving=arriving,
    )

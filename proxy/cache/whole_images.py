"""One image brought whole, and what is signed of it, by the ways that pulls go and without a byte passing through here.

What is held is passed over, so a warming that was interrupted goes on where it was. Signatures are looked for where
clients look: by the referrers API or under its fallback tag (OCI distribution-spec "Listing Referrers"), and under
cosign's tags.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple, TypeVar

from proxy.cache.answers import ManifestAnswer, Outcome
from proxy.cache.blobs import Blobs
from proxy.cache.fill import FillBody
from proxy.cache.holdings import Holdings
from proxy.cache.listings import Listings
from proxy.cache.manifests import Manifests
from proxy.cache.warm_ledger import NotBrought, WarmedImage, WarmLedger
from proxy.core.backoff import Backoff
from proxy.core.errors import (
    Absent,
    Fault,
    Overloaded,
    RateLimited,
    UpstreamOffline,
    UpstreamRefused,
)
from proxy.core.manifests import OCI_INDEX, ManifestInvalid, read_manifest
from proxy.core.names import Digest, Reference, Repository, Tag
from proxy.core.parts import DEEPEST
from proxy.core.platforms import Platform, WantedParts, select
from proxy.core.referrers import cosign_tags, fallback_tag
from proxy.tasks.side_by_side import side_by_side
from proxy.warm.references import WantedImage

T = TypeVar("T")
Sleep = Callable[[float], Awaitable[None]]

_BLOBS = 3  # of one image at a time
_SUBJECTS = 4  # manifests of one image, about which is asked at a time
_AGAIN = Backoff(first=1.0, longest=60.0)
_TRIES = 4  # of what is asked too often
_REFERRERS = 1_000  # of one image
_OFFERED = 20  # platforms that are told
_ABOUT = 2  # levels: what is said of an image, and of that


class PlatformWish(NamedTuple):
    """None: all. ``each``: an image that lacks one of them is not brought whole."""

    platforms: Sequence[Platform] | None
    each: bool = False


@dataclass(slots=True)
class _Tree:
    repository: Repository
    digest: Digest | None = None
    manifests: dict[Digest, int] = field(default_factory=dict)  # and their sizes
    blobs: dict[Digest, int] = field(default_factory=dict)  # and their sizes, as they are claimed
    lacking: tuple[Platform, ...] = ()
    offered: tuple[Platform, ...] = ()
    tags: list[Tag] = field(default_factory=list)  # by which its manifests were found
    fetched: int = 0  # bytes of manifests and blobs that were not held


class WholeImages:
    """``places`` bounds how many blobs arrive for all warmings together, so that clients' pulls find places too."""

    def __init__(
        self,
        holdings: Holdings,
        manifests: Manifests,
        blobs: Blobs,
        listings: Listings,
        places: int,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._holdings = holdings
        self._manifests = manifests
        self._blobs = blobs
        self._listings = listings
        self._places = asyncio.Semaphore(places)
        self._sleep = sleep

    async def bring(self, image: WantedImage, wish: PlatformWish, ledger: WarmLedger) -> WarmedImage:
        """Raises NotBrought, with what is there already held; Fault."""
        tree, about = _Tree(image.repository), _Tree(image.repository)
        await self._take(tree, image.reference, wish.platforms, DEEPEST)
        await self._bring_blobs(tree, ledger)
        await self._take_referrers(tree, about)
        await self._bring_blobs(about, ledger)
        lacking = tuple(map(str, tree.lacking))
        if lacking and wish.each:
            raise NotBrought("platform", _without(tree))
        contents = len({*tree.manifests, *tree.blobs})
        fetched = tree.fetched + about.fetched
        named = tuple(str(WantedImage(image.repository, tag)) for tag in about.tags)
        return WarmedImage(str(image), tree.digest, contents, fetched, len(about.manifests), named, lacking)

    # ------------------------------------------------------------ manifests

    async def _take(self, tree: _Tree, reference: Reference, platforms: Sequence[Platform] | None, deep: int) -> None:
        """A manifest and those that are wanted of it."""
        answer = await self._patiently(partial(self._manifests.get, tree.repository, reference))
        _demand_kept(answer)
        if answer.digest in tree.manifests:
            return
        try:
            selection = await self._holdings.turns.run(select(answer.raw, answer.media_type, platforms))
        except ManifestInvalid as cause:
            raise NotBrought("failed", f"{answer.digest} is no manifest of an image: {cause}") from None
        tree.manifests[answer.digest] = len(answer.raw)
        tree.tags += [] if isinstance(reference, Digest) else [reference]
        tree.fetched += len(answer.raw) if answer.outcome in (Outcome.MISS, Outcome.COLLAPSED) else 0
        tree.blobs |= {blob: selection.sizes.get(blob, 0) for blob in selection.parts.blobs}
        if tree.digest is None:
            tree.digest, tree.lacking, tree.offered = answer.digest, selection.lacking, selection.offered
            _demand_some(tree, selection)
        if selection.manifests and not deep:
            raise NotBrought("failed", "it is an index within an index within …")
        for child in selection.manifests:
            await self._take(tree, child, platforms, deep - 1)

    # ------------------------------------------------------------ what is said of it

    async def _take_referrers(self, tree: _Tree, about: _Tree) -> None:
        subjects = list(tree.manifests)
        for _ in range(_ABOUT):
            known = set(about.manifests)
            await _each(_SUBJECTS, subjects, partial(self._take_about, about))
            subjects = [digest for digest in about.manifests if digest not in known and digest not in tree.manifests]

    async def _take_about(self, about: _Tree, subject: Digest) -> None:
        try:
            with suppress(UpstreamOffline):
                for referrer in await self._referrers(about.repository, subject):
                    await self._take_if_there(about, referrer)
        except (Absent, UpstreamRefused):  # no such API, or none for us
            await self._take_if_there(about, fallback_tag(subject))
        for tag in cosign_tags(subject):
            await self._take_if_there(about, tag)
        if len(about.manifests) > _REFERRERS:
            raise NotBrought("space", f"more than {_REFERRERS} manifests are about it")

    async def _take_if_there(self, about: _Tree, reference: Reference) -> None:
        """A registry that has just given the image and refuses this has no such thing."""
        with suppress(Absent, UpstreamRefused, UpstreamOffline):
            await self._take(about, reference, None, DEEPEST)

    async def _referrers(self, repository: Repository, subject: Digest) -> list[Digest]:
        """Raises Absent where there is no such API, and upstream's faults."""
        found: dict[Digest, None] = {}
        query: str | None = ""
        while query is not None and len(found) <= _REFERRERS:
            answer = await self._patiently(partial(self._listings.referrers, repository, subject, query))
            if answer.outcome is Outcome.STALE:
                raise NotBrought("outage", f"its signatures cannot be asked for: {answer.warning}")
            try:
                facts = await self._holdings.turns.run(read_manifest(answer.page.raw, OCI_INDEX))
            except ManifestInvalid:
                break
            before = len(found)
            found |= dict.fromkeys(facts.children)
            query = answer.page.next_query if len(found) > before else None
        return list(found)

    # ------------------------------------------------------------ blobs

    async def _bring_blobs(self, tree: _Tree, ledger: WarmLedger) -> None:
        """Raises NotBrought."""
        ledger.want(tree.manifests | tree.blobs)
        missing = {
            blob: size for blob, size in tree.blobs.items() if not await self._blobs.is_held(tree.repository, blob)
        }
        ledger.fetch(sum(missing.values()))

        async def bring(blob: Digest) -> None:
            came = 0
            try:
                async with self._places:
                    came = await self._bring_blob(tree.repository, blob, ledger)
                tree.fetched += came
            finally:
                ledger.brought(missing[blob], came)

        await _each(_BLOBS, missing, bring)

    async def _bring_blob(self, repository: Repository, blob: Digest, ledger: WarmLedger) -> int:
        """Bytes that came for it."""
        had = await self._holdings.get(blob) is not None  # for another repository
        answer = await self._patiently(partial(self._blobs.bring, repository, blob))
        body = answer.body
        try:
            if answer.outcome is Outcome.BYPASS:
                raise NotBrought("space", f"{blob} is not kept: it passes through for want of room")
            if isinstance(body, FillBody):
                with ledger.watching(repository, blob, body):
                    await body.over()
        finally:
            body.close()
        if not await self._blobs.is_held(repository, blob):
            raise NotBrought("space", f"{blob} came and could not be kept; the log has the reason")
        return 0 if had else answer.size or (body.received if isinstance(body, FillBody) else 0)

    # ------------------------------------------------------------ asking

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Who asks too much comes again later, some times."""
        for failures in range(_TRIES - 1):
            try:
                return await ask()
            except (RateLimited, Overloaded) as cause:
                pause = max(_AGAIN.pause(failures), cause.retry_after)
                if pause > _AGAIN.longest:
                    raise
            await self._sleep(pause)
        return await ask()


async def _each(most: int, pieces: Iterable[Digest], work: Callable[[Digest], Awaitable[None]]) -> None:
    """All of them are tried, so that the next time fewer are missing. Raises NotBrought for the first that failed."""
    failed: list[NotBrought] = []

    async def tried(piece: Digest) -> None:
        try:
            await work(piece)
        except NotBrought as cause:
            failed.append(cause)
        except Fault as fault:
            failed.append(NotBrought.by(fault))

    await side_by_side(most, pieces, tried)
    if failed:
        raise failed[0]


def _demand_kept(answer: ManifestAnswer) -> None:
    """Raises NotBrought."""
    if answer.outcome is Outcome.STALE:
        raise NotBrought("outage", f"it is held, and {answer.warning.removeprefix('served stale: ')}")
    if answer.outcome is Outcome.BYPASS:
        raise NotBrought("space", f"{answer.digest} is not kept, for want of room or because of its form")


def _demand_some(tree: _Tree, selection: WantedParts) -> None:
    """Raises NotBrought."""
    if selection.parts.manifests and not selection.manifests:
        raise NotBrought("platform", _without(tree))


def _without(tree: _Tree) -> str:
    offered = [*map(str, tree.offered[:_OFFERED]), *(["…"] if len(tree.offered) > _OFFERED else [])]
    return f"it has no {' and no '.join(map(str, tree.lacking))}: it has {', '.join(offered) or 'none'}"

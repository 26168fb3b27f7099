"""What an operator asks of the running cache, and how each is carried out."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from proxy.admin.answering import Offer
from proxy.admin.compare_messages import COMPARE, CompareRequest, Comparison
from proxy.admin.messages import (
    APPLY,
    PINS,
    PREVIEW,
    PURGE,
    RELOAD,
    VERIFY,
    BadContent,
    NothingMore,
    PinEntry,
    PinsRequest,
    PinsResult,
    PurgedContent,
    PurgeEnd,
    PurgePortion,
    PurgeRequest,
    PurgeSummary,
    ReloadResult,
    ReviewEnd,
    ReviewPortion,
    ReviewRequest,
    VerifyCounts,
    VerifyEnd,
    VerifyProgress,
    VerifyRequest,
    VerifySummary,
)
from proxy.admin.pulse import with_pulse
from proxy.admin.reload import Reload
from proxy.admin.reviews import reviewed
from proxy.cache.maintenance import Maintenance, Purge
from proxy.cache.rereading import ReadCount
from proxy.core.errors import RequestFault
from proxy.core.lifecycle import policy_parser
from proxy.core.policies import Assignment
from proxy.core.rates import parse_rate

_VERIFY_RATE = 100_000_000  # bytes per second
_EVERY = 50  # contents between two signs of life of a verification
_PROGRESS = 0.5  # seconds between two, however large the content

Reviews = AsyncGenerator[ReviewPortion | ReviewEnd, None]
Checks = AsyncGenerator[BadContent | VerifyProgress | VerifyEnd, None]


class Operations:
    def __init__(self, maintenance: Maintenance, reload: Reload) -> None:
        self._maintenance = maintenance
        self._reload = reload

    def offers(self) -> Sequence[Offer[Any, Any]]:
        """All of them, for the listener."""
        return (
            Offer(PREVIEW, self.preview),
            Offer(APPLY, self.apply),
            Offer(PURGE, self.purge),
            Offer(PINS, self.pins),
            Offer(VERIFY, self.verify),
            Offer(RELOAD, self.reload),
            Offer(COMPARE, self.compare),
        )

    async def preview(self, request: ReviewRequest) -> Reviews:
        """Raises PolicyInvalid for a policy that is none."""
        assignments = self._assignments(request)
        async with aclosing(self._maintenance.lifecycle.preview(assignments, request.repository)) as reviews:
            async for line in reviewed(reviews, policies=bool(assignments)):
                yield line

    async def apply(self, request: ReviewRequest) -> Reviews:
        """Raises RequestFault where other policies are given, StoreFailed."""
        if request.policy is not None:
            raise RequestFault("only the policies of the configuration are applied")
        assignments = self._maintenance.lifecycle.rules.assignments
        async with aclosing(self._maintenance.lifecycle.expire(assignments, request.repository)) as reviews:
            async for line in reviewed(reviews, policies=bool(assignments)):
                yield line
        await self._maintenance.retention.tidy()

    async def purge(self, request: PurgeRequest) -> AsyncGenerator[PurgePortion | PurgeEnd, None]:
        """Raises RequestFault where nothing is named, StoreFailed."""
        if not request.target:
            raise RequestFault("target: a digest, REGISTRY/REPOSITORY:TAG, or a pattern is needed")
        maintenance = self._maintenance.unpinned() if request.force else self._maintenance
        portions = (maintenance.preview_purge if request.preview else maintenance.purge)(request.target)
        purged = stays = pinned = size = 0
        async with aclosing(portions):
            async for portion in portions:
                yield _portion(portion)
                purged += sum(not gone.stays for gone in portion.gone)
                stays += sum(gone.stays for gone in portion.gone)
                pinned += sum(gone.pinned_by is not None for gone in portion.gone)
                size += portion.size
        yield PurgeEnd(summary=PurgeSummary(purged=purged, stays=stays, freed_bytes=size, pinned=pinned))

    async def pins(self, request: PinsRequest) -> AsyncGenerator[PinsResult, None]:
        """Raises RequestFault for what is no pattern, StoreFailed."""
        pins, known = self._maintenance.retention.pins, True
        found: dict[str, int] = {}
        if request.pin is not None:
            await pins.add(_pattern(request.pin))
            matches, size = await self._maintenance.held_matches(request.pin)
            found = {"matches": matches, "matched_bytes": size}
        if request.unpin is not None:
            known = await pins.remove(_pattern(request.unpin))
        entries = tuple(PinEntry(pattern=pin.pattern, origin=pin.origin) for pin in pins.list())
        yield PinsResult(known=known, pins=entries, **found)

    async def verify(self, request: VerifyRequest) -> Checks:
        """Raises RequestFault for what is no rate, StoreFailed."""
        try:
            rate = parse_rate(request.rate or _VERIFY_RATE)
        except ValueError as cause:
            raise RequestFault(f"rate: {cause}") from None
        read, told = ReadCount(), 0
        contents = bad = size = 0
        checks = self._maintenance.scrub.verify(rate, read=read)
        async with aclosing(checks), aclosing(with_pulse(checks, _PROGRESS)) as pulsing:
            async for checked in pulsing:
                if checked is not None:
                    contents, size = contents + 1, size + checked.content.size
                    if not checked.good:
                        bad += 1
                        yield BadContent(bad=checked.content.digest, size=checked.content.size)
                due = checked is None or contents % _EVERY == 0 or read.bytes - told >= rate
                if due and read.bytes > told:
                    told = read.bytes
                    yield VerifyProgress(progress=VerifyCounts(contents=contents, bytes=told))
        yield VerifyEnd(summary=VerifySummary(contents=contents, bytes=size, bad=bad))

    async def compare(self, request: CompareRequest) -> AsyncGenerator[Comparison, None]:
        """What a reload and a start would change by that configuration."""
        if not Path(request.file).is_absolute():
            raise RequestFault("file: not the whole name of a file")
        yield await self._reload.compare(request.content.encode(), Path(request.file))

    async def reload(self, _: NothingMore) -> AsyncGenerator[ReloadResult, None]:
        """A refused configuration is a result, not a fault."""
        yield await self._reload()

    def _assignments(self, request: ReviewRequest) -> Sequence[Assignment]:
        if request.policy is None:
            return self._maintenance.lifecycle.rules.assignments
        return [Assignment(("*",), policy_parser(extended=request.extensions)(request.policy))]


def _portion(portion: Purge) -> PurgePortion:
    gone = tuple(
        PurgedContent(
            repository_name=str(each.repository) if each.repository is not None else None,
            image_digest=each.digest,
            image_tags=each.tags,
            stays=each.stays,
            pinned_by=each.pinned_by,
        )
        for each in portion.gone
    )
    return PurgePortion(purged=gone, freed_bytes=portion.size)


def _pattern(written: str) -> str:
    if not 1 <= len(written) <= 512 or any(character.isspace() for character in written) or "/" not in written:
        raise RequestFault(f"not a pattern over REGISTRY/REPOSITORY, with :TAG or @DIGEST or nothing: {written!r}")
    return written

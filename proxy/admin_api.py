"""An operator's requests to the running cache, as JSON, and what is done for each, as JSON events."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from proxy.cache.lifecycle import Review
from proxy.cache.maintenance import Maintenance, Purge
from proxy.config import parse_size
from proxy.core.errors import RequestFault
from proxy.core.lifecycle import parse_extended_policy, parse_policy, preview_json
from proxy.core.policies import Assignment
from proxy.ops.operations import AdminOperation, Event

_VERIFY_RATE = 100_000_000  # bytes per second
_EVERY = 50  # contents between two signs of life of a verification, or as many bytes as it may read in a second

Events = AsyncGenerator[Event, None]


class AdminApi:
    def __init__(self, maintenance: Maintenance) -> None:
        self._keeper = maintenance

    def operations(self) -> dict[str, AdminOperation]:
        """By their path below ``/api/v1/``."""
        return {
            "lifecycle/preview": self.preview,
            "lifecycle/apply": self.apply,
            "purge": self.purge,
            "pins": self.pins,
            "verify": self.verify,
        }

    async def preview(self, request: Event) -> Events:
        """``policy`` (JSON text), ``extensions``, ``repository`` (pattern); all may be left out."""
        assignments, pattern = self._assignments(request)
        async with aclosing(self._keeper.lifecycle.preview(assignments, pattern)) as reviews:
            async for event in _reviewed(reviews, bool(assignments)):
                yield event

    async def apply(self, request: Event) -> Events:
        """``repository``: a pattern. The policies are those of the configuration."""
        if "policy" in request:
            raise RequestFault("only the policies of the configuration are applied")
        assignments, pattern = self._assignments(request)
        async with aclosing(self._keeper.lifecycle.expire(assignments, pattern)) as reviews:
            async for event in _reviewed(reviews, bool(assignments)):
                yield event
        await self._keeper.retention.tidy()

    async def purge(self, request: Event) -> Events:
        """``target``: a digest, or a pattern. With ``preview`` nothing goes."""
        target = _text(request, "target")
        if not target:
            raise RequestFault("target: a digest, REGISTRY/REPOSITORY:TAG, or a pattern is needed")
        preview = request.get("preview") is True
        portions = self._keeper.preview_purge(target) if preview else self._keeper.purge(target)
        contents = stays = size = 0
        async with aclosing(portions):
            async for portion in portions:
                yield _portion(portion)
                contents += sum(not gone.stays for gone in portion.gone)
                stays += sum(gone.stays for gone in portion.gone)
                size += portion.size
        yield {"summary": {"purged": contents, "stays": stays, "freedBytes": size}}

    async def pins(self, request: Event) -> Events:
        """``pin`` or ``unpin``: a pattern; neither lists."""
        pins = self._keeper.retention.pins
        if (pattern := _text(request, "pin")) is not None:
            await pins.add(_pattern(pattern))
        known = True
        if (pattern := _text(request, "unpin")) is not None:
            known = await pins.remove(_pattern(pattern))
        yield {"known": known, "pins": [pin._asdict() for pin in pins.list()]}

    async def verify(self, request: Event) -> Events:
        """``rate``: bytes per second, as a number or a size."""
        rate = request.get("rate") or _VERIFY_RATE
        try:
            speed = parse_size(rate)
        except ValueError as cause:
            raise RequestFault(f"rate: {cause}") from None
        contents = size = bad = told = 0
        checks = self._keeper.scrub.verify(max(speed, 1))
        async with aclosing(checks):
            async for checked in checks:
                contents, size = contents + 1, size + checked.content.size
                if not checked.good:
                    bad += 1
                    yield {"bad": checked.content.digest, "size": checked.content.size}
                if contents % _EVERY == 0 or size - told >= speed:
                    told = size
                    yield {"progress": {"contents": contents, "bytes": size}}
        yield {"summary": {"contents": contents, "bytes": size, "bad": bad}}

    def _assignments(self, request: Event) -> tuple[Sequence[Assignment], str]:
        pattern = _text(request, "repository") or "*"
        policy = _text(request, "policy")
        if policy is None:
            return self._keeper.lifecycle.rules.assignments, pattern
        parse = parse_extended_policy if request.get("extensions") is True else parse_policy
        return [Assignment(("*",), parse(policy))], pattern


async def _reviewed(reviews: AsyncGenerator[Review, None], policies: bool) -> Events:
    repositories = images = expiring = stays = size = 0
    async for review in reviews:
        shown = preview_json(review.decisions)
        gone = {node.digest for node in review.removal.freed}
        for decision, result in zip(review.decisions, shown["previewResults"], strict=True):  # type: ignore[call-overload]
            result["stays"] = decision.image.digest in review.stays
            result["freed"] = decision.image.digest in gone
            result["imageSizeInBytes"] = decision.image.size
        repositories, images = repositories + 1, images + review.images
        expiring += sum(decision.action == "expire" for decision in review.decisions) - len(review.stays)
        stays, size = stays + len(review.stays), size + review.removal.size
        if review.decisions:
            yield {
                "repositoryName": str(review.repository),
                "images": review.images,
                "freedBytes": review.removal.size,
                **shown,
            }
    yield {
        "summary": {
            "policies": policies,
            "repositories": repositories,
            "images": images,
            "expired": expiring,
            "stays": stays,
            "freedBytes": size,
        }
    }


def _portion(portion: Purge) -> Event:
    gone = [
        {
            "repositoryName": str(each.repository) if each.repository is not None else None,
            "imageDigest": each.digest,
            "imageTags": list(each.tags),
            "stays": each.stays,
        }
        for each in portion.gone
    ]
    return {"purged": gone, "freedBytes": portion.size}


def _text(request: Event, name: str) -> str | None:
    value = request.get(name)
    if value is None or isinstance(value, str):
        return value
    raise RequestFault(f"{name}: must be a string")


def _pattern(written: str) -> str:
    if not 1 <= len(written) <= 512 or any(character.isspace() for character in written) or "/" not in written:
        raise RequestFault(f"not a pattern over REGISTRY/REPOSITORY, with :TAG or @DIGEST or nothing: {written!r}")
    return written

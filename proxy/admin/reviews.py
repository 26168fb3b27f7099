"""Lifecycle reviews as lines: in portions, so that neither side holds a large repository twice."""

from collections.abc import AsyncGenerator, Collection, Iterator
from typing import cast

from proxy.admin.messages import ReviewCounts, ReviewedImage, ReviewEnd, ReviewPortion, ReviewSummary
from proxy.cache.lifecycle import Review
from proxy.core.lifecycle import Action, Decision, preview_json

Json = dict[str, object]

_PORTION = 500  # images of one line


async def reviewed(
    reviews: AsyncGenerator[Review, None], *, policies: bool
) -> AsyncGenerator[ReviewPortion | ReviewEnd, None]:
    """The portions of each repository of which something is to go, then the sum. ``policies``: are there any?"""
    repositories = images = expiring = stays = size = 0
    async for review in reviews:
        repositories, images = repositories + 1, images + review.images
        expiring += sum(decision.action is Action.EXPIRE for decision in review.decisions) - len(review.stays)
        stays, size = stays + len(review.stays), size + review.removal.size
        for portion in _portions(review):
            yield portion
    yield ReviewEnd(
        summary=ReviewSummary(
            policies=policies,
            repositories=repositories,
            images=images,
            expired=expiring,
            stays=stays,
            freed_bytes=size,
        )
    )


def _portions(review: Review) -> Iterator[ReviewPortion]:
    freed = {node.digest for node in review.removal.freed}
    for start in range(0, len(review.decisions), _PORTION):
        decisions = review.decisions[start : start + _PORTION]
        shown = preview_json(decisions)
        yield ReviewPortion(
            repository_name=str(review.repository),
            images=review.images,
            freed_bytes=review.removal.size if start == 0 else 0,
            preview_results=tuple(
                _image(decision, result, review.stays, freed)
                for decision, result in zip(decisions, cast(list[Json], shown["previewResults"]), strict=True)
            ),
            summary=ReviewCounts.model_validate(shown["summary"]),
        )


def _image(decision: Decision, result: Json, stays: Collection[str], freed: Collection[str]) -> ReviewedImage:
    digest = decision.image.digest
    return ReviewedImage.model_validate(
        {**result, "stays": digest in stays, "freed": digest in freed, "imageSizeInBytes": decision.image.size}
    )

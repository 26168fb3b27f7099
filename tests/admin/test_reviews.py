"""What a lifecycle review says goes out as it is found, in lines of bounded length."""

from collections.abc import AsyncGenerator

from proxy.admin.messages import ReviewEnd, ReviewPortion
from proxy.admin.reviews import reviewed
from proxy.cache.lifecycle import Review
from proxy.core.graph import Node, Removal
from proxy.core.lifecycle import Action, Decision, Image
from proxy.core.names import Digest, Repository

SIZE = 10


def review(name: str, count: int, stays: int) -> Review:
    """So many images expire, of which the first ones stay."""
    repository = Repository("registry.test", name)
    digests = [Digest.of(f"{name} {number}".encode()) for number in range(count)]
    decisions = [
        Decision(Image(str(repository), digest, (), 1.0, size=SIZE), Action.EXPIRE, rule_priority=1)
        for digest in digests
    ]
    freed = tuple(Node(digest, SIZE, True, "registry.test", 0) for digest in digests[stays:])
    return Review(repository, count + 1, decisions, frozenset(digests[:stays]), Removal(freed=freed))


async def test_a_large_repository_is_told_in_portions_while_the_next_is_not_looked_at_yet() -> None:
    looked_at = []

    async def reviews() -> AsyncGenerator[Review, None]:
        for name, count, stays in (("team/large", 1200, 7), ("team/small", 3, 0)):
            looked_at.append(name)
            yield review(name, count, stays)

    portions: list[ReviewPortion] = []
    async for line in reviewed(reviews(), policies=True):
        if isinstance(line, ReviewPortion):
            portions.append(line)
            assert looked_at[-1] == line.repository_name.removeprefix("registry.test/")
        else:
            end = line
    assert [len(each.preview_results) for each in portions] == [500, 500, 200, 3]
    assert [each.freed_bytes for each in portions] == [1193 * SIZE, 0, 0, 3 * SIZE], "told once for each repository"
    assert sum(image.stays for each in portions for image in each.preview_results) == 7
    assert isinstance(end, ReviewEnd)
    summary = end.summary
    assert (summary.repositories, summary.images, summary.expired, summary.stays) == (2, 1205, 1196, 7)
    assert summary.freed_bytes == 1196 * SIZE

"""What a caller is given at his rate is what has been counted, and nothing that came meanwhile."""

from typing import cast

from proxy.cache.answers import BlobAnswer, Outcome
from proxy.cache.blobs import Blobs
from proxy.cache.body import FilePiece
from proxy.core.access import Caller
from proxy.core.allow import AllowRule
from proxy.core.names import Digest, Repository
from proxy.core.operations import BlobPull
from proxy.front.fairness import Fairness

PULL = BlobPull(Repository("registry.test", "library/app"), Digest.of(b"blob"), None, None)


class Arriving:
    """A body of which ten bytes are there, and more whenever somebody asks for it."""

    size: int | None = 1000

    def ready(self, position: int) -> bool:
        return True

    async def piece(self, position: int, end: int | None) -> FilePiece:
        return FilePiece(-1, position, position + 10, lambda position, patience: 1000)

    async def discard(self) -> None:
        return

    def close(self) -> None:
        return


class OneBlob:
    async def get(self, repository: Repository, digest: Digest) -> BlobAnswer:
        return BlobAnswer(Arriving(), 1000, Outcome.MISS)


async def test_a_piece_of_an_arriving_blob_does_not_grow_beyond_what_its_caller_pays_for() -> None:
    fairness = Fairness(cast(Blobs, OneBlob()))
    rule = AllowRule(("user:alice",), ("*",), rate=1 << 20)
    answer = await fairness.blob(rule, Caller("alice"), "192.0.2.1", PULL)
    assert await answer.body.piece(0, None) == FilePiece(-1, 0, 10, None)

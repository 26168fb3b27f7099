"""What must hold after every scene, and in some at every moment."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.core.names import Digest
from tests.cast import FaultUpstream
from tests.scenarios.house import House


def stored(folder: Path) -> dict[Digest, int]:
    """Everything under ``blobs``, with its size. Fails where bytes are not those of their name."""
    found = {}
    for path in (folder / "blobs").glob("*/*/*"):
        digest = Digest.parse(f"{path.parent.parent.name}:{path.name}")
        with contextlib.suppress(FileNotFoundError):  # let go meanwhile
            content = path.read_bytes()
            assert digest.matches(content), f"{path} does not hold its bytes"
            found[digest] = len(content)
    return found


async def known_to(house: House) -> dict[Digest, int]:
    """Everything that the catalog says is held, with its size."""
    return {content.digest: content.size for content in await house.catalog.contents.between("", "t")}


async def index_is_disk(house: House) -> None:
    """Catalog, budget and disk say the same, as soon as what goes on behind (comparison, eviction) is through."""
    for _ in range(500):
        on_disk = stored(house.folder)
        counted = house.cache.holdings.budget.committed  # with what an earlier run let go, until that is looked through
        if await known_to(house) == on_disk and counted == sum(on_disk.values()):
            break
        await asyncio.sleep(0.02)
    assert await known_to(house) == on_disk
    usage, budget = (await house.catalog.contents.usage_by_upstream()).values(), house.cache.holdings.budget
    size, entries = sum(each.size for each in usage), sum(each.entries for each in usage)
    assert (size, entries) == (sum(on_disk.values()), len(on_disk))
    assert (budget.committed, budget.reserved) == (size, 0)


async def ends_well(house: House) -> None:
    """The clients leave, what is under way ends by itself, and what must always hold holds. However that goes, the
    house is closed: a loop with an open one would never end."""
    house.dismiss()
    try:
        await house.quiet()
        await index_is_disk(house)
    finally:
        await house.stop()


def fetches(upstream: FaultUpstream, digest: Digest) -> int:
    """Transfers of a blob that upstream was asked for."""
    return sum(seen.target.endswith(digest) and seen.method == "GET" for seen in upstream.requests("blob"))


@asynccontextmanager
async def disk_bound(house: House) -> AsyncIterator[list[int]]:
    """At every sample both the disk and the books stay below the hard limit; gives the samples of the disk."""
    samples: list[int] = []
    sampler = asyncio.create_task(_sample(house, samples))
    try:
        yield samples
        samples.append(disk_usage(house.folder))
    finally:
        sampler.cancel()
        await asyncio.wait([sampler])
    hard = house.cache.holdings.budget.limits.hard
    assert samples
    assert max(samples) <= hard
    if not sampler.cancelled():
        sampler.result()


async def _sample(house: House, samples: list[int]) -> None:
    budget = house.cache.holdings.budget
    while True:
        assert budget.used <= budget.limits.hard
        samples.append(disk_usage(house.folder))
        await asyncio.sleep(0.002)


def disk_usage(folder: Path) -> int:
    """Bytes of content, whole and arriving; a file that moves meanwhile is counted once or twice, never missed."""
    sizes: dict[int, int] = {}
    for top in ("ingest", "blobs"):
        for root, _, names in os.walk(folder / top):
            for name in names:
                try:
                    found = os.stat(os.path.join(root, name))
                except FileNotFoundError:
                    continue
                sizes[found.st_ino] = found.st_size
    return sum(sizes.values())


def open_files() -> Counter[str]:
    """Descriptors of this process, by what they are: a path, or one of its kind."""
    found: Counter[str] = Counter()
    for name in os.listdir("/proc/self/fd"):
        try:
            found[os.readlink(f"/proc/self/fd/{name}").partition("[")[0]] += 1
        except FileNotFoundError:
            continue
    return found

"""Times that a wrong clock told are not taken for age."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.cache.timekeeping import Timekeeper
from proxy.core.clock import EARLIEST, Doubt
from proxy.core.names import Digest
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import Content
from tests.cast import ManualClock

NOW, YEAR = EARLIEST + 4e7, 365 * 86_400.0


@pytest.fixture
async def catalog(tmp_path: Path) -> AsyncIterator[SqliteCatalog]:
    opened = SqliteCatalog(tmp_path)
    yield opened
    await opened.close()


async def started(catalog: SqliteCatalog, clock: ManualClock) -> Timekeeper:
    """As a process does at that time, which looks at it once."""
    times = Timekeeper(catalog, clock, clock, EARLIEST)
    await times.load()
    await times.look()
    return times


async def cached(catalog: SqliteCatalog, name: bytes, times: Timekeeper) -> Digest:
    digest, now = Digest.of(name), times.stamp()
    await catalog.contents.add(Content(digest, 1, "", now, now))
    return digest


async def when(catalog: SqliteCatalog, digest: Digest) -> tuple[float, float]:
    content = await catalog.contents.get(digest)
    assert content is not None
    return content.created_at, content.used_at


async def test_what_was_cached_in_1970_is_as_old_as_the_first_good_start(catalog: SqliteCatalog) -> None:
    early = await started(catalog, ManualClock(86_400.0))
    assert early.doubt is Doubt.EARLY
    assert "clock" in early.troubles()
    digest = await cached(catalog, b"x", early)
    assert (await started(catalog, ManualClock(NOW))).troubles() == {}
    assert await when(catalog, digest) == (NOW, NOW)


async def test_a_start_in_1970_goes_on_from_what_was_known(catalog: SqliteCatalog) -> None:
    await started(catalog, ManualClock(NOW))
    early = await started(catalog, ManualClock(86_400.0))
    assert early.doubt is Doubt.EARLY
    assert await when(catalog, await cached(catalog, b"x", early)) == (NOW, NOW)


async def test_what_was_cached_a_year_ahead_is_believed_and_clamped_after_an_hour(catalog: SqliteCatalog) -> None:
    ahead = await started(catalog, ManualClock(NOW + YEAR))
    digest = await cached(catalog, b"x", ahead)
    clock = ManualClock(NOW)
    times = await started(catalog, clock)
    assert times.doubt is Doubt.BACK
    assert times.stamp() == NOW + YEAR, "what comes now is not before what is there"
    clock.advance(3601)
    await times.look()
    assert times.troubles() == {}
    assert await when(catalog, digest) == (NOW + 3601, NOW + 3601)
    assert times.stamp() == NOW + 3601
    assert (await started(catalog, clock)).troubles() == {}


async def test_a_clock_that_ran_ahead_for_less_than_an_hour_of_running_leaves_nothing(catalog: SqliteCatalog) -> None:
    await started(catalog, ManualClock(NOW))
    assert (await started(catalog, ManualClock(NOW + YEAR))).doubt is Doubt.AHEAD
    assert (await started(catalog, ManualClock(NOW + 60))).doubt is Doubt.NONE

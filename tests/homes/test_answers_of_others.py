"""A real process on volumes that answer as file systems of other machines do: no locks, no shared memory, no rights, no
times, and slowly. The calls of the C library are made to fail; see ``tests.disk.injector``."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cast import FaultUpstream
from tests.disk.injector import Call, Injector, compiled
from tests.homes.lodger import HIT, STORED, Lodger
from tests.scenarios.house import MiB
from tests.scenarios.process import Site, site

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: faults are injected by a library of C")
Bytes = Callable[[int], bytes]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("library"))


@pytest.fixture
def injector(library: Path, cache: Path) -> Iterator[Injector]:
    with Injector(library, cache.parent / "control", cache) as found, found.preloaded():
        yield found


async def test_a_volume_without_locks_is_refused_with_what_helps(
    injector: Injector, cache: Path, upstream: FaultUpstream
) -> None:
    injector.arm([Call.LOCK], "ENOLCK")
    entrepot = Site(cache.parent, upstream.url)
    await entrepot.launch()
    assert await entrepot.ended() == 2
    assert injector.fired == 1
    assert "name a folder on a local disk, or mount it with locks (NFS: without nolock" in entrepot.output.read_text()
    assert [path.name for path in cache.iterdir()] == ["lock"]


async def test_a_volume_that_shares_no_memory_is_a_home(
    injector: Injector, cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    injector.arm([Call.MAP], "ENODEV")
    async with site(cache.parent, upstream.url) as entrepot:
        await Lodger(entrepot, upstream, some_bytes(MiB)).lives_well()
    assert not injector.fired, "it is asked for none"


async def test_a_volume_that_keeps_neither_rights_nor_times_is_a_home(
    injector: Injector, cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    injector.arm([Call.CHMOD, Call.TIMES], "EPERM")
    async with site(cache.parent, upstream.url) as entrepot:
        await Lodger(entrepot, upstream, some_bytes(MiB)).lives_well()
    assert injector.fired


async def test_a_start_waits_for_few_syncs_so_a_slow_volume_is_a_home(
    injector: Injector, cache: Path, upstream: FaultUpstream
) -> None:
    """Each takes seconds there, and whoever started the process waits for them."""
    async with site(cache.parent, upstream.url) as entrepot:
        assert _syncs(injector, 0) <= 9
        await entrepot.stop()
        mark = injector.written
        await entrepot.start()
        assert _syncs(injector, mark) <= 3
        await entrepot.stop()


def _syncs(injector: Injector, mark: int) -> int:
    return sum(seen.call is Call.FSYNC for seen in injector.seen(mark))


async def test_while_a_volume_takes_seconds_for_a_sync_hits_and_pulls_go_on(
    injector: Injector, cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    async with site(cache.parent, upstream.url) as entrepot:
        held = Lodger(entrepot, upstream, some_bytes(MiB))
        await held.pull_until_held()
        injector.slow([Call.FSYNC], 3.0)
        new = Lodger(entrepot, upstream, some_bytes(MiB))
        assert await new.pull() == [HIT, STORED]
        async with asyncio.timeout(10):
            while not injector.fired:
                await asyncio.sleep(0.01)
        assert await held.pull() == [HIT, HIT]
        assert (await held.healthz()).status == 200
        assert (await new.pull())[1] != HIT, "all of that was answered while the sync was under way"
        injector.disarm()
        await new.pull_until_held()
        await entrepot.stop()


async def test_what_is_open_on_a_volume_may_turn_stale_and_is_opened_again(
    injector: Injector, cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    """NFS, when its server comes back as another one."""
    async with site(cache.parent, upstream.url) as entrepot:
        held = Lodger(entrepot, upstream, some_bytes(MiB))
        await held.pull_until_held()
        injector.age()
        new = Lodger(entrepot, upstream, some_bytes(MiB))
        await new.pull()
        await held.pull()
        assert injector.fired
        await new.pull_until_held()
        await held.pull_until_held()
        await new.readiness_until("ready")
        await entrepot.restart()
        assert await new.pull() == [HIT, HIT]
        await entrepot.stop()


async def test_a_volume_may_give_no_locks_any_more(
    injector: Injector, cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    """NFS, when its lock service ends."""
    async with site(cache.parent, upstream.url) as entrepot:
        held = Lodger(entrepot, upstream, some_bytes(MiB))
        await held.pull_until_held()
        injector.arm([Call.LOCK], "ENOLCK")
        new = Lodger(entrepot, upstream, some_bytes(MiB))
        assert await new.pull() == [HIT, STORED]
        await new.pull_until_held()
        await new.readiness_until("ready")
        assert not injector.fired, "what was locked at the start stays locked"
        injector.disarm()
        await entrepot.restart()
        assert await new.pull() == await held.pull() == [HIT, HIT]
        await entrepot.stop()

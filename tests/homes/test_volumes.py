"""A real process on real volumes."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cast import FaultUpstream
from tests.homes.lodger import BYPASS, HIT, STORED, Lodger, other_user, settings
from tests.homes.volumes import NEEDS_ROOT, Volume, image, mounted, needs, overlay, overlay_on, tmpfs
from tests.process import run
from tests.scenarios.house import MiB
from tests.scenarios.invariants import stored
from tests.scenarios.process import Site, site

pytestmark = NEEDS_ROOT
Bytes = Callable[[int], bytes]

VOLUMES = [
    pytest.param(tmpfs("16m"), id="tmpfs"),
    pytest.param(overlay, id="overlay"),
    pytest.param(image("ext4", "16m"), id="ext4"),
    pytest.param(image("xfs", "320m"), id="xfs", marks=[needs("mkfs.xfs"), pytest.mark.heavy]),
    pytest.param(image("btrfs", "120m"), id="btrfs", marks=[needs("mkfs.btrfs"), pytest.mark.heavy]),
]


@pytest.mark.parametrize("volume", VOLUMES)
async def test_a_cache_lives_on_every_file_system(
    volume: Volume, cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    with volume(cache):
        async with site(cache.parent, upstream.url) as entrepot:
            await Lodger(entrepot, upstream, some_bytes(MiB)).lives_well()


async def test_a_folder_of_root_whose_group_may_write_is_a_home_of_a_user_in_that_group(
    cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    """Kubernetes: ``fsGroup`` and ``runAsUser``."""
    with tmpfs("16m")(cache):
        os.chown(cache, 0, 2000)
        cache.chmod(0o2770)
        async with site(cache.parent, upstream.url, under=other_user(2000)) as entrepot:
            await Lodger(entrepot, upstream, some_bytes(MiB)).lives_well()
        assert "belongs to user 0, and this process runs as user 65534: it is used" in entrepot.output.read_text()
        assert (cache / "format").stat().st_uid == 65534, "it really ran as that user"


async def test_a_volume_of_root_is_refused_to_another_user_with_what_helps(
    cache: Path, upstream: FaultUpstream
) -> None:
    """Docker: a new volume of an image that has no such folder."""
    with tmpfs("16m", "mode=755")(cache):
        entrepot = Site(cache.parent, upstream.url, under=other_user())
        await entrepot.launch()
        assert await entrepot.ended() == 2
        assert f"give it away with: chown -R 65534 {cache} (in Kubernetes: set fsGroup)" in entrepot.output.read_text()


async def test_a_cache_that_an_image_brings_is_used_and_changed_above_it(
    cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    old, new = some_bytes(MiB), some_bytes(MiB)
    async with site(cache.parent, upstream.url) as entrepot:
        await Lodger(entrepot, upstream, old).pull_until_held()
        await entrepot.stop()
    with overlay_on(lambda below: run(["cp", "-a", f"{cache}/.", str(below)]))(cache):
        async with site(cache.parent, upstream.url) as entrepot:
            held = Lodger(entrepot, upstream, old)
            assert await held.pull() == [HIT, HIT]
            assert await Lodger(entrepot, upstream, new).pull() == [HIT, STORED]
            (path,) = cache.glob(f"blobs/sha256/*/{held.digest.encoded}")
            path.chmod(0o644)
            path.write_bytes(new)
            assert await held.pull() == [HIT, STORED], "changed bytes are put aside and fetched anew"
            await held.pull_until_held()
            await entrepot.stop()
        assert held.digest in stored(cache)


async def test_a_volume_that_fills_up_goes_on_and_takes_more_when_it_has_grown(
    cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    with tmpfs("4m")(cache):
        async with site(cache.parent, upstream.url) as entrepot:
            first = Lodger(entrepot, upstream, some_bytes(MiB))
            await first.pull_until_held()
            (cache / "ballast").write_bytes(bytes(4 * MiB - _used(cache) - 65_536))
            large = Lodger(entrepot, upstream, some_bytes(MiB + 200_000))
            assert HIT not in [(await large.pull())[1] for _ in range(2)]
            await entrepot.restart()
            assert HIT not in [(await large.pull())[1] for _ in range(2)]
            run(["mount", "-o", "remount,size=32m", str(cache)])
            await large.pull_until_held()
            await first.pull_until_held()
            await entrepot.stop()
        assert {first.digest, large.digest} <= set(stored(cache))


async def test_a_volume_that_turns_read_only_serves_what_it_holds_and_heals(
    cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    with tmpfs("16m")(cache):
        async with site(cache.parent, upstream.url) as entrepot:
            held = Lodger(entrepot, upstream, some_bytes(MiB))
            await held.pull_until_held()
            await entrepot.kill()  # what is open for writing keeps a volume from turning read-only
            run(["mount", "-o", "remount,ro", str(cache)])
            await entrepot.start()
            new = Lodger(entrepot, upstream, some_bytes(MiB))
            assert (await held.pull())[1] == HIT
            assert (await new.pull())[1] == BYPASS
            assert "Read-only file system" in await new.readiness()
            run(["mount", "-o", "remount,rw", str(cache)])
            await new.pull_until_held()
            await new.readiness_until("ready")
            await entrepot.stop()
        assert {held.digest, new.digest} <= set(stored(cache))


async def test_a_volume_smaller_than_what_is_to_stay_free_says_so_at_the_start(
    cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    with tmpfs("16m")(cache):
        async with site(cache.parent, upstream.url, settings(cache, min_free="max(5%, 5GiB)")) as entrepot:
            lodger = Lodger(entrepot, upstream, some_bytes(MiB))
            assert "lower cache.min_free, or give the cache a larger volume" in await lodger.readiness()
            assert await lodger.pull() == [BYPASS, BYPASS]
            await entrepot.stop()


async def test_a_volume_that_comes_too_late_is_a_folder_of_its_own(
    cache: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    """One that is mounted over the folder of a running process is used from the next start on, and hides nothing that
    was answered."""
    async with site(cache.parent, upstream.url) as entrepot:
        lodger = Lodger(entrepot, upstream, some_bytes(MiB))
        await lodger.pull_until_held()
        with mounted(cache, "-t", "tmpfs", "-o", "size=16m", "tmpfs"):
            assert await lodger.pull() == [HIT, HIT]
            await entrepot.restart()
            await lodger.pull_until_held()
            await entrepot.stop()
            assert lodger.digest in stored(cache)


def _used(folder: Path) -> int:
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bavail) * found.f_frsize

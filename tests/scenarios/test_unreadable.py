"""Files whose bytes the disk does not give back: pulls of them come from upstream, and a verification goes on."""

import asyncio
import errno
import os
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Any

import pytest

from proxy.core.names import Digest
from tests.cast import FaultUpstream
from tests.scenarios.client import Cut
from tests.scenarios.house import APP, House, MiB, blob_path, manifest_path

Bytes = Callable[[int], bytes]
RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'


class Unreadable:
    """Every read of the file that this content is in now fails with EIO; ``fired`` counts them."""

    def __init__(self, house: House, digest: Digest, patched: pytest.MonkeyPatch) -> None:
        self.fired = 0
        self._file = (house.folder / "blobs" / digest.algorithm / digest.encoded[:2] / digest.encoded).stat()
        for call, place in (("pread", 0), ("preadv", 0), ("sendfile", 1)):
            patched.setattr(os, call, self._failing(getattr(os, call), place))

    def _failing(self, real: Callable[..., object], place: int) -> Callable[..., object]:
        def call(*given: Any, **more: Any) -> object:
            if os.path.samestat(os.fstat(given[place]), self._file):
                self.fired += 1
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return real(*given, **more)

        return call


async def pull_until_right(house: House, path: str) -> bytes:
    """A large reply whose head is out ends short, until its file is out of the way."""
    while True:
        with suppress(Cut):
            reply = await house.get(path)
            assert reply.status == 200
            return reply.body
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("what", ["manifest", "small", "large"])
async def test_what_cannot_be_read_comes_from_upstream_and_is_held_again(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    raws = {"manifest": RAW, "small": some_bytes(1000), "large": some_bytes(MiB)}
    digests = {name: upstream.blob(APP, raws[name]) for name in ("small", "large")}
    digests["manifest"] = upstream.manifest(APP, "v1", RAW)
    paths = {name: blob_path(digests[name]) for name in ("small", "large")}
    paths["manifest"] = manifest_path(digests["manifest"])
    for path in paths.values():
        assert (await house.get(path)).status == 200
    await house.quiet()
    await house.restart()
    with monkeypatch.context() as patched:
        unreadable = Unreadable(house, digests[what], patched)
        for name, path in paths.items():
            assert await pull_until_right(house, path) == raws[name]
        await house.quiet()
        assert unreadable.fired
    for name, path in paths.items():
        reply = await house.get(path)
        assert (reply.body, reply.headers["cache-status"]) == (raws[name], "entrepot; hit")


async def test_a_verification_goes_on_behind_what_cannot_be_read(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    digests = sorted(upstream.blob(APP, some_bytes(1000)) for _ in range(3))
    for digest in digests:
        assert (await house.get(blob_path(digest))).status == 200
    await house.quiet()
    with monkeypatch.context() as patched:
        unreadable = Unreadable(house, digests[1], patched)
        async with aclosing(house.cache.maintenance.scrub.verify(1e12)) as checks:
            checked = {check.content.digest: check.good async for check in checks}
        assert unreadable.fired
    assert checked == {digests[0]: True, digests[1]: False, digests[2]: True}
    assert (await house.get(blob_path(digests[1]))).headers["cache-status"] == "entrepot; fwd=miss; stored"

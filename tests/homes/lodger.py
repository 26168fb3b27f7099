"""What a cache does in its folder, wherever that is: pulls, hits without upstream, and the same after a restart."""

import asyncio
import json
from pathlib import Path
from typing import Any

from proxy.core.names import Digest
from tests.cast import FaultUpstream
from tests.scenarios.client import Reply
from tests.scenarios.house import APP, blob_path, manifest_path
from tests.scenarios.invariants import stored
from tests.scenarios.process import Site

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
HIT, STORED, BYPASS = "entrepot; hit", "entrepot; fwd=miss; stored", "entrepot; fwd=bypass"
_PATIENCE = 30.0  # seconds


def settings(cache: Path, **changes: Any) -> dict[str, Any]:
    return {"cache": {"path": str(cache), "max_size": "2GiB", "min_free": 0, **changes}}


def other_user(*groups: int) -> tuple[str, ...]:
    """The words by which a command becomes one of a user with no rights, but to read: so that it finds its code and its
    configuration wherever they are."""
    supplementary = ",".join(map(str, groups))
    given = ("--groups", supplementary) if groups else ("--clear-groups",)
    rights = ("--inh-caps", "-all,+dac_read_search", "--ambient-caps", "-all,+dac_read_search")
    return (
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        *given,
        *rights,
        "--bounding-set",
        "-all,+dac_read_search",
    )


class Lodger:
    """An image of one layer, and the process that caches it."""

    def __init__(self, site: Site, upstream: FaultUpstream, layer: bytes) -> None:
        self.site = site
        self.layer = layer
        self.digest: Digest = upstream.blob(APP, layer)
        self._upstream = upstream
        upstream.manifest(APP, "v1", RAW)

    async def pull(self) -> list[str]:
        """How it came, manifest and layer; both are right."""
        manifest, layer = await self.site.get(manifest_path("v1")), await self.site.get(blob_path(self.digest))
        assert (manifest.status, manifest.body, layer.status) == (200, RAW, 200)
        assert layer.body == self.layer
        return [manifest.headers["cache-status"], layer.headers["cache-status"]]

    async def pull_until_held(self) -> None:
        """What goes on behind an answer may not be over when the answer is."""
        async with asyncio.timeout(_PATIENCE):
            while await self.pull() != [HIT, HIT]:
                await asyncio.sleep(0.05)

    async def lives_well(self) -> None:
        """The first pull, a hit without upstream, the same behind a restart."""
        assert await self.pull() == [STORED, STORED]
        await self.pull_until_held()
        await self._upstream.vanish()
        assert await self.pull() == [HIT, HIT]
        await self.site.restart()
        assert await self.pull() == [HIT, HIT]
        assert await self.readiness() == "ready"
        await self.site.stop()
        assert self.digest in stored(self.site.folder)

    async def readiness(self) -> str:
        """``ready``, or what is wrong in the words of ``entrepot status``."""
        told = json.loads((await self.site.ask_admin("/api/v1/status")).body)
        return "; ".join(f"{what}: {words}" for what, words in told["degraded"].items()) or str(told["state"])

    async def readiness_until(self, words: str) -> None:
        async with asyncio.timeout(_PATIENCE):
            while words not in await self.readiness():
                await asyncio.sleep(0.1)

    async def healthz(self) -> Reply:
        return await self.site.ask_admin("/healthz")

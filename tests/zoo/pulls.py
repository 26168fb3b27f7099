"""Pulls as clients make them, by the name of the registry, through a running Entrepot."""

import asyncio
import json
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

from proxy.core.names import Digest
from tests.scenarios.client import Client, Cut, Reply
from tests.scenarios.process import Site
from tests.zoo.registry import OCI_MANIFEST, ScriptedRegistry

LAYER = 300_000  # bytes; more than is held back until a digest agrees
_PATIENCE = 20.0  # seconds
_SPELL = 8.0  # seconds that an upstream is left alone for at most, after the little that it does wrong here


class Image(NamedTuple):
    name: str  # of the repository, as the registry knows it
    tag: str
    raw: bytes
    digest: Digest
    blobs: Mapping[Digest, bytes]  # config and layers

    @property
    def layer(self) -> Digest:
        return max(self.blobs, key=lambda digest: len(self.blobs[digest]))


class Pulls:
    """``registries`` by the names that clients write."""

    def __init__(self, site: Site, registries: Mapping[str, ScriptedRegistry]) -> None:
        self.site = site
        self.registries = registries

    async def get(self, path: str, method: str = "GET") -> Reply:
        async with await self.asking(path, method) as client:
            return await client.reply(method)

    async def asking(self, path: str, method: str = "GET") -> Client:
        """A client that has asked, and reads when the scene says so."""
        client = await Client.connect(self.site.port)
        await client.ask(path, method=method)
        return client

    async def by_tag(self, registry: ScriptedRegistry, image: Image) -> Reply:
        return await self.get(manifest_path(registry, image.name, image.tag))

    async def by_digest(self, registry: ScriptedRegistry, image: Image) -> Reply:
        return await self.get(manifest_path(registry, image.name, image.digest))

    async def blob(self, registry: ScriptedRegistry, image: Image, digest: Digest, method: str = "GET") -> Reply:
        return await self.get(blob_path(registry, image.name, digest), method)

    async def whole(self, registry: ScriptedRegistry, image: Image) -> list[str]:
        """Manifest by tag, then its blobs; what ``Cache-Status`` said of each."""
        replies = [await self.by_tag(registry, image)]
        assert (replies[0].status, replies[0].body) == (200, image.raw), replies[0]
        for digest, content in image.blobs.items():
            replies.append(await self.blob(registry, image, digest))
            assert replies[-1].status == 200, replies[-1]
            assert replies[-1].body == content
        await self.settled()
        return [outcome(reply) for reply in replies]

    async def refused_or_cut(self, registry: ScriptedRegistry, image: Image, digest: Digest) -> bool:
        """No client takes for a blob what came."""
        try:
            return (await self.blob(registry, image, digest)).status in {502, 503, 504}
        except Cut:
            return True

    async def requests_under_way(self, count: int) -> None:
        """Until Entrepot says that so many have not been answered."""
        async with asyncio.timeout(_PATIENCE):
            while (await self._status())["requests_active"] != count:
                await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """What has been sent is held: a blob is committed behind its last byte."""
        async with asyncio.timeout(_PATIENCE):
            while (await self._status())["fills"]["arriving"]:
                await asyncio.sleep(0.005)

    async def _status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.site.ask_admin("/api/v1/status")).body)
        return found

    async def comes_back(self, registry: ScriptedRegistry, image: Image) -> None:
        """Until all of it can be had: an upstream that was away may be left alone for a while."""
        async with asyncio.timeout(_SPELL):
            while (await self.by_tag(registry, image)).status != 200:
                await asyncio.sleep(0.1)
            while (await self.blob(registry, image, image.layer)).status != 200:
                await asyncio.sleep(0.1)


def put_image(registry: ScriptedRegistry, slug: str, tag: str = "v1") -> Image:
    """A config and a layer that no other repository has."""
    name = registry.repository(slug)
    layer = random.Random(f"{registry.name}/{name}").randbytes(LAYER)
    config = json.dumps({"architecture": "amd64", "os": "linux", "of": f"{registry.name}/{name}"}).encode()
    blobs = {registry.put_blob(name, content): content for content in (config, layer)}
    described = [
        {"mediaType": "application/octet-stream", "digest": str(digest), "size": len(content)}
        for digest, content in blobs.items()
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": described[1:]}
    raw = json.dumps(document).encode()
    return Image(name, tag, raw, registry.put_manifest(name, tag, raw), blobs)


def outcome(reply: Reply) -> str:
    return reply.headers["cache-status"].removeprefix("entrepot; ")


def reason(reply: Reply) -> tuple[str, str]:
    """Code and message of an OCI error (distribution-spec "Error Codes")."""
    first = json.loads(reply.body)["errors"][0]
    return first["code"], first["message"]


def base_path(registry: ScriptedRegistry, name: str) -> str:
    return f"/v2/{registry.name}/{name}"


def manifest_path(registry: ScriptedRegistry, name: str, reference: str) -> str:
    return f"{base_path(registry, name)}/manifests/{reference}"


def blob_path(registry: ScriptedRegistry, name: str, digest: str) -> str:
    return f"{base_path(registry, name)}/blobs/{digest}"


async def is_served_stale(pulls: Pulls, registry: ScriptedRegistry, image: Image) -> None:
    """Its tag as stale, its blobs as hits."""
    stale = await pulls.by_tag(registry, image)
    assert (stale.status, stale.body) == (200, image.raw), stale
    assert outcome(stale) == "hit; detail=stale"
    assert stale.headers["warning"].startswith("299 ")
    assert stale.headers["age"].isdigit()
    for digest, content in image.blobs.items():
        reply = await pulls.blob(registry, image, digest)
        assert (reply.body, outcome(reply)) == (content, "hit")

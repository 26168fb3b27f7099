"""Registries, storage and what stands in front of them, with the oddities of their public reports: each costs a retry
at most, and none is taken for a verdict or for wrong bytes."""

import base64
import json

import pytest

from proxy.core.errors import UpstreamFailed, WrongBytes
from proxy.core.manifests import DOCKER_SIGNED_V1, ManifestFacts
from proxy.core.names import Digest, Tag
from proxy.upstream.contract import FetchedManifest
from tests.cast import Act, FaultUpstream, Line, roles
from tests.upstream.rig import NAME, client_of, drained, pulled

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
BARE = b'{"schemaVersion":2,"manifests":[]}'
TAG = Tag("1")
HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = b"<html>We are back soon</html>"


@pytest.mark.parametrize("status", [200, 403, 404, 503])
async def test_a_page_in_place_of_a_manifest_is_an_outage_and_no_verdict(status: int) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.manifest(NAME, "1", RAW)
        up.always("manifest", roles.answers(status, PAGE, HTML))
        for ask in (registry.manifest(NAME, TAG), registry.manifest(NAME, digest), registry.manifest_digest(NAME, TAG)):
            with pytest.raises(UpstreamFailed):
                await ask


async def test_a_page_that_is_shown_once_is_asked_past() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", RAW)
        up.plays("manifest", roles.answers(200, PAGE, HTML))
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert up.unplayed == 0


async def test_a_page_in_place_of_a_blob_is_an_outage_and_gives_no_right() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, b"x" * 1000)
        up.always("blob", roles.answers(200, PAGE, HTML))
        with pytest.raises(UpstreamFailed, match="page"):
            await registry.blob(NAME, digest)
        with pytest.raises(UpstreamFailed, match="page"):
            await registry.check_blob(NAME, digest, None)
        with pytest.raises(UpstreamFailed, match="page"):
            await registry.blob_size(NAME, digest)


async def test_a_blob_that_is_a_page_is_a_blob() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = Digest.of(PAGE)
        up.page(f"/v2/{NAME}/blobs/{digest}", PAGE, HTML)
        assert await pulled(registry, digest) == PAGE
        await registry.check_blob(NAME, digest, len(PAGE))


@pytest.mark.parametrize("encoding", ["aws-chunked", "gzip", "aws-chunked,gzip"])
async def test_an_encoding_that_is_named_on_intact_bytes_does_not_matter(encoding: str) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest, named = Digest.of(RAW), {"Content-Encoding": encoding}
        up.page(f"/v2/{NAME}/manifests/1", RAW, named)
        up.page(f"/v2/{NAME}/blobs/{digest}", RAW, named)
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert await pulled(registry, digest) == RAW
        await registry.check_blob(NAME, digest, len(RAW))


@pytest.mark.parametrize("cut", [roles.ends_early(10), roles.chunked(7, cut_after=2)])
async def test_a_small_answer_that_breaks_off_is_asked_for_again(cut: Act) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", RAW)
        up.tags(NAME, ["a", "b"])
        subject = Digest.of(b"subject")
        up.page(f"/v2/{NAME}/referrers/{subject}", BARE)
        for kind in ("manifest", "tags", "referrers"):
            up.plays(kind, cut, cut)
        assert (await registry.manifest(NAME, TAG)).raw == RAW
        assert (await registry.tags(NAME, "")).tags == ["a", "b"]
        assert (await registry.referrers(NAME, subject, "")).raw == BARE
        assert up.unplayed == 0


@pytest.mark.parametrize("status", [400, 403, 416, 501])
async def test_a_registry_that_refuses_range_is_asked_without_it(status: int) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        content = b"x" * 1000
        digest = up.blob(NAME, content)

        async def act(line: Line) -> None:
            await (roles.answers(status) if line.range else roles.steady)(line)

        up.always("blob", act)
        await registry.check_blob(NAME, digest, 1000)
        assert await registry.blob_size(NAME, digest) == 1000
        transfer = await registry.blob(NAME, digest, 500)
        assert transfer.offset == 0
        assert await drained(transfer) == content


async def test_a_location_of_nine_thousand_characters_is_followed_by_both_clients() -> None:
    async with FaultUpstream() as up, FaultUpstream() as storage, client_of(up) as registry:
        digest = up.blob(NAME, RAW)
        storage.page("/b", RAW)
        up.always("blob", roles.redirects(f"{storage.url}/b?X-Amz-Security-Token={'A' * 9000}"))
        await registry.check_blob(NAME, digest, len(RAW))
        assert await pulled(registry, digest) == RAW


async def test_a_signed_manifest_of_schema_1_is_known_by_the_digest_of_its_payload() -> None:
    payload = b'{\n   "schemaVersion": 1,\n   "fsLayers": []\n}'
    form = json.dumps({"formatLength": len(payload) - 2, "formatTail": "Cn0"}).encode()
    protected = base64.urlsafe_b64encode(form).rstrip(b"=")
    raw = payload[:-2] + b',\n   "signatures": [{"protected": "' + protected + b'"}]' + payload[-2:]
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = Digest.of(payload)
        for reference in ("1", digest):
            up.page(f"/v2/{NAME}/manifests/{reference}", raw)
        by_tag, by_digest = await registry.manifest(NAME, TAG), await registry.manifest(NAME, digest)
        assert by_tag == by_digest == FetchedManifest(raw, digest, ManifestFacts(DOCKER_SIGNED_V1, (), None), True)
        up.page(f"/v2/{NAME}/manifests/{Digest.of(b'other')}", raw)
        with pytest.raises(WrongBytes):
            await registry.manifest(NAME, Digest.of(b"other"))

"""Manifests, tags and referrers: what is passed on, and what is never taken for one."""

import gzip
import json

import pytest

from proxy.core.errors import (
    BlobUnknown,
    ManifestUnknown,
    NameUnknown,
    ReferrersUnsupported,
    UpstreamBroken,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
    UpstreamUnreachable,
    WrongBytes,
)
from proxy.core.manifests import ACCEPT, ManifestFacts
from proxy.core.manifests import OCI_INDEX as INDEX
from proxy.core.manifests import OCI_MANIFEST as MANIFEST
from proxy.core.names import Digest, Tag
from proxy.upstream.contract import FetchedManifest, ReferrersPage, TagsPage
from tests.cast import Act, FaultUpstream, roles
from tests.upstream.rig import HASTY, NAME, client_of

RAW = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "config": {}, "layers": []}, indent=3).encode()
BARE = b'{"schemaVersion":2,"manifests":[]}'
TAG = Tag("1")


async def test_a_manifest_arrives_byte_for_byte_with_the_whole_accept_list() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.manifest(NAME, "1", RAW)
        assert await registry.manifest(NAME, TAG) == FetchedManifest(RAW, digest, ManifestFacts(MANIFEST, (), None))
        assert await registry.manifest(NAME, digest) == FetchedManifest(RAW, digest, ManifestFacts(MANIFEST, (), None))
        assert {seen.headers["accept"] for seen in up.ledger} == {ACCEPT}


async def test_sha512_is_verified_too() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = Digest.of(RAW, "sha512")
        up.page(f"/v2/{NAME}/manifests/{digest}", RAW)
        assert (await registry.manifest(NAME, digest)).digest == digest


async def test_bytes_that_do_not_match_their_digest_are_a_broken_upstream() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.manifest(NAME, None, RAW)
        up.always("manifest", roles.lies(at=3))
        with pytest.raises(WrongBytes, match="do not match"):
            await registry.manifest(NAME, digest)
        up.always("manifest", roles.steady)
        up.plays("manifest", roles.lies(at=3))
        assert (await registry.manifest(NAME, digest)).raw == RAW  # once is asked past
        assert up.unplayed == 0


async def test_the_digest_header_is_not_believed() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.page(f"/v2/{NAME}/manifests/1", RAW, {"Docker-Content-Digest": Digest.of(b"other")})
        assert (await registry.manifest(NAME, TAG)).digest == Digest.of(RAW)


@pytest.mark.parametrize("content_type", ["application/json", "text/plain; charset=utf-8", None])
async def test_a_generic_type_gives_way_to_what_the_fields_show(content_type: str | None) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", BARE)
        up.always("manifest", roles.typed(content_type))
        assert (await registry.manifest(NAME, TAG)).facts.media_type == INDEX


@pytest.mark.parametrize(
    "act",
    [
        roles.answers(200, b"<html>log in</html>", {"Content-Type": "text/html"}),
        roles.answers(200, b""),
        roles.answers(204),
        roles.answers(206, RAW[:5]),
        roles.answers(304),
        roles.answers(200, b"[]"),
        roles.answers(200, b'{"a":' * 3000),
        roles.answers(200, b" " * (4 << 20) + RAW),
        roles.answers(418),
        roles.endless,
    ],
    ids=["html", "empty", "204", "part", "304", "list", "deep", "huge", "418", "endless"],
)
async def test_what_is_no_manifest_is_never_taken_for_one(act: Act) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", RAW)
        up.always("manifest", act)
        with pytest.raises((UpstreamBroken, UpstreamFailed)):
            await registry.manifest(NAME, TAG)


@pytest.mark.parametrize("act", [roles.vanishes(10), roles.ends_early(10), roles.chunked(10, cut_after=1)])
async def test_a_manifest_that_breaks_off_is_an_outage(act: Act) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", RAW)
        up.always("manifest", act)
        with pytest.raises(UpstreamUnreachable):
            await registry.manifest(NAME, TAG)


async def test_a_manifest_that_stalls_is_given_up() -> None:
    async with FaultUpstream() as up, client_of(up, limits=HASTY) as registry:
        up.manifest(NAME, "1", RAW)
        up.always("manifest", roles.stalls(10))
        with pytest.raises(UpstreamTimeout):
            await registry.manifest(NAME, TAG)


@pytest.mark.parametrize("act", [roles.chunked(7), roles.unmeasured(), roles.then_closes])
async def test_framing_does_not_matter(act: Act) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.manifest(NAME, "1", RAW)
        up.always("manifest", act)
        for _ in range(3):
            assert (await registry.manifest(NAME, TAG)).raw == RAW


async def test_where_a_tag_points_is_asked_by_head() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.manifest(NAME, "1", RAW)
        assert (await registry.manifest_digest(NAME, TAG)).digest == digest
        assert (await registry.manifest_digest(NAME, digest)).digest == digest
        assert [seen.method for seen in up.ledger] == ["HEAD", "HEAD"]  # a no is confirmed by GET
        with pytest.raises(ManifestUnknown):
            await registry.manifest_digest(NAME, Tag("none"))


@pytest.mark.parametrize(
    "act",
    [
        roles.without("docker-content-digest"),
        roles.answers(200, b"", {"Docker-Content-Digest": "md5:1"}),
        *(roles.answers(status) for status in (400, 401, 403, 404, 405, 500, 501, 503)),
    ],
)
async def test_a_head_that_tells_nothing_is_followed_by_a_get(act: Act) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.manifest(NAME, "1", RAW)
        up.plays("manifest", act)
        assert (await registry.manifest_digest(NAME, TAG)).digest == digest
        assert [seen.method for seen in up.ledger] == ["HEAD", "GET"]


async def test_the_remaining_quota_is_noted() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.page(f"/v2/{NAME}/manifests/1", RAW, {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600"})
        await registry.manifest(NAME, TAG)
        assert registry.stats.rate_limit_remaining == 76
        assert registry.stats.rate_limit == 100
        assert registry.stats.first_bytes["manifest"].count == 1


async def test_tags_come_in_pages() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        link = {"Link": f'<http://evil.test/v2/{NAME}/tags/list?last=b%2B&n=2&x=y>; rel="next"'}
        up.page(f"/v2/{NAME}/tags/list", b'{"name":"x","tags":["a","b"]}', link)
        assert await registry.tags(NAME, "n=2&last=0") == TagsPage(["a", "b"], "last=b%2B&n=2&x=y")
        assert up.ledger[0].target == f"/v2/{NAME}/tags/list?n=2&last=0"
        up.page(f"/v2/{NAME}/tags/list", b'{"name":"x","tags":null}')
        assert await registry.tags(NAME, "") == TagsPage([], None)
        assert up.ledger[1].target == f"/v2/{NAME}/tags/list"


async def test_a_registry_that_refuses_so_many_tags_is_asked_for_as_many_as_it_likes() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.tags(NAME, ["a"])
        up.plays("tags", roles.refuses(400, "PAGINATION_NUMBER_INVALID"))
        assert await registry.tags(NAME, "n=1000&last=x") == TagsPage(["a"], None)
        assert up.ledger[-1].target == f"/v2/{NAME}/tags/list?last=x"


@pytest.mark.parametrize("body", [b'{"tags":"a"}', b'{"tags":[1]}', b'{"tags":{"a":1}}'])
async def test_what_is_no_list_of_tags_is_a_broken_upstream(body: bytes) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.page(f"/v2/{NAME}/tags/list", body)
        with pytest.raises(UpstreamBroken):
            await registry.tags(NAME, "")


@pytest.mark.parametrize("body", [b"[]", b"<html>", b""])
async def test_a_page_in_place_of_tags_is_an_outage(body: bytes) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.page(f"/v2/{NAME}/tags/list", body)
        with pytest.raises(UpstreamFailed):
            await registry.tags(NAME, "")


async def test_tags_in_gzip_are_read() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        up.page(f"/v2/{NAME}/tags/list", gzip.compress(b'{"tags":["a"]}'), {"Content-Encoding": "gzip"})
        assert (await registry.tags(NAME, "")).tags == ["a"]


async def test_referrers_are_an_index_with_its_filter_and_its_next_page() -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = Digest.of(b"subject")
        headers = {"OCI-Filters-Applied": "artifactType", "Link": '</x?artifactType=a&page=2>; rel="next"'}
        up.page(f"/v2/{NAME}/referrers/{digest}", BARE, {"Content-Type": INDEX, **headers})
        page = await registry.referrers(NAME, digest, "artifactType=a")
        assert page == ReferrersPage(BARE, True, "artifactType=a&page=2")
        assert up.ledger[0].target.endswith("?artifactType=a")


async def test_whatever_is_no_index_means_that_there_are_no_referrers() -> None:
    digest = Digest.of(b"subject")
    async with FaultUpstream() as up, FaultUpstream() as web, client_of(up) as registry:
        acts = [
            roles.answers(404),
            roles.answers(400),
            roles.answers(405),
            roles.answers(200, b"<html></html>"),
            roles.answers(200, b"{}"),
            roles.answers(200, b'{"manifests":7}'),
            roles.redirects(f"{web.url}/login", 303),
        ]
        up.plays("referrers", *acts)
        for _ in acts:
            with pytest.raises(ReferrersUnsupported):
                await registry.referrers(NAME, digest, "")
        assert web.ledger == []
        up.plays("referrers", roles.refuses(403))
        with pytest.raises(UpstreamRefused):
            await registry.referrers(NAME, digest, "")


async def test_the_right_to_a_blob_is_asked_for_without_fetching_it() -> None:
    content = b"x" * 100_000
    async with FaultUpstream() as up, FaultUpstream() as storage, client_of(up) as registry:
        digest, empty = up.blob(NAME, content), up.blob(NAME, b"")
        await registry.check_blob(NAME, digest, len(content))
        await registry.check_blob(NAME, empty, 0)
        with pytest.raises(BlobUnknown):
            await registry.check_blob(NAME, Digest.of(b"another"), 7)
        storage.page("/x", content)
        up.plays("blob", roles.redirects(f"{storage.url}/x"), roles.refuses(404, "NAME_UNKNOWN"))
        await registry.check_blob(NAME, digest, len(content))
        with pytest.raises(NameUnknown):
            await registry.check_blob(NAME, digest, len(content))
        assert {seen.method for seen in [*up.ledger, *storage.ledger]} == {"GET"}
        assert sum(seen.sent for seen in up.ledger if seen.target.endswith(digest)) < 1000
        assert [seen.sent for seen in storage.ledger] == [1]


@pytest.mark.parametrize(
    "act",
    [
        roles.misplaces("bytes 0-0/100001"),
        roles.misplaces("bytes 0-0/*"),
        roles.misplaces("bytes 1-1/100000"),
        roles.misplaces(""),
        roles.answers(200, b"another"),
        roles.answers(204),
        roles.answers(304),
    ],
)
async def test_what_is_no_final_yes_of_the_right_size_gives_no_right_to_a_blob(act: Act) -> None:
    async with FaultUpstream() as up, client_of(up) as registry:
        digest = up.blob(NAME, b"x" * 100_000)
        up.plays("blob", act)
        with pytest.raises(UpstreamBroken):
            await registry.check_blob(NAME, digest, 100_000)
        assert up.unplayed == 0


@pytest.mark.parametrize("status", [401, 403, 404])
async def test_a_redirect_to_a_storage_host_that_refuses_gives_no_right_to_a_blob(status: int) -> None:
    async with FaultUpstream() as up, FaultUpstream() as storage, client_of(up) as registry:
        up.always("blob", roles.redirects(f"{storage.url}/x"))
        storage.always("/x", roles.answers(status))
        with pytest.raises(UpstreamBroken):
            await registry.check_blob(NAME, up.blob(NAME, b"x"), 1)
        assert storage.requests()

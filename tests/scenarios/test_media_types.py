"""The media type of a manifest: its own word, else what the repository's own upstream states and its fields allow. No
other repository has a say in it (CVE-2021-41190)."""

import json

import pytest

from proxy.core.names import Repository
from proxy.storage.contract import HeldImage
from tests.cast import FaultUpstream, roles
from tests.scenarios.house import APP, NAME, House, manifest_path

IMAGE, INDEX = "application/vnd.oci.image.manifest.v1+json", "application/vnd.oci.image.index.v1+json"
DOCKER, LIST = (
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
EVIL = "evil/app"
BARE_IMAGE = b'{"schemaVersion":2,"config":{},"layers":[]}'
BARE_INDEX = b'{"schemaVersion":2,"manifests":[]}'
BOTH = b'{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}'
NEITHER = b'{"schemaVersion":2,"blobs":[]}'


def named(document: bytes, media_type: str) -> bytes:
    return b'{"mediaType":"%b",%b' % (media_type.encode(), document[1:])


async def types(house: House, digest: str, repository: str = APP) -> set[str]:
    """As every way of asking gives it: by digest and by tag, GET and HEAD, on the full path and from memory."""
    found: set[str] = set()
    for reference in (digest, "v1"):
        for method in ("GET", "HEAD", "GET", "HEAD"):
            for headers in ({}, {"X-New": f"{method}{len(found)}"}):
                reply = await house.get(manifest_path(reference, repository), headers, method)
                assert reply.status == 200
                found.add(reply.headers["content-type"])
    return found


@pytest.mark.parametrize(
    ("raw", "stated", "expected"),
    [
        (BARE_IMAGE, IMAGE, IMAGE),
        (BARE_IMAGE, DOCKER, DOCKER),
        (BARE_IMAGE, INDEX, IMAGE),
        (BARE_IMAGE, LIST, IMAGE),
        (BARE_IMAGE, "application/json", IMAGE),
        (BARE_IMAGE, "application/x-poison", IMAGE),
        (BARE_INDEX, LIST, LIST),
        (BARE_INDEX, IMAGE, INDEX),
        (BARE_INDEX, DOCKER, INDEX),
        (BOTH, IMAGE, IMAGE),
        (BOTH, INDEX, INDEX),
        (BOTH, "text/plain", INDEX),
        (NEITHER, "application/vnd.oci.artifact.manifest.v1+json", "application/vnd.oci.artifact.manifest.v1+json"),
        (named(BARE_IMAGE, IMAGE), INDEX, IMAGE),
        (named(BARE_INDEX, LIST), IMAGE, LIST),
        (named(BOTH, IMAGE), INDEX, IMAGE),
        (named(BOTH, INDEX), IMAGE, INDEX),
    ],
)
async def test_what_is_served_is_what_the_bytes_say_or_allow(
    house: House, upstream: FaultUpstream, raw: bytes, stated: str, expected: str
) -> None:
    digest = upstream.manifest(APP, "v1", raw, stated)
    assert await types(house, digest) == {expected}
    await house.restart()
    assert await types(house, digest) == {expected}


@pytest.mark.parametrize("first", ["the victim", "the other"])
@pytest.mark.parametrize(
    ("raw", "mine", "theirs"),
    [
        (BARE_IMAGE, DOCKER, IMAGE),
        (BARE_INDEX, INDEX, LIST),
        (BOTH, IMAGE, INDEX),
        (NEITHER, IMAGE, "application/x-poison"),
    ],
)
async def test_another_repository_that_states_another_type_of_the_same_bytes_changes_nothing_here(
    house: House, upstream: FaultUpstream, raw: bytes, mine: str, theirs: str, first: str
) -> None:
    digest = upstream.manifest(APP, "v1", raw, mine)
    upstream.manifest(EVIL, "v1", raw, theirs)
    both = {APP: mine, EVIL: theirs}
    for repository in both if first == "the victim" else reversed(both):
        assert await types(house, digest, repository) == {both[repository]}
    for _ in range(2):
        for repository, expected in both.items():
            assert await types(house, digest, repository) == {expected}
            assert [image.content.media_type for image in await _images(house, repository)] == [expected]
        await house.restart()


async def test_referrers_are_listed_under_their_own_type(house: House, upstream: FaultUpstream) -> None:
    subject = upstream.manifest(APP, None, BARE_IMAGE)
    raw = json.dumps({"schemaVersion": 2, "config": {}, "layers": [], "subject": {"digest": subject}}).encode()
    for repository, stated in ((APP, DOCKER), (EVIL, IMAGE)):
        upstream.manifest(repository, "v1", raw, stated)
        await house.get(manifest_path("v1", repository))
    upstream.always("referrers", roles.closes_unanswered)
    listed = json.loads((await house.get(f"/v2/{NAME}/{APP}/referrers/{subject}")).body)["manifests"]
    assert [each["mediaType"] for each in listed] == [DOCKER]


async def test_a_blob_that_is_a_manifest_elsewhere_is_no_image_here(house: House, upstream: FaultUpstream) -> None:
    digest = upstream.blob(APP, BARE_IMAGE)
    upstream.manifest(EVIL, "v1", BARE_IMAGE)
    await house.get(f"/v2/{NAME}/{APP}/blobs/{digest}")
    await house.quiet()
    await house.get(manifest_path("v1", EVIL))
    assert await _images(house, APP) == []
    assert len(await _images(house, EVIL)) == 1
    assert (await house.get(f"/v2/{NAME}/{APP}/blobs/{digest}")).body == BARE_IMAGE
    assert (await house.get(manifest_path(digest, APP))).status == 404, "upstream never called it one there"


async def _images(house: House, repository: str) -> list[HeldImage]:
    return await house.catalog.contents.images(Repository(NAME, repository), "", 10)

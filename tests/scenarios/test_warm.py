"""Images brought before anybody pulls them: whole, by the ways that pulls go."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest

from proxy.cache.warm_ledger import WarmedImage
from proxy.cache.warming import WarmOrder
from proxy.cache.whole_images import PlatformWish, WholeImages
from proxy.core.manifests import OCI_INDEX, OCI_MANIFEST
from proxy.core.names import Digest, Repository, Tag
from proxy.core.platforms import Platform
from proxy.warm.references import WantedImage
from tests.cast import FaultUpstream, roles
from tests.scenarios.conftest import ELSEWHERE, under
from tests.scenarios.house import APP, NAME, House, MiB, blob_path, manifest_path
from tests.scenarios.invariants import stored
from tests.scenarios.shelf import Image, pull, put_image

IMAGE = f"{NAME}/{APP}"
AMD, ARM = Platform("linux", "amd64"), Platform("linux", "arm64")
HERE = PlatformWish((AMD,))


async def warmed(
    house: House, *images: str, wish: PlatformWish = HERE, pin: bool = False, newest: int | None = None
) -> list[WarmedImage]:
    """What became of them, by name."""
    ledger = house.cache.warming.ledger()
    await house.cache.warming.run(WarmOrder(images, wish, pin, newest), ledger)
    await house.quiet()
    return sorted(ledger.results)


async def brought(house: House, *images: str, wish: PlatformWish = HERE, newest: int | None = None) -> WarmedImage:
    """The only one, which is held whole."""
    [found] = await warmed(house, *images, wish=wish, newest=newest)
    assert not found.refused, found
    return found


async def refused(house: House, *images: str, wish: PlatformWish = HERE) -> tuple[str, str]:
    [found] = await warmed(house, *images, wish=wish)
    assert found.refused, found
    return found.kind, found.refused


def put_platforms(
    up: FaultUpstream, tag: str, *children: tuple[Image, Platform | None], more: Sequence[dict[str, Any]] = ()
) -> Image:
    """An index of them."""
    manifests = [
        {"mediaType": OCI_MANIFEST, "digest": child.digest, "size": 1}
        | ({"platform": {"os": platform.os, "architecture": platform.architecture}} if platform else {})
        for child, platform in children
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*manifests, *more]}
    digest = up.manifest(APP, tag, json.dumps(document).encode(), OCI_INDEX)
    return Image(digest, (), tuple(child for child, _ in children))


def put_referrers(up: FaultUpstream, subject: Digest, *referrers: Image) -> None:
    """The registry has the referrers API, and these."""
    manifests = [{"mediaType": OCI_MANIFEST, "digest": each.digest, "size": 1} for each in referrers]
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}
    up.page(f"/v2/{APP}/referrers/{subject}", json.dumps(document).encode(), {"Content-Type": OCI_INDEX})


async def served_without_upstream(house: House, upstream: FaultUpstream, image: Image, tag: str) -> None:
    before = len(upstream.requests())
    assert await pull(house, image, tag) == {"hit"}
    assert len(upstream.requests()) == before


async def test_an_image_is_held_whole_and_pulled_without_its_registry(house: House, upstream: FaultUpstream) -> None:
    image = put_image(upstream, "v1", b"one" * MiB, b"two" * 1000)
    found = await brought(house, f"{IMAGE}:v1")
    assert (found.digest, found.contents) == (image.digest, 4)
    assert found.fetched >= 3 * MiB + 3000
    assert set(stored(house.folder)) == image.all
    await served_without_upstream(house, upstream, image, "v1")


async def test_what_is_held_is_not_fetched_again(house: House, upstream: FaultUpstream) -> None:
    put_image(upstream, "v1", b"one" * 1000)
    await brought(house, f"{IMAGE}:v1")
    blobs = len(upstream.requests("blob"))
    found = await brought(house, f"{IMAGE}:v1")
    assert (found.fetched, found.contents) == (0, 3)
    assert len(upstream.requests("blob")) == blobs


async def test_a_layer_that_arrives_from_another_registry_is_waited_for_and_kept(
    house: House, upstream: FaultUpstream, elsewhere: FaultUpstream
) -> None:
    """Whose yes is no proof of its bytes: they are brought once more, after those that arrive."""
    shared, more = b"shared" * MiB, [b"%d" % number * 1000 for number in range(8)]
    layer = put_image(upstream, "v1", shared).parts[1]
    image = put_image(elsewhere, "v1", shared, *more)
    gate = asyncio.Event()
    upstream.plays("blob", roles.holds(MiB, gate))
    async with await house.pull(blob_path(layer)) as client:
        head = await client.head()
        warming = asyncio.create_task(warmed(house, f"{ELSEWHERE}/{APP}:v1"))
        while len(elsewhere.requests("blob")) < 1 + len(more) or len(house.cache.fills) > 1:
            await asyncio.sleep(0.005)
        gate.set()
        assert await client.rest(head) == shared
        [found] = await warming
    assert (found.refused, found.contents) == ("", len(image.all))
    asked = [seen for seen in elsewhere.requests("blob") if seen.target.endswith(layer)]
    assert [seen.sent for seen in asked] == [len(shared)]


async def test_the_same_name_twice_and_by_its_digest_is_fetched_once(house: House, upstream: FaultUpstream) -> None:
    image = put_image(upstream, "latest", b"one" * MiB)
    found = await warmed(house, IMAGE, f"{IMAGE}:latest", f"{IMAGE}@{image.digest}", f"{IMAGE}:old@{image.digest}")
    assert [each.name for each in found] == [f"{IMAGE}:latest", f"{IMAGE}@{image.digest}"]
    assert not any(each.refused for each in found)
    assert len(upstream.requests("blob")) == 2


async def test_a_name_by_the_path_form_means_the_upstream_within(house: House, upstream: FaultUpstream) -> None:
    image = put_image(upstream, "v1", b"one")
    found = await brought(house, f"entrepot.internal:5000/{IMAGE}:v1")
    assert found.name == f"{IMAGE}:v1"
    assert set(stored(house.folder)) == image.all
    kind, why = await refused(house, f"entrepot.internal:5000/{APP}:v1")
    assert (kind, "'entrepot.internal:5000' is not a configured upstream" in why) == ("unknown", True)


async def test_of_an_index_only_the_platforms_that_are_wanted_come_and_it_is_kept_whole_itself(
    house: House, upstream: FaultUpstream
) -> None:
    amd, arm = (put_image(upstream, None, name) for name in (b"amd64", b"arm64"))
    index = put_platforms(upstream, "v1", (amd, AMD), (arm, ARM))
    found = await brought(house, f"{IMAGE}:v1")
    assert found.digest == index.digest
    assert set(stored(house.folder)) == {index.digest, *amd.all}
    await brought(house, f"{IMAGE}:v1", wish=PlatformWish(None))
    assert set(stored(house.folder)) == index.all


async def test_what_is_attested_of_a_platform_comes_with_it(house: House, upstream: FaultUpstream) -> None:
    amd, arm, attested, other = (put_image(upstream, None, name) for name in (b"amd", b"arm", b"of amd", b"of arm"))
    more = [
        {
            "mediaType": OCI_MANIFEST,
            "digest": each.digest,
            "size": 1,
            "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.digest": about.digest},
        }
        for each, about in ((attested, amd), (other, arm))
    ]
    index = put_platforms(upstream, "v1", (amd, AMD), (arm, ARM), more=more)
    await brought(house, f"{IMAGE}:v1")
    assert set(stored(house.folder)) == {index.digest, *amd.all, *attested.all}


async def test_an_image_without_the_platform_says_what_it_has(house: House, upstream: FaultUpstream) -> None:
    put_platforms(upstream, "v1", (put_image(upstream, None, b"arm"), ARM))
    assert await refused(house, f"{IMAGE}:v1") == ("platform", "it has no linux/amd64: it has linux/arm64")


async def test_a_platform_that_is_named_has_to_be_there_and_one_of_a_default_need_not(
    house: House, upstream: FaultUpstream
) -> None:
    arm = put_image(upstream, None, b"arm")
    put_platforms(upstream, "v1", (arm, ARM))
    found = await brought(house, f"{IMAGE}:v1", wish=PlatformWish((AMD, ARM)))
    assert found.lacking == ("linux/amd64",)
    kind, _ = await refused(house, f"{IMAGE}:v1", wish=PlatformWish((AMD, ARM), each=True))
    assert kind == "platform"
    assert arm.all <= set(stored(house.folder)), "what there is is held all the same"


async def test_signatures_come_by_the_referrers_api_with_what_is_said_of_them(
    house: House, upstream: FaultUpstream
) -> None:
    amd = put_image(upstream, None, b"amd64")
    index = put_platforms(upstream, "v1", (amd, AMD))
    of_index = put_image(upstream, None, b"signature of the index", subject=index.digest)
    of_amd = put_image(upstream, None, b"sbom", subject=amd.digest)
    of_sbom = put_image(upstream, None, b"signature of the sbom", subject=of_amd.digest)
    put_referrers(upstream, index.digest, of_index)
    put_referrers(upstream, amd.digest, of_amd)
    put_referrers(upstream, of_amd.digest, of_sbom)
    found = await brought(house, f"{IMAGE}:v1")
    assert found.signatures == 3
    assert set(stored(house.folder)) == index.all | of_index.all | of_amd.all | of_sbom.all


async def test_a_registry_that_refuses_its_referrers_has_those_under_the_tag(
    house: House, upstream: FaultUpstream
) -> None:
    image = put_image(upstream, "v1", b"layer")
    referrer = put_image(upstream, None, b"a referrer", subject=image.digest)
    put_platforms(upstream, image.digest.replace(":", "-"), (referrer, None))
    upstream.always(f"/v2/{APP}/referrers/{image.digest}", roles.refuses())
    assert (await brought(house, f"{IMAGE}:v1")).signatures == 2


async def test_an_index_within_an_index_is_gone_into(house: House, upstream: FaultUpstream) -> None:
    amd, arm, other = (put_image(upstream, None, name) for name in (b"amd", b"arm", b"other"))
    inner = put_platforms(upstream, "inner", (arm, ARM))
    middle = put_platforms(upstream, "middle", (other, AMD))
    index = put_platforms(upstream, "v1", (amd, AMD), (inner, None), (middle, None))
    await brought(house, f"{IMAGE}:v1")
    assert set(stored(house.folder)) == {index.digest, inner.digest, middle.digest, *amd.all, *other.all}


async def test_signatures_come_under_the_fallback_tag_and_under_those_of_cosign(
    house: House, upstream: FaultUpstream
) -> None:
    image = put_image(upstream, "v1", b"layer")
    name = image.digest.replace(":", "-")
    signature = put_image(upstream, f"{name}.sig", b"cosign's")
    referrer = put_image(upstream, None, b"a referrer", subject=image.digest)
    listed = put_platforms(upstream, name, (referrer, None))
    found = await brought(house, f"{IMAGE}:v1")
    assert found.signatures == 3
    assert set(stored(house.folder)) == image.all | signature.all | listed.all
    before = len(upstream.requests())
    reply = await house.get(manifest_path(f"{name}.sig"))
    assert (reply.status, len(upstream.requests())) == (200, before)


async def test_tags_by_range_are_the_newest_versions_and_no_other(house: House, upstream: FaultUpstream) -> None:
    tags = ["1.26.9", "1.27.2", "1.27.10", "1.28.0", "1.28.1-rc.1", "2.0.0", "1.28", "latest", "1.27.9-alpine"]
    images = {tag: put_image(upstream, tag, tag.encode()) for tag in tags}
    upstream.tags(APP, tags)
    found = await warmed(house, f"{IMAGE}:^1.27", newest=2)
    assert [each.name for each in found] == [f"{IMAGE}:1.27.10", f"{IMAGE}:1.28.0"]
    assert set(stored(house.folder)) == images["1.27.10"].all | images["1.28.0"].all


async def test_tags_by_glob_of_a_list_in_pages(house: House, upstream: FaultUpstream) -> None:
    for tag in ("v1.9", "v1.10", "v2.0"):
        put_image(upstream, tag, tag.encode())
    pages = [["v1.9", "v2.0"], ["v1.10"]]

    async def page(line: Any) -> None:
        first = "last=" not in line.seen.target
        more = {"Link": f'</v2/{APP}/tags/list?n=2&last=v2.0>; rel="next"'} if first else {}
        body = json.dumps({"name": APP, "tags": pages[0 if first else 1]}).encode()
        await line.answer(200, body, {"Content-Type": "application/json", **more})

    upstream.always("tags", page)
    found = await warmed(house, f"{IMAGE}:v1.*")
    assert [each.name for each in found] == [f"{IMAGE}:v1.10", f"{IMAGE}:v1.9"]
    assert not any(each.refused for each in found)
    [only] = await warmed(house, f"{IMAGE}:v1.*", newest=1)
    assert only.name == f"{IMAGE}:v1.10"


async def test_each_failure_has_its_reason_and_costs_no_other_image(house: House, upstream: FaultUpstream) -> None:
    good = put_image(upstream, "v1", b"good")
    upstream.tags(APP, ["v1"])
    gone = put_image(upstream, "gone", b"gone")
    upstream.remove(f"/v2/{APP}/blobs/{gone.parts[1]}")
    put_image(upstream, "v1", b"denied", repository="team/secret")
    upstream.always("/v2/team/secret/manifests/v1", roles.refuses())
    names = [
        f"{IMAGE}:v1",
        f"{IMAGE}:v9",
        f"{IMAGE}:gone",
        f"{NAME}/team/secret:v1",
        "other.test/x:v1",
        "A:B:C",
        f"{IMAGE}:^7",
    ]
    found = {each.name: each for each in await warmed(house, *names)}
    assert {name: each.kind for name, each in found.items()} == {
        f"{IMAGE}:v1": "",
        f"{IMAGE}:v9": "unknown",
        f"{IMAGE}:gone": "unknown",
        f"{NAME}/team/secret:v1": "denied",
        "other.test/x:v1": "unknown",
        "A:B:C": "reference",
        f"{IMAGE}:^7": "unknown",
    }
    assert "is not a configured upstream" in found["other.test/x:v1"].refused
    assert good.all <= set(stored(house.folder))


async def test_signatures_that_cannot_be_asked_for_are_an_outage_and_the_image_is_held(
    house: House, upstream: FaultUpstream
) -> None:
    image = put_image(upstream, "v1", b"one")
    upstream.always(f"/v2/{APP}/referrers/{image.digest}", roles.fails(503))
    kind, why = await refused(house, f"{IMAGE}:v1")
    assert (kind, "503" in why) == ("outage", True)
    assert set(stored(house.folder)) == image.all


async def test_a_bug_costs_the_image_that_it_is_about_and_no_other(
    house: House, upstream: FaultUpstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    bring = WholeImages.bring
    fired: list[WantedImage] = []

    async def planted(images: WholeImages, image: WantedImage, *rest: Any) -> WarmedImage:
        if image.reference == "v1":
            fired.append(image)
            raise RuntimeError("nobody foresaw it")
        return await bring(images, image, *rest)

    monkeypatch.setattr(WholeImages, "bring", planted)
    for tag in ("v1", "v2"):
        put_image(upstream, tag, tag.encode())
    bad, good = await warmed(house, f"{IMAGE}:v1", f"{IMAGE}:v2")
    assert fired
    assert (bad.kind, good.kind) == ("failed", "")


async def test_a_registry_that_is_away_is_an_outage_and_what_is_held_of_it_is_not_called_warm(
    house: House, upstream: FaultUpstream
) -> None:
    put_image(upstream, "v1", b"one")
    await brought(house, f"{IMAGE}:v1")
    house.clock.advance(3600)
    upstream.always("manifest", roles.fails(503))
    kind, why = await refused(house, f"{IMAGE}:v1")
    assert (kind, why) == ("outage", "it is held, and upstream does not answer")


async def test_an_order_that_is_stopped_goes_on_where_it_was(house: House, upstream: FaultUpstream) -> None:
    image = put_image(upstream, "v1", b"one" * MiB, b"two" * MiB)
    held = image.parts[1]
    gate, begun = asyncio.Event(), asyncio.Event()

    async def stuck(line: Any) -> None:
        begun.set()
        await roles.holds(MiB, gate)(line)

    upstream.plays(f"/v2/{APP}/blobs/{image.parts[2]}", stuck)
    ledger = house.cache.warming.ledger()
    order = WarmOrder([f"{IMAGE}:v1"], HERE)
    work = asyncio.create_task(house.cache.warming.run(order, ledger))
    await begun.wait()
    await until(lambda: held in stored(house.folder))
    await until(lambda: ledger.progress().arriving != ())
    progress = ledger.progress()
    assert (progress.images, progress.images_done) == (1, 0)
    work.cancel()
    await asyncio.wait([work])
    assert not ledger.results
    await house.restart()
    gate.set()
    found = await brought(house, f"{IMAGE}:v1")
    assert found.contents == 4
    assert len([seen for seen in upstream.requests("blob") if seen.target.endswith(held)]) == 1


async def test_a_client_that_pulls_meanwhile_joins_the_same_transfer(house: House, upstream: FaultUpstream) -> None:
    image = put_image(upstream, "v1", content := b"one" * MiB)
    gate = asyncio.Event()
    upstream.plays(f"/v2/{APP}/blobs/{image.parts[1]}", roles.holds(MiB, gate))
    work = asyncio.create_task(warmed(house, f"{IMAGE}:v1"))
    await until(lambda: len(house.cache.fills.arriving) > 0)
    client = await house.pull(blob_path(image.parts[1]))
    head = await client.head()
    assert "collapsed" in head.headers["cache-status"]
    gate.set()
    assert await client.rest(head) == content
    [found] = await work
    assert not found.refused
    assert len([seen for seen in upstream.requests("blob") if seen.target.endswith(image.parts[1])]) == 1


async def test_wrong_bytes_that_nobody_was_shown_are_asked_for_again(house: House, upstream: FaultUpstream) -> None:
    image = put_image(upstream, "v1", b"one" * MiB)
    upstream.plays(f"/v2/{APP}/blobs/{image.parts[1]}", roles.lies(5))
    await brought(house, f"{IMAGE}:v1")
    assert set(stored(house.folder)) == image.all


async def test_what_is_pinned_came_whole_with_its_signatures_and_outlives_a_crowd(
    house: House, upstream: FaultUpstream
) -> None:
    image = put_image(upstream, "v1", b"one")
    signature = put_image(upstream, f"{image.digest.replace(':', '-')}.sig", b"cosign's")
    await warmed(house, f"{IMAGE}:v1", f"{IMAGE}:v9", pin=True)
    pinned = {pin.pattern for pin in house.cache.maintenance.retention.pins.list()}
    assert pinned == {f"{IMAGE}:v1", f"{IMAGE}:{signature_tag(image)}"}
    assert set(stored(house.folder)) == image.all | signature.all


def signature_tag(image: Image) -> str:
    return f"{image.digest.replace(':', '-')}.sig"


@under(soft=8 * MiB)
async def test_more_than_the_cache_holds_is_said_and_drives_nothing_out(house: House, upstream: FaultUpstream) -> None:
    def sized(tag: str, *layers: bytes) -> None:
        parts = [upstream.blob(APP, each) for each in layers]
        listed = [{"digest": part, "size": len(each)} for part, each in zip(parts, layers, strict=True)]
        document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": listed[0], "layers": listed[1:]}
        upstream.manifest(APP, tag, json.dumps(document).encode())

    tags = [f"v{number}" for number in range(5)]
    for tag in tags:
        sized(tag, tag.encode(), tag.encode() * MiB)
    found = await warmed(house, *(f"{IMAGE}:{tag}" for tag in tags))
    good = [each for each in found if not each.refused]
    assert len(good) == 3
    assert {each.kind for each in found if each.refused} == {"space"}
    for each in good:
        reply = await house.get(manifest_path(each.name.rpartition(":")[2]))
        assert "hit" in reply.headers["cache-status"]
    assert sum(stored(house.folder).values()) > 6 * MiB


async def test_many_blobs_of_many_images_take_a_dozen_places_at_most(house: House, upstream: FaultUpstream) -> None:
    gate = asyncio.Event()
    images = [
        put_image(upstream, f"v{number}", *(b"%d of %d" % (layer, number) * MiB for layer in range(4)))
        for number in range(6)
    ]
    for image in images:
        for part in image.parts[1:]:
            upstream.always(f"/v2/{APP}/blobs/{part}", roles.holds(MiB, gate))
    work = asyncio.create_task(warmed(house, *(f"{IMAGE}:v{number}" for number in range(6))))
    await until(lambda: len(house.cache.fills) == 12)
    client = await house.pull(blob_path(upstream.blob(APP, b"a client's")))
    assert (await client.reply()).body == b"a client's"
    await until(lambda: len(house.cache.fills) == 12)
    gate.set()
    assert not any(each.refused for each in await work)


async def test_a_registry_that_is_asked_too_often_is_asked_again_later(house: House, upstream: FaultUpstream) -> None:
    image = put_image(upstream, "v1", b"one")
    upstream.plays(f"/v2/{APP}/manifests/v1", roles.limits("1"))
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        house.clock.advance(seconds)

    cache = house.cache
    images = WholeImages(cache.holdings, cache.manifests, cache.blobs, cache.listings, 1, sleep)
    await images.bring(WantedImage(Repository(NAME, APP), Tag("v1")), HERE, cache.warming.ledger())
    assert slept == [1.0]
    assert set(stored(house.folder)) == image.all


async def until(true: Any) -> None:
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.005)

"""What is held, as operators are shown it: repositories, images, one image down to its layers."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from proxy.admin.inventory import InventoryOperations
from proxy.admin.inventory_messages import (
    ImageLine,
    InspectedImage,
    InspectedPart,
    InspectRequest,
    ListRequest,
    RepositoryLine,
)
from proxy.core.errors import ManifestUnknown, RequestFault
from proxy.core.inventory import configured_platform, listed_parts
from proxy.core.names import Digest
from proxy.core.steps import at_once
from tests.cast import FaultUpstream, ManualClock
from tests.scenarios.house import APP, NAME, House
from tests.scenarios.shelf import pull, put_image, put_index

Bytes = Callable[[int], bytes]
IMAGE, WEB = f"{NAME}/{APP}", "team/web"


def operations(house: House) -> InventoryOperations:
    return InventoryOperations(house.cache)


async def listed(house: House, repository: str | None = None) -> Sequence[Any]:
    *lines, _ = [line async for line in operations(house).list(ListRequest(repository=repository))]
    return lines


async def inspected(house: House, reference: str) -> tuple[InspectedImage, list[InspectedPart]]:
    image, *parts = [line async for line in operations(house).inspect(InspectRequest(reference=reference))]
    assert isinstance(image, InspectedImage)
    return image, [part for part in parts if isinstance(part, InspectedPart)]


async def test_repositories_are_summed_up_and_images_of_one_listed_without_the_parts_of_indexes(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    assert await listed(house) == []
    amd, arm = (put_image(upstream, None, some_bytes(size)) for size in (1000, 2000))
    index = put_index(upstream, "v1", amd, arm)
    web = put_image(upstream, "v2", some_bytes(500), repository=WEB)
    await pull(house, index, "v1")
    clock.advance(60)
    await pull(house, web, "v2", WEB)
    await house.cache.maintenance.retention.pins.add(f"{NAME}/{WEB}:v*")
    app_line, web_line = await listed(house)
    assert isinstance(app_line, RepositoryLine)
    assert (app_line.repository_name, app_line.images, app_line.tags) == (IMAGE, 1, 1)
    assert app_line.size_in_bytes > 3000
    assert (web_line.repository_name, web_line.images, web_line.used_at) == (f"{NAME}/{WEB}", 1, clock())
    [image] = await listed(house, IMAGE)
    assert isinstance(image, ImageLine)
    assert (image.image_digest, image.image_tags, image.manifests) == (index.digest, ("v1",), 2)
    assert image.pinned_by is None
    [pinned] = await listed(house, "*/web")
    assert (pinned.image_digest, pinned.pinned_by) == (web.digest, f"{NAME}/{WEB}:v*")
    assert await listed(house, "nginx") == []


async def test_an_image_is_shown_down_to_its_layers_with_what_it_shares(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    base = some_bytes(4000)
    one = put_image(upstream, "v1", base, some_bytes(1000))
    two = put_image(upstream, "v2", base, some_bytes(2000), repository=WEB)
    await pull(house, one, "v1")
    await pull(house, two, "v2", WEB)
    clock.advance(600)
    image, parts = await inspected(house, f"{IMAGE}:v1")
    assert (image.repository_name, image.image_digest, image.image_tags) == (IMAGE, one.digest, ("v1",))
    assert image.shared_bytes == 4000
    assert image.image_size_in_bytes == image.size + sum(part.size or 0 for part in parts)
    assert (image.missing, image.granted_by, image.pinned_by) == (0, "upstream", None)
    assert image.confirmed_at == image.checked_at == clock() - 600
    assert [part.role for part in parts] == ["config", "layer", "layer"]
    assert [part.digest for part in parts] == list(one.parts)
    assert [part.shared for part in parts] == [False, True, False]
    by_digest, _ = await inspected(house, f"{IMAGE}@{one.digest}")
    assert by_digest.checked_at is None
    alone, _ = await inspected(house, one.digest)
    assert alone == by_digest


async def test_an_index_tells_what_is_held_of_it_and_an_image_which_index_it_is_part_of(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    amd, arm = (put_image(upstream, None, some_bytes(size)) for size in (1000, 2000))
    index = put_index(upstream, "v1", amd, arm)
    await pull(house, index._replace(children=(amd,)), "v1")
    image, parts = await inspected(house, f"{IMAGE}:v1")
    assert [(part.role, part.depth, part.held) for part in parts] == [
        ("manifest", 0, True), ("config", 1, True), ("layer", 1, True), ("manifest", 0, False)
    ]  # fmt: skip
    assert (image.missing, image.shared_bytes) == (1, 0), "its own image shares nothing with others"
    child, _ = await inspected(house, f"{IMAGE}@{amd.digest}")
    assert child.indexes == (index.digest,)


async def test_what_is_about_an_image_stands_with_it(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    image = put_image(upstream, "v1", some_bytes(100))
    signature = put_image(upstream, "sig", some_bytes(10), subject=image.digest)
    await pull(house, image, "v1")
    await pull(house, signature, "sig")
    shown, _ = await inspected(house, f"{IMAGE}:v1")
    assert [each.digest for each in shown.referrers] == [signature.digest]
    about, _ = await inspected(house, f"{IMAGE}:sig")
    assert about.subject == image.digest


async def test_what_is_not_held_and_what_is_no_reference_are_told_apart(house: House) -> None:
    unknown = Digest.of(b"x")
    for reference in (f"{IMAGE}:v1", f"{IMAGE}@{unknown}", unknown, "nginx"):
        with pytest.raises(ManifestUnknown, match="not held"):
            await inspected(house, reference)
    for reference in ("sha256:12", "UPPER/case", f"{IMAGE}:-", ""):
        with pytest.raises(RequestFault):
            await inspected(house, reference)


def test_parts_of_odd_manifests_are_those_that_have_a_digest() -> None:
    digest = Digest.of(b"x")
    layers = f'[1, {{}}, {{"digest": "{digest}", "size": -1, "mediaType": 3}}]'
    [part] = at_once(listed_parts(f'{{"config": 7, "layers": {layers}, "manifests": {{}}}}'.encode()))
    assert part == ("layer", digest, "", None, None)
    signed = f'{{"fsLayers": [{{"blobSum": "{digest}"}}]}}'
    assert [each.digest for each in at_once(listed_parts(signed.encode()))] == [digest]
    assert at_once(listed_parts(b"no")) == []


@pytest.mark.parametrize(
    ("config", "platform"),
    [(b'{"os": "linux", "architecture": "arm", "variant": "v7"}', "linux/arm/v7"), (b"{}", None), (b"no", None)],
)
def test_a_config_says_what_an_image_runs_on(config: bytes, platform: str | None) -> None:
    assert at_once(configured_platform(config)) == platform

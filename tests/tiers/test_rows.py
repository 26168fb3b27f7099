"""Caches in a row before real registries: who is asked for what, and what each of them knows it by."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Thread

import pytest

from tests.cast.registry import DOCKER_REGISTRY, Registry
from tests.process import proxying
from tests.tiers.cast import GHCR, HUB, QUAY, blobs_sent, pulled, tier
from tests.zoo.real.push import Pushed, push_image

pytestmark = [
    pytest.mark.skipif(DOCKER_REGISTRY is None, reason="needs docker-registry (apt-get install; see tests/run)"),
    pytest.mark.timeout(300),
]

APP = "team/app"


@pytest.fixture
def ghcr(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "ghcr", tmp_path / "ghcr-storage").running() as registry:
        yield registry


@pytest.fixture
def quay(tmp_path: Path) -> Iterator[Registry]:
    with Registry(tmp_path / "quay", tmp_path / "quay-storage").running() as registry:
        yield registry


def central(*registries: tuple[str, Registry]) -> dict[str, dict[str, str]]:
    return {name: {"url": f"http://{registry.address}"} for name, registry in registries}


@pytest.mark.parametrize("forward", ["ns", "path"])
@pytest.mark.parametrize("caches", [2, 3])
def test_a_row_of_caches_pulls_by_all_three_address_forms(
    caches: int, forward: str, ghcr: Registry, quay: Registry, tmp_path: Path
) -> None:
    one, other = push_image(ghcr.port, APP, "v1"), push_image(quay.port, APP, "v1", "v2")
    bare = push_image(quay.port, "library/web", "v1")
    with ExitStack() as stack:
        known = central((GHCR, ghcr), (QUAY, quay), (HUB, quay))
        cache = first = stack.enter_context(proxying(tmp_path / "central", known))
        for number in range(1, caches):
            upstreams = tier(f"http://{cache.address}", forward)
            cache = stack.enter_context(proxying(tmp_path / f"tier{number}", upstreams))
        assert pulled(cache, GHCR, APP, one, "v1") == ["entrepot; fwd=miss; stored"] * 3
        by_path = cache.get(f"/v2/{QUAY}/{APP}/manifests/v2")
        assert (by_path.status, by_path.body) == (200, other.raw)
        without_name = cache.get("/v2/web/manifests/v1")
        assert (without_name.status, without_name.body) == (200, bare.raw)
        tags = cache.get(f"/v2/{APP}/tags/list?ns={QUAY}&n=1")
        assert json.loads(tags.body)["tags"] == ["v1"]
        onward = cache.get(tags.headers["link"].partition("<")[2].partition(">")[0])
        assert json.loads(onward.body)["tags"] == ["v2"]
        for each in (cache, first):
            catalog = json.loads(each.get("/v2/_catalog").body)["repositories"]
            assert catalog == [f"{HUB}/library/web", f"{GHCR}/{APP}", f"{QUAY}/{APP}"]
        nobody = cache.get(f"/v2/{APP}/manifests/v1?ns=gcr.io")
        assert nobody.status == 404, "which is what the central one says of a name that it does not know"
        status = json.loads(cache.command("status", "--json").stdout)
        assert {GHCR, QUAY, HUB} <= status["upstreams"].keys()
        ghcr.stop()
        quay.stop()
        assert pulled(cache, GHCR, APP, one, "v1") == ["entrepot; hit"] * 3
    assert set(ghcr.blob_transfers().values()) == {1}


def test_a_configured_upstream_goes_before_the_tier_and_without_one_names_stay_nobodys(
    ghcr: Registry, quay: Registry, tmp_path: Path
) -> None:
    here, there = push_image(ghcr.port, APP, "v1"), push_image(quay.port, "team/other", "v1")
    with (
        proxying(tmp_path / "central", central((GHCR, quay), (QUAY, quay))) as above,
        proxying(tmp_path / "node", {**central((GHCR, ghcr)), **tier(f"http://{above.address}")}) as node,
        proxying(tmp_path / "alone", central((GHCR, ghcr))) as alone,
    ):
        pulled(node, GHCR, APP, here, "v1")
        pulled(node, QUAY, "team/other", there, "v1")
        assert node.get(f"/v2/team/other/manifests/v1?ns={GHCR}").status == 404
        assert "team/app" not in above.log.read_text()
        refused = alone.get(f"/v2/team/other/manifests/v1?ns={QUAY}")
        assert (refused.status, b"is not a configured upstream" in refused.body) == (404, True)


def test_two_registries_of_one_repository_name_never_share_rights(
    ghcr: Registry, quay: Registry, tmp_path: Path
) -> None:
    mine = push_image(ghcr.port, APP, "v1")
    with (
        proxying(tmp_path / "central", central((GHCR, ghcr), (QUAY, quay))) as above,
        proxying(tmp_path / "node", tier(f"http://{above.address}")) as node,
    ):
        pulled(node, GHCR, APP, mine, "v1")
        for path in (f"manifests/{mine.digest}", *(f"blobs/{digest}" for digest in mine.blobs)):
            assert node.get(f"/v2/{APP}/{path}?ns={QUAY}").status == 404


def test_a_tag_that_moved_is_seen_through_the_row(ghcr: Registry, tmp_path: Path) -> None:
    push_image(ghcr.port, "team/first", "v1")
    old, tags = push_image(ghcr.port, APP, "v1"), {"ttl": "0s"}
    with (
        proxying(tmp_path / "central", central((GHCR, ghcr)), tags=tags) as above,
        proxying(tmp_path / "node", tier(f"http://{above.address}"), tags=tags) as node,
    ):
        pulled(node, GHCR, APP, old, "v1")
        moved = _moved(ghcr, old)
        found = node.get(f"/v2/{APP}/manifests/v1?ns={GHCR}")
        assert (found.status, found.body) == (200, moved)


def _moved(registry: Registry, image: Pushed) -> bytes:
    raw = json.dumps({**json.loads(image.raw), "annotations": {"is": "new"}}).encode()
    registry.put_manifest(APP, "v1", json.loads(raw)["mediaType"], raw)
    return raw


def test_an_offline_centre_is_an_outage_and_no_clear_no(ghcr: Registry, tmp_path: Path) -> None:
    image, tags = push_image(ghcr.port, APP, "v1", "v2"), {"ttl": "0s"}
    with (
        proxying(tmp_path / "central", central((GHCR, ghcr)), tags=tags) as above,
        proxying(tmp_path / "node", tier(f"http://{above.address}"), tags=tags) as node,
    ):
        pulled(node, GHCR, APP, image, "v1")
        above.config.write_text(above.config.read_text() + "\noffline: true\n")
        assert above.command("reload").returncode == 0
        told = node.get(f"/v2/{APP}/manifests/v1?ns={GHCR}")
        assert (told.status, told.headers["cache-status"]) == (200, "entrepot; hit; detail=offline")
        unheld = above.get(f"/v2/{APP}/manifests/v2?ns={GHCR}")
        assert (unheld.status, unheld.headers["cache-status"]) == (404, "entrepot; detail=offline")
        passed_on = node.get(f"/v2/{APP}/manifests/v2?ns={GHCR}")
        assert (passed_on.status, passed_on.headers["cache-status"]) == (404, "entrepot; detail=offline")
        assert above.command("purge", f"{GHCR}/{APP}", "--yes").returncode == 0
        kept = node.get(f"/v2/{APP}/manifests/v1?ns={GHCR}")
        assert (kept.status, kept.headers["cache-status"]) == (200, "entrepot; hit; detail=offline")
        above.config.write_text(above.config.read_text().replace("offline: true", "offline: false"))
        assert above.command("reload").returncode == 0
        back = node.get(f"/v2/{APP}/manifests/v2?ns={GHCR}")
        assert (back.status, back.body) == (200, image.raw)


@pytest.mark.parametrize("further", [False, True], ids=["a centre", "a centre before another"])
def test_ten_nodes_take_ten_from_the_centre_and_one_from_the_registry(
    further: bool, ghcr: Registry, tmp_path: Path
) -> None:
    image = push_image(ghcr.port, APP, "v1")
    once, ten_times = (dict.fromkeys(map(str, image.blobs), times) for times in (1, 10))
    with ExitStack() as stack:
        above = farthest = stack.enter_context(proxying(tmp_path / "farthest", central((GHCR, ghcr))))
        if further:
            above = stack.enter_context(proxying(tmp_path / "central", tier(f"http://{farthest.address}")))
        upstreams = tier(f"http://{above.address}")
        nodes = [stack.enter_context(proxying(tmp_path / f"node{number}", upstreams)) for number in range(10)]
        faults: list[BaseException] = []

        def pull(number: int) -> None:
            try:
                pulled(nodes[number], GHCR, APP, image, "v1")
            except BaseException as fault:
                faults.append(fault)

        pulls = [Thread(target=pull, args=(number,)) for number in (*range(10), *range(10))]
        for thread in pulls:
            thread.start()
        for thread in pulls:
            thread.join()
        assert not faults
    # With their last lines, which a stop writes.
    assert blobs_sent(above) == ten_times
    assert blobs_sent(farthest) == (once if further else ten_times)
    ghcr.stop()
    assert set(ghcr.blob_transfers().values()) == {1}
    assert len(ghcr.blob_transfers()) == len(image.blobs)

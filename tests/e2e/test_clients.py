"""Real clients pull through Entrepot from a real registry, cold, and again when the registry is gone."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cast.registry import Registry
from tests.e2e import clients
from tests.e2e.clients import Pull
from tests.e2e.images import INDEX, MANIFEST
from tests.e2e.stock import APP, BIG, BIG_AGAIN, BIG_SIZE, GREETING, HUB, NEXT_APP, OLD, Stock, greeting
from tests.process import Entrepot, ProcessFailed, proxying, run

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

NewStore = Callable[[], Path]
BY_REGISTRY = [
    clients.skopeo_by_path,
    clients.skopeo_by_mirror,
    clients.podman,
    clients.containerd,
    clients.docker_by_path,
]


@pytest.mark.parametrize("pull", BY_REGISTRY, ids=lambda pull: pull.__name__)
def test_a_client_pulls_cold_and_again_without_the_upstream(
    pull: Pull, upstream: Registry, proxy: Entrepot, new_store: NewStore
) -> None:
    assert pull(new_store(), proxy.address, APP, GREETING) == greeting(APP)
    upstream.stop()
    assert pull(new_store(), proxy.address, APP, GREETING) == greeting(APP)
    assert set(upstream.blob_transfers().values()) == {1}


def test_the_docker_engine_pulls_cold_and_again_without_the_upstream(
    upstream: Registry, hub_proxy: Entrepot, new_store: NewStore
) -> None:
    assert clients.docker_by_mirror(new_store(), hub_proxy.address, HUB, GREETING) == greeting(HUB)
    upstream.stop()
    assert clients.docker_by_mirror(new_store(), hub_proxy.address, HUB, GREETING) == greeting(HUB)
    assert set(upstream.blob_transfers().values()) == {1}


@pytest.mark.parametrize("pull", BY_REGISTRY, ids=lambda pull: pull.__name__)
def test_who_pulls_what_is_not_held_without_the_upstream_reads_why(
    pull: Pull, upstream: Registry, proxy: Entrepot, new_store: NewStore
) -> None:
    upstream.stop()
    with pytest.raises(ProcessFailed, match=f"no connection can be made; {APP.tag} is not held here"):
        pull(new_store(), proxy.address, APP, GREETING)


def test_clients_of_all_kinds_at_once_cost_the_upstream_every_byte_once(
    images: Stock, upstream: Registry, tmp_path: Path, new_store: NewStore
) -> None:
    """By one connection for each layer: what it has in its buffers when its rest goes to a second is sent twice."""
    upstreams, one = {BIG.registry: {"url": f"http://{upstream.address}"}}, {"transfers": {"per_blob": 1}}
    pulls = [*BY_REGISTRY, clients.skopeo_by_path]
    with proxying(tmp_path / "entrepot", upstreams, **one) as proxy, ThreadPoolExecutor(len(pulls)) as pool:
        started = [pool.submit(pull, new_store(), proxy.address, BIG, GREETING) for pull in pulls]
        assert [pulled.result() for pulled in started] == [greeting(BIG)] * len(pulls)
    upstream.stop()
    big = f"/v2/{BIG.repository}/blobs/{images.big_layer}"
    assert upstream.blob_bytes()[big] == len(images.layout.read(images.big_layer))
    assert set(upstream.blob_transfers().values()) == {1}


def test_images_of_one_repository_share_the_transfer_of_a_layer(
    images: Stock, upstream: Registry, proxy: Entrepot, new_store: NewStore
) -> None:
    for image in (APP, NEXT_APP):
        assert clients.skopeo_by_path(new_store(), proxy.address, image, GREETING) == greeting(image)
    upstream.stop()
    assert upstream.blob_transfers()[f"/v2/{APP.repository}/blobs/{images.shared_layer}"] == 1


def test_a_layer_held_for_another_repository_costs_a_check_and_no_transfer(
    images: Stock, upstream: Registry, proxy: Entrepot, new_store: NewStore
) -> None:
    for image in (BIG, BIG_AGAIN):
        assert clients.skopeo_by_path(new_store(), proxy.address, image, GREETING) == greeting(image)
    upstream.stop()
    layer = f"/blobs/{images.big_layer}"
    written = upstream.blob_bytes()
    assert written[f"/v2/{BIG.repository}{layer}"] > BIG_SIZE
    assert written[f"/v2/{BIG_AGAIN.repository}{layer}"] < BIG_SIZE // 4


def test_every_architecture_of_an_index_can_be_mirrored(
    images: Stock, upstream: Registry, proxy: Entrepot, new_store: NewStore
) -> None:
    copy = ["skopeo", "copy", "--all", "--preserve-digests", "--src-tls-verify=false"]
    for _ in range(2):
        out = new_store() / "out"
        run([*copy, f"docker://{proxy.address}/{APP}", f"oci:{out}:v1"])
        assert json.loads((out / "index.json").read_bytes())["manifests"][0]["digest"] == images.app["digest"]
        upstream.stop()
    assert set(upstream.blob_transfers().values()) == {1}


def test_what_was_pulled_outlives_a_restart(upstream: Registry, tmp_path: Path, new_store: NewStore) -> None:
    upstreams = {APP.registry: {"url": f"http://{upstream.address}"}}
    for _ in range(2):
        with proxying(tmp_path / "entrepot", upstreams) as proxy:
            assert clients.containerd(new_store(), proxy.address, APP, GREETING) == greeting(APP)
        upstream.stop()
    assert set(upstream.blob_transfers().values()) == {1}


def test_a_short_name_of_docker_hub_means_its_library(hub_proxy: Entrepot, new_store: NewStore) -> None:
    short = HUB._replace(repository=HUB.repository.removeprefix("library/"))
    assert clients.skopeo_by_path(new_store(), hub_proxy.address, short, GREETING) == greeting(HUB)


def test_a_docker_schema_2_image_keeps_its_form(upstream: Registry, proxy: Entrepot, new_store: NewStore) -> None:
    before = run(["skopeo", "inspect", "--raw", "--tls-verify=false", _at(upstream.address, OLD.repository)])
    after = run(["skopeo", "inspect", "--raw", "--tls-verify=false", _at(proxy.address, f"{OLD.registry}/team/old")])
    assert after == before
    assert json.loads(after)["mediaType"] == "application/vnd.docker.distribution.manifest.v2+json"
    assert clients.skopeo_by_path(new_store(), proxy.address, OLD, GREETING) == greeting(OLD)


def test_a_referrer_is_found_by_the_fallback_tag_where_the_upstream_has_no_referrers_api(
    images: Stock, upstream: Registry, proxy: Entrepot
) -> None:
    api = proxy.get(f"/v2/{APP.registry}/{APP.repository}/referrers/{images.app['digest']}")
    assert api.status == 404
    accept = {"Accept": f"{INDEX}, {MANIFEST}"}
    index = proxy.get(f"/v2/{APP.registry}/{APP.repository}/manifests/{images.referrers_tag}", accept)
    listed = json.loads(index.body)["manifests"][0]
    assert listed["digest"] == images.signature["digest"]
    artifact = proxy.get(f"/v2/{APP.registry}/{APP.repository}/manifests/{listed['digest']}", accept)
    assert artifact.body == images.layout.read(listed["digest"])
    assert json.loads(artifact.body)["subject"]["digest"] == images.app["digest"]


def test_a_wish_for_a_registry_that_is_not_configured_reaches_nobody(upstream: Registry, proxy: Entrepot) -> None:
    before = len(upstream.fetches())
    assert proxy.get(f"/v2/{APP.repository}/manifests/{APP.tag}").status == 404
    assert proxy.get(f"/v2/{APP.repository}/manifests/{APP.tag}?ns=elsewhere.test").status == 404
    upstream.stop()
    assert len(upstream.fetches()) == before


def _at(host: str, repository: str) -> str:
    return f"docker://{host}/{repository}:{OLD.tag}"

"""Names and manifests out of what other tools write."""

import gzip
import json
from pathlib import Path

import pytest

from proxy.bundles.names import image_name, tagged_name
from proxy.bundles.plan import Bringing
from proxy.bundles.refusal import BundleRefused
from proxy.bundles.shelf import Shelf
from proxy.core.names import Digest, Repository
from tests.bundles.cast import member

NAMES = {
    "alpine": "docker.io/library/alpine",
    "alpine:3.19": "docker.io/library/alpine:3.19",
    "team/app:v1": "docker.io/team/app:v1",
    "docker.io/alpine:v1": "docker.io/library/alpine:v1",
    "index.docker.io/library/alpine:v1": "docker.io/library/alpine:v1",
    "quay.io/team/app:v1": "quay.io/team/app:v1",
    "localhost:5000/app:v1": "localhost:5000/app:v1",
    "localhost/app:v1": "localhost/app:v1",
    f"quay.io/team/app@sha256:{'0' * 64}": "quay.io/team/app",
}


@pytest.mark.parametrize("written", NAMES)
def test_a_name_means_what_docker_means_by_it(written: str) -> None:
    assert str(image_name(written)) == NAMES[written]


@pytest.mark.parametrize(
    "written", ["", ":v1", "UPPER/case:v1", "a/../b", "a:b:c", "a b", "quay.io/x@md5:1", "x" * 300]
)
def test_what_is_no_name_is_refused(written: str) -> None:
    with pytest.raises(BundleRefused):
        image_name(written)


def test_a_tag_alone_belongs_to_the_repository_that_is_said() -> None:
    assert tagged_name("v1", None) is None
    assert str(tagged_name("v1", Repository("quay.io", "team/app"))) == "quay.io/team/app:v1"


def images(bundle: Path) -> list[Bringing]:
    shelf = Shelf([bundle], lambda count: None)
    found = [image for shelved in shelf.images(None, []) for image in shelved.images]
    assert not shelf.troubles
    return found


def test_what_crane_pulled_keeps_its_packed_layers(tmp_path: Path) -> None:
    """go-containerregistry pkg/v1/tarball: the configuration by its digest, layers as ``HEX.tar.gz``."""
    layer, config = gzip.compress(b"layer"), b'{"architecture":"amd64"}'
    names = Digest.of(config), f"{Digest.of(layer).encoded}.tar.gz"
    manifest = [{"Config": names[0], "RepoTags": ["quay.io/team/app:v1"], "Layers": [names[1]]}]
    members = member(names[0], config), member(names[1], layer), member("manifest.json", json.dumps(manifest).encode())
    (tmp_path / "b.tar").write_bytes(b"".join([*members, bytes(1024)]))
    [image] = images(tmp_path / "b.tar")
    assert (str(image.name), set(image.blobs)) == ("quay.io/team/app:v1", {Digest.of(layer), Digest.of(config)})


def test_a_link_in_what_docker_saved_is_a_second_name_of_a_layer(tmp_path: Path) -> None:
    """docker save before 25 writes a layer that is there twice as a link to the first."""
    manifest = [{"Config": "c.json", "RepoTags": ["app:v1", "app:v2"], "Layers": ["a/layer.tar", "b/layer.tar"]}]
    members = [
        member("a/layer.tar", b"layer"),
        member("a/VERSION", b"1.0"),
        member("b/layer.tar", type=b"2", linkname="../a/layer.tar"),
        member("c.json", b"{}"),
        member("manifest.json", json.dumps(manifest).encode()),
        member("repositories", b"{}"),
    ]
    (tmp_path / "b.tar").write_bytes(b"".join([*members, bytes(1024)]))
    found = images(tmp_path / "b.tar")
    assert [str(image.name) for image in found] == ["docker.io/library/app:v1", "docker.io/library/app:v2"]
    assert {image.blobs for image in found} == {(Digest.of(b"{}"), Digest.of(b"layer"))}

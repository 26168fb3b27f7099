"""Platforms, and which images of an index are meant by a choice of them."""

import json
from typing import Any

import pytest

from proxy.core.manifests import OCI_INDEX, OCI_MANIFEST
from proxy.core.names import Digest
from proxy.core.platforms import Platform, WantedParts, select
from proxy.core.steps import at_once


@pytest.mark.parametrize(
    ("wanted", "other", "means"),
    [
        ("linux/amd64", "linux/amd64", True),
        ("linux/amd64", "linux/amd64/v3", True),
        ("linux/amd64", "windows/amd64", False),
        ("linux/arm64", "linux/arm64/v8", True),
        ("linux/arm64/v8", "linux/arm64", True),
        ("linux/arm", "linux/arm/v6", True),
        ("linux/arm/v7", "linux/arm", True),
        ("linux/arm/v7", "linux/arm/v6", False),
    ],
)
def test_a_platform_without_a_variant_means_all_of_them(wanted: str, other: str, means: bool) -> None:
    assert Platform.parse(wanted).means(Platform.parse(other)) is means


@pytest.mark.parametrize("written", ["amd64", "linux/", "linux/arm/v7/x", "linux/a b", "", "/" * 3])
def test_what_is_no_platform_is_refused(written: str) -> None:
    with pytest.raises(ValueError):
        Platform.parse(written)


def test_a_machine_has_its_platform() -> None:
    found = [str(Platform.of_machine(machine)) for machine in ("x86_64", "aarch64", "armv7l", "riscv64")]
    assert found == ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/riscv64"]


DIGESTS = [Digest(f"sha256:{number:064x}") for number in range(4)]


def select_from(document: Any, *wanted: str) -> WantedParts:
    return at_once(select(json.dumps(document).encode(), OCI_INDEX, tuple(map(Platform.parse, wanted))))


def test_of_a_list_what_has_no_platform_is_meant_too_and_what_is_no_descriptor_is_passed_over() -> None:
    manifests = [
        {"digest": DIGESTS[0], "size": 7, "platform": {"os": "linux", "architecture": "amd64", "variant": 7}},
        {"digest": DIGESTS[1], "size": "7", "platform": {"os": "linux", "architecture": ["amd64"]}},
        {"digest": DIGESTS[2], "size": -7, "platform": {"os": "linux", "architecture": "s390x"}},
        {"digest": "sha256:7", "platform": None},
        7,
    ]
    found = select_from(
        {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}, "linux/amd64", "linux/arm"
    )
    assert found.manifests == (DIGESTS[0], DIGESTS[1])
    assert found.sizes == {DIGESTS[0]: 7}
    assert list(map(str, found.lacking)) == ["linux/arm"]
    assert list(map(str, found.offered)) == ["linux/amd64", "linux/s390x"]


def test_an_image_is_meant_whatever_it_runs_on() -> None:
    document = {"schemaVersion": 2, "config": {"digest": DIGESTS[0], "size": 1}, "layers": [{"digest": DIGESTS[1]}]}
    found = at_once(select(json.dumps(document).encode(), OCI_MANIFEST, (Platform("linux", "amd64"),)))
    assert (found.parts.blobs, found.manifests, found.lacking) == ((DIGESTS[0], DIGESTS[1]), (), ())

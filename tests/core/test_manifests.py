"""Manifests as housekeeping reads them."""

import json

import pytest

from proxy.core.manifests import (
    DOCKER_LIST,
    DOCKER_SIGNED_V1,
    OCI_INDEX,
    OCI_MANIFEST,
    ManifestInvalid,
    platform_of,
    read_manifest,
)
from proxy.core.names import Digest
from proxy.core.steps import at_once

A, B, C = (Digest.of(letter) for letter in (b"a", b"b", b"c"))


def raw(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def test_an_image_refers_to_config_and_layers() -> None:
    document = raw(mediaType=OCI_MANIFEST, config={"digest": A}, layers=[{"digest": B}, {"digest": B}])
    facts = at_once(read_manifest(document, ""))
    assert (facts.media_type, facts.children) == (OCI_MANIFEST, (A, B))


def test_an_artifact_names_its_subject() -> None:
    facts = at_once(read_manifest(raw(mediaType=OCI_MANIFEST, subject={"digest": C}, layers=[]), ""))
    assert facts.subject == C


@pytest.mark.parametrize(
    ("fields", "stated", "expected"),
    [
        ({"manifests": []}, "", OCI_INDEX),
        ({"manifests": []}, "application/json", OCI_INDEX),
        ({"manifests": []}, DOCKER_LIST + "; charset=utf-8", DOCKER_LIST),
        ({"mediaType": OCI_INDEX, "manifests": []}, "text/plain", OCI_INDEX),
        ({"config": {}, "layers": []}, "text/html", OCI_MANIFEST),
        ({"schemaVersion": 1, "fsLayers": [], "signatures": []}, "application/json", DOCKER_SIGNED_V1),
    ],
)
def test_the_media_type_is_the_documents_then_upstreams_then_the_fields(
    fields: dict[str, object], stated: str, expected: str
) -> None:
    assert at_once(read_manifest(raw(**fields), stated)).media_type == expected


def test_a_document_that_is_index_and_image_at_once_keeps_the_children_of_both() -> None:
    facts = at_once(read_manifest(raw(mediaType=OCI_INDEX, manifests=[{"digest": A}], layers=[{"digest": B}]), ""))
    assert set(facts.children) == {A, B}


@pytest.mark.parametrize(
    "document",
    [
        b"", b"[]", b"null", b"<html>", b"\xff", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xef\xbb\xbf{}",
        b'{"a":' * 100_000, b"{}", b'{"mediaType": "x/y\\r\\nSet-Cookie: a"}', b'{"mediaType": 7, "layers": []}',
        raw(manifests=[{"digest": A}] * 10_001),
    ],
    ids=range(13),
)  # fmt: skip
def test_what_can_be_read_in_two_ways_or_none_is_refused(document: bytes) -> None:
    with pytest.raises(ManifestInvalid):
        at_once(read_manifest(document, "application/json"))


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ({"os": "linux", "architecture": "arm64", "variant": "v8"}, "linux/arm64/v8"),
        ({"os": "linux", "architecture": "amd64"}, "linux/amd64"),
        ({"os": "windows", "architecture": "amd64", "variant": 3}, "windows/amd64"),
        ({"os": "line\nbreak"}, None),
        ({}, None),
        ("linux", None),
        (None, None),
    ],
)
def test_an_index_says_what_its_children_run_on(platform: object, expected: str | None) -> None:
    index = raw(manifests=[{"digest": B}, {"digest": A, "platform": platform}])
    assert at_once(platform_of(index, A)) == expected
    for document, child in ((index, C), (raw(layers=[]), A), (b"{", A)):
        assert at_once(platform_of(document, child)) is None

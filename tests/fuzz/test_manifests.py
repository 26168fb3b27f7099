"""Manifests of upstreams: whatever the bytes, facts that hold or ManifestInvalid."""

import json
from typing import Any

from hypothesis import event, example, given
from hypothesis import strategies as st

from proxy.core.manifests import (
    DESCRIPTOR_LIMIT,
    DOCKER_LIST,
    KNOWN,
    ManifestFacts,
    ManifestInvalid,
    digested,
    platform_of,
    read_manifest,
)
from proxy.core.names import Digest
from proxy.core.platforms import Platform, select
from proxy.core.steps import at_once
from tests.fuzz import examples
from tests.fuzz.octets import mangled

DIGESTS = st.sampled_from([Digest.of(b"a"), Digest.of(b"b", "sha512"), "sha256:x", "md5:1", "", 7, None])
ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=4,
)
PLATFORMS = st.fixed_dictionaries({}, optional={name: ANY for name in ("os", "architecture", "variant")})
DESCRIPTORS = st.fixed_dictionaries(
    {}, optional={"digest": DIGESTS, "blobSum": DIGESTS, "platform": PLATFORMS | ANY, "size": ANY}
)
PARTS = ANY | DESCRIPTORS | st.lists(DESCRIPTORS | ANY, max_size=3)
DOCUMENTS = st.fixed_dictionaries(
    {},
    optional={
        "schemaVersion": st.sampled_from([1, 2, "2", None]),
        "mediaType": st.sampled_from([*KNOWN, "", "application/x\r\ny", "text/html"]) | ANY,
        "artifactType": ANY,
        **{name: PARTS for name in ("config", "layers", "manifests", "fsLayers", "subject")},
        "signatures": PARTS | st.lists(st.fixed_dictionaries({"protected": st.text(max_size=9)}), max_size=2),
    },
)
RAW = DOCUMENTS.map(lambda document: json.dumps(document).encode())
STATED = st.sampled_from([*KNOWN, "", "application/json; charset=utf-8", "a/b\r\nX: y"]) | st.text(max_size=20)


def facts_of(raw: bytes, stated: str) -> ManifestFacts | None:
    try:
        return at_once(read_manifest(raw, stated))
    except ManifestInvalid:
        return None


@examples
@given(RAW | mangled(RAW) | st.binary(max_size=60), STATED)
@example(b'{"manifests":[],"manifests":[]}', DOCKER_LIST)
@example(b"[" * 100_000, "")
@example(b'{"a":' * 100_000, "")
@example(b'{"schemaVersion":' + b"9" * 5000 + b"}", "")
@example(b'{"config":"\\ud800","layers":[]}', "")
def test_it_is_a_manifest_with_facts_or_none(raw: bytes, stated: str) -> None:
    facts = facts_of(raw, stated)
    event(str(facts and facts.media_type))
    if facts is None:
        return
    assert len(facts.media_type) < 150
    assert facts.media_type.isascii()
    assert facts.media_type.isprintable()
    assert " " not in facts.media_type
    assert len(facts.children) == len(set(facts.children)) <= DESCRIPTOR_LIMIT
    for digest in (*facts.children, *filter(None, [facts.subject])):
        assert Digest.parse(digest).encode() in raw


@examples
@given(RAW | mangled(RAW) | st.binary(max_size=60), DIGESTS.filter(lambda text: isinstance(text, Digest)))
def test_a_platform_can_be_shown_and_a_payload_is_part_of_what_came(raw: bytes, child: Digest) -> None:
    platform = at_once(platform_of(raw, child))
    assert platform is None or (platform.isprintable() and 0 < len(platform) <= 60)
    assert at_once(digested(raw)) == raw or b'"signatures"' in raw


@examples
@given(RAW | mangled(RAW) | st.binary(max_size=60), STATED, st.none() | st.just((Platform("linux", "amd64"),)))
def test_what_is_wanted_of_it_is_a_part_of_it(raw: bytes, stated: str, platforms: tuple[Platform, ...] | None) -> None:
    try:
        wanted = at_once(select(raw, stated, platforms))
    except ManifestInvalid:
        return
    assert set(wanted.manifests) <= set(wanted.parts.manifests)
    assert all(size >= 0 for size in wanted.sizes.values())
    assert all(str(platform).isprintable() for platform in wanted.offered)

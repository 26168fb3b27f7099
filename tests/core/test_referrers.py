"""An index of referrers out of manifests that are held."""

import json
from typing import Any

from proxy.core.manifests import OCI_INDEX, OCI_MANIFEST
from proxy.core.names import Digest
from proxy.core.referrers import Referrer, fallback_tag, referrers_index
from proxy.core.steps import at_once


def referrer(media_type: str = OCI_MANIFEST, **fields: Any) -> Referrer:
    raw = json.dumps({"schemaVersion": 2, **fields}).encode()
    return Referrer(Digest.of(raw), media_type, raw)


def listed(raw: bytes) -> list[dict[str, Any]]:
    index = json.loads(raw)
    assert (index["schemaVersion"], index["mediaType"]) == (2, OCI_INDEX)
    found: list[dict[str, Any]] = index["manifests"]
    return found


def test_each_is_described_as_a_registry_describes_it() -> None:
    signed = referrer(artifactType="application/sig", annotations={"a": "b"}, config={"mediaType": "application/empty"})
    image = referrer(config={"mediaType": "application/config"})
    index = referrer(OCI_INDEX, manifests=[])
    first, second, third = listed(at_once(referrers_index([signed, image, index], None)).raw)
    assert first == {
        "mediaType": OCI_MANIFEST,
        "digest": signed.digest,
        "size": len(signed.raw),
        "artifactType": "application/sig",
        "annotations": {"a": "b"},
    }
    assert second["artifactType"] == "application/config", "an image without a type is of the type of its config"
    assert third == {"mediaType": OCI_INDEX, "digest": index.digest, "size": len(index.raw)}


def test_only_those_of_the_type_that_was_asked_for() -> None:
    wanted, other = referrer(artifactType="application/a"), referrer(artifactType="application/b")
    page = at_once(referrers_index([wanted, other], "application/a"))
    assert [each["digest"] for each in listed(page.raw)] == [wanted.digest]
    assert listed(at_once(referrers_index([other], "application/a")).raw) == []


def test_what_is_no_manifest_is_left_out() -> None:
    broken = Referrer(Digest.of(b"{"), OCI_MANIFEST, b"{")
    assert listed(at_once(referrers_index([broken], None)).raw) == []


def test_a_page_ends_before_clients_stop_reading() -> None:
    annotations = {name: "x" * 500_000 for name in "abc"}
    large = [referrer(artifactType=f"application/{number}", annotations=annotations) for number in range(4)]
    page = at_once(referrers_index(large, None))
    assert len(page.raw) < 4 << 20
    assert [each["digest"] for each in listed(page.raw)] == [large[0].digest, large[1].digest]
    assert page.last == large[1].digest
    assert at_once(referrers_index(large[2:], None)).last is None


def test_the_fallback_tag() -> None:
    assert fallback_tag(Digest.of(b"")) == Digest.of(b"").replace(":", "-")
    assert len(fallback_tag(Digest.of(b"", "sha512"))) == len("sha512-") + 64

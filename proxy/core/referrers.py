"""An index of referrers made from manifests that are held, for when their registry cannot be asked.

Descriptor fields and the fallback tag: OCI distribution-spec "Listing Referrers" and "Referrers Tag Schema".
"""

import json
from collections.abc import Iterable
from typing import Any, NamedTuple

from proxy.core.manifests import OCI_INDEX, ManifestInvalid, read_object
from proxy.core.names import Digest, Tag
from proxy.core.steps import Steps

_LARGEST = 4 << 20  # bytes of a page: what clients read of an index


class Referrer(NamedTuple):
    """A held manifest that is about another."""

    digest: Digest
    media_type: str
    raw: bytes


class ReferrersIndex(NamedTuple):
    raw: bytes
    last: Digest | None  # of what it holds, where it does not hold everything


def referrers_index(referrers: Iterable[Referrer], artifact_type: str | None) -> Steps[ReferrersIndex]:
    """Of those of that type, all where it is None; what cannot be read is left out."""
    entries: list[str] = []
    size, last = 0, None
    for referrer in referrers:
        entry = yield from _descriptor(referrer)
        if entry is None or artifact_type not in (None, entry.get("artifactType")):
            continue
        written = json.dumps(entry)
        size += len(written) + 2
        if entries and size > _LARGEST:
            return ReferrersIndex(_index(entries), last)
        entries.append(written)
        last = referrer.digest
        yield
    return ReferrersIndex(_index(entries), None)


def fallback_tag(subject: Digest) -> Tag:
    """Where clients look for referrers of a registry without the API."""
    return Tag.parse(f"{subject.algorithm[:32]}-{subject.encoded[:64]}")


def cosign_tags(subject: Digest) -> tuple[Tag, ...]:
    """Where cosign puts signatures, attestations and bills of material of a sha256 digest (cosign, "Signature
    Spec")."""
    if subject.algorithm != "sha256":
        return ()
    return tuple(Tag(f"sha256-{subject.encoded}.{kind}") for kind in ("sig", "att", "sbom"))


def _index(entries: list[str]) -> bytes:
    return f'{{"schemaVersion": 2, "mediaType": "{OCI_INDEX}", "manifests": [{", ".join(entries)}]}}'.encode()


def _descriptor(referrer: Referrer) -> Steps[dict[str, Any] | None]:
    """An image without an ``artifactType`` is of the type of its config; an index has only its own."""
    try:
        document = yield from read_object(referrer.raw)
    except ManifestInvalid:
        return None
    entry = {"mediaType": referrer.media_type, "digest": referrer.digest, "size": len(referrer.raw)}
    config = document.get("config")
    kind = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
    if isinstance(kind, str):
        entry["artifactType"] = kind
    annotations = document.get("annotations")
    if isinstance(annotations, dict):
        entry["annotations"] = annotations
    return entry

"""Pushes over HTTP, as far as any registry takes them (OCI distribution-spec, "Push")."""

import http.client
import json
import random
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import urlsplit

from proxy.core.names import Digest
from tests.zoo.registry import OCI_MANIFEST

LAYER = 300_000  # bytes


class Pushed(NamedTuple):
    raw: bytes  # the manifest
    digest: Digest
    blobs: Mapping[Digest, bytes]


def push_image(port: int, name: str, *tags: str) -> Pushed:
    """One image under all of these tags. Raises AssertionError where the registry refuses."""
    layer = random.Random(name).randbytes(LAYER)
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    blobs = {Digest.of(content): content for content in (config, layer)}
    types = ("application/vnd.oci.image.config.v1+json", "application/vnd.oci.image.layer.v1.tar")
    described = [
        {"mediaType": media_type, "digest": str(digest), "size": len(content)}
        for media_type, (digest, content) in zip(types, blobs.items(), strict=True)
    ]
    document = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": described[0], "layers": described[1:]}
    raw = json.dumps(document).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        for digest, content in blobs.items():
            _push_blob(connection, name, digest, content)
        for tag in tags:
            _asked(connection, "PUT", f"/v2/{name}/manifests/{tag}", raw, OCI_MANIFEST, 201)
    finally:
        connection.close()
    return Pushed(raw, Digest.of(raw), blobs)


def _push_blob(connection: http.client.HTTPConnection, name: str, digest: Digest, content: bytes) -> None:
    location = urlsplit(_asked(connection, "POST", f"/v2/{name}/blobs/uploads/", b"", None, 202) or "")
    query = f"{location.query}&" if location.query else ""
    path = f"{location.path}?{query}digest={digest}"
    _asked(connection, "PUT", path, content, "application/octet-stream", 201)


def _asked(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes, media_type: str | None, expected: int
) -> str | None:
    """The Location of the answer."""
    connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
    response = connection.getresponse()
    said = response.read()
    assert response.status == expected, (method, path, response.status, said[:300])
    return response.headers["Location"]

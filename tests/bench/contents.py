"""What is pulled: blobs and a manifest, pushed into a registry through its push API."""

import hashlib
import http.client
import json
from random import Random
from typing import NamedTuple
from urllib.parse import urlsplit

MIB = 1024 * 1024
REPOSITORY = "bench/image"
TAG = "latest"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


class Content(NamedTuple):
    path: str
    digest: str
    size: int


class Manifest(NamedTuple):
    by_digest: Content
    by_tag: Content


class Contents:
    """Content of one registry, made when it is first asked for; the same number gives the same blob."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._blobs: dict[tuple[int, int], Content] = {}

    def blob(self, size: int, number: int) -> Content:
        if (size, number) not in self._blobs:
            self._blobs[size, number] = self._push(_bytes(size, number))
        return self._blobs[size, number]

    def manifest(self, layer: Content) -> Manifest:
        config = self._push(b"{}")
        raw = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": _descriptor("application/vnd.oci.empty.v1+json", config),
                "layers": [_descriptor("application/octet-stream", layer)],
            }
        ).encode()
        self._request("PUT", f"/v2/{REPOSITORY}/manifests/{TAG}", raw, MANIFEST_TYPE)
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        return Manifest(
            *(Content(f"/v2/{REPOSITORY}/manifests/{reference}", digest, len(raw)) for reference in (digest, TAG))
        )

    def _push(self, raw: bytes) -> Content:
        digest = f"sha256:{hashlib.sha256(raw).hexdigest()}"
        location = urlsplit(self._request("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"", ""))
        self._request("PUT", f"{location.path}?{location.query}&digest={digest}", raw, "application/octet-stream")
        return Content(f"/v2/{REPOSITORY}/blobs/{digest}", digest, len(raw))

    def _request(self, method: str, path: str, body: bytes, media_type: str) -> str:
        """The Location of the answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=120)
        connection.request(method, path, body, {"Content-Type": media_type} if media_type else {})
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        if answer.status not in (201, 202):
            raise RuntimeError(f"{method} {path}: {answer.status} {said!r}")
        return answer.getheader("Location", "")


def _descriptor(media_type: str, content: Content) -> dict[str, object]:
    return {"mediaType": media_type, "digest": content.digest, "size": content.size}


def _bytes(size: int, number: int) -> bytes:
    """Incompressible within a MiB, and different for each number."""
    block = Random(number).randbytes(min(size, MIB))
    return (block * -(-size // len(block)))[:size]

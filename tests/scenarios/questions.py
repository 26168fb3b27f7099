"""What may be asked of one image, in all ways, by those who may have it and by those who may not."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from proxy.core.names import Digest
from tests.scenarios.client import Reply
from tests.scenarios.house import NAME, blob_path, manifest_path

TELLS = {"docker-content-digest", "etag", "content-range", "accept-ranges", "cache-status", "link"}
"""Headers that say that something is there."""


class Question(NamedTuple):
    method: str
    headers: Mapping[str, str]
    kind: str  # of ``Thing.path``


QUESTIONS = (
    Question("GET", {}, "blob"),
    Question("HEAD", {}, "blob"),
    Question("GET", {"Range": "bytes=1-2"}, "blob"),
    Question("GET", {"If-None-Match": "*"}, "blob"),
    Question("GET", {}, "tag"),
    Question("HEAD", {}, "tag"),
    Question("GET", {}, "digest"),
    Question("HEAD", {"If-None-Match": "*"}, "digest"),
    Question("GET", {}, "tags"),
    Question("GET", {}, "referrers"),
)


class Thing(NamedTuple):
    """A blob and an image of a repository, or what is not there."""

    repository: str
    blob: Digest
    digest: Digest
    tag: str

    def path(self, kind: str) -> str:
        return {
            "blob": blob_path(self.blob, self.repository),
            "tag": manifest_path(self.tag, self.repository),
            "digest": manifest_path(self.digest, self.repository),
            "tags": f"/v2/{NAME}/{self.repository}/tags/list",
            "referrers": f"/v2/{NAME}/{self.repository}/referrers/{self.digest}",
        }[kind]

    def told(self, reply: Reply) -> tuple[int, frozenset[str], str]:
        """What a reply says but for which thing was asked for, and the request's own number."""
        text = reply.body.decode() + reply.reason
        for name in (self.blob, self.digest, self.tag):
            text = text.replace(name, "THING")
        return reply.status, frozenset(reply.headers), re.sub(r"[0-9a-f]{12}", "NUMBER", text)


def absent(repository: str) -> Thing:
    """Nothing of it is there."""
    return Thing(repository, Digest.of(b"absent"), Digest.of(b"absent manifest"), "absent")

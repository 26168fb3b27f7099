"""The host that a registry redirects to for blobs: each URL is signed for one GET, and it takes no Authorization."""

import itertools
from collections import Counter
from urllib.parse import parse_qs, urlsplit

from proxy.core.names import Digest
from tests.cast import FaultUpstream, Line
from tests.zoo.bodies import Bodies
from tests.zoo.manners import Storage

HOST = "127.0.0.2"
_XML = {"Content-Type": "application/xml"}


class StorageHost:
    """``up`` is to be entered as any host of the cast."""

    def __init__(self, storage: Storage, bodies: Bodies, shown: Counter[str]) -> None:
        self.up = FaultUpstream(host=HOST)
        self.up.always("other", self._stored)
        self._storage = storage
        self._bodies = bodies
        self._shown = shown
        self._signed: dict[str, str] = {}  # signature -> path
        self._numbers = itertools.count(1)

    def put(self, digest: Digest, content: bytes) -> None:
        self.up.page(_path(digest), content)

    def signed_url(self, digest: Digest) -> str:
        """For one GET."""
        signature = f"once-{next(self._numbers)}"
        self._signed[signature] = _path(digest)
        query = f"X-Amz-Expires=600&X-Amz-SignedHeaders=host&X-Amz-Signature={signature}"
        return f"{self.up.url}{_path(digest)}?{query}"

    async def _stored(self, line: Line) -> None:
        target = urlsplit(line.seen.target)
        signature = parse_qs(target.query).get("X-Amz-Signature", [""])[0]
        if "authorization" in line.seen.headers:
            self._shown["storage was shown a credential"] += 1
            await line.answer(400, _error("InvalidArgument"), _XML)
        elif self._signed.pop(signature, None) != target.path:
            self._shown["signature used twice"] += 1
            await line.answer(403, _error("AccessDenied"), _XML)
        elif line.seen.method == "HEAD":
            self._shown["storage was asked by HEAD"] += 1
            await line.answer(self._storage.head)
        elif refused := self._bodies.refusal(line, self._storage.ranges):
            await line.answer(refused, _error("SignatureDoesNotMatch"), _XML)
        else:
            await self._bodies.send(line, self._storage.headers, self._storage.ranges)


def _path(digest: Digest) -> str:
    return f"/{digest.encoded}/data"


def _error(code: str) -> bytes:
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code></Error>'.encode()

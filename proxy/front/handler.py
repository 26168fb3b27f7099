"""Each request becomes a value, the cache answers it, the reply goes out, one line is written.

The only place that knows both HTTP and the cache; faults of all kinds end here.
"""

import asyncio
import logging
from collections.abc import Callable

from aiohttp import HttpVersion10, HttpVersion11, web

from proxy.cache.answers import ManifestAnswer
from proxy.cache.engine import Cache
from proxy.core.errors import BodyRefused, Fault, RequestMalformed, StoreFailed
from proxy.core.upstreams import UpstreamNames
from proxy.front import replies
from proxy.front.access_log import AccessLog, Line, Traffic
from proxy.front.client import ClientGone
from proxy.front.connections import FullConnection, Sent
from proxy.front.replies import Reply, Stream
from proxy.front.routes import (
    Asked,
    BlobPull,
    CatalogList,
    ManifestPull,
    Operation,
    Ping,
    ReferrersList,
    TagList,
    parse,
)
from proxy.front.sender import PlainSender

log = logging.getLogger("entrepot.front")

_KINDS: dict[type[Operation], str] = {
    Ping: "ping",
    ManifestPull: "manifest",
    BlobPull: "blob",
    TagList: "tags",
    ReferrersList: "referrers",
    CatalogList: "catalog",
}


class Handler:
    """``active`` counts the requests under way."""

    def __init__(
        self, cache: Cache, names: UpstreamNames, sender: PlainSender, access_log: AccessLog, now: Callable[[], float]
    ) -> None:
        self.active = 0
        self._cache = cache
        self._names = names
        self._sender = sender
        self._access_log = access_log
        self._now = now

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        assert isinstance(request.protocol, FullConnection)
        request.protocol.spoke()
        self.active += 1
        try:
            return await self._serve(request)
        finally:
            self.active -= 1

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        started = asyncio.get_running_loop().time()
        asked: Asked | None = None
        fault = ""
        keep_alive = request.keep_alive and request.version == HttpVersion11
        try:
            _admit(request)
            asked = parse(request.method, request.raw_path, request.headers, self._names)
            reply = await self._answer(asked, request.method)
        except Fault as kind:
            fault, reply = str(kind), replies.fault(kind)
            keep_alive = keep_alive and not isinstance(kind, RequestMalformed | BodyRefused)
        except Exception:
            log.exception("%s %.1000r", request.method, request.raw_path)
            fault, reply = "unforeseen", replies.fault(StoreFailed("an unforeseen failure; see the log"))
        sent = 0
        try:
            sent = await self._send(request, asked, reply, keep_alive)
        except (ClientGone, Fault) as broken:
            self._access_log.cut += 1
            fault, keep_alive = str(broken), False
        finally:
            if isinstance(reply.content, Stream):
                reply.content.body.close()
        self._note(request, asked, reply, sent, asyncio.get_running_loop().time() - started, fault)
        return Sent(keep_alive)

    async def _answer(self, asked: Asked, method: str) -> Reply:
        cache = self._cache
        match asked.operation:
            case Ping():
                return replies.ping()
            case ManifestPull() as pull:
                answer: ManifestAnswer = await cache.manifests.get(pull.repository, pull.reference)
                return replies.manifest(pull, answer)
            case BlobPull() as pull if method == "HEAD":
                return replies.blob_size(pull, await cache.blobs.size(pull.repository, pull.digest))
            case BlobPull() as pull:
                return await self._blob(pull)
            case TagList() as listing:
                page = await cache.listings.tags(listing.repository, listing.limit, listing.last)
                return replies.tags(asked, listing, page)
            case ReferrersList() as listing:
                found = await cache.listings.referrers(listing.repository, listing.digest, listing.query)
                return replies.referrers(asked, listing, found)
            case CatalogList() as listing:
                return replies.catalog(asked, listing, await cache.listings.catalog(listing.limit, listing.last))

    async def _blob(self, pull: BlobPull) -> Reply:
        answer = await self._cache.blobs.get(pull.repository, pull.digest)
        try:
            return replies.blob(pull, answer)
        except BaseException:
            answer.body.close()
            raise

    async def _send(self, request: web.BaseRequest, asked: Asked | None, reply: Reply, keep_alive: bool) -> int:
        """Bytes of body that went out. Raises ClientGone, or the Fault of a body that broke off."""
        transport = request.transport
        if transport is None:
            raise ClientGone("the client closed the connection")
        chunked = reply.length is None and reply.status == 200 and request.version == HttpVersion11
        endless = reply.length is None and reply.status == 200 and not chunked
        namespace = asked.namespace if asked is not None else None
        head = replies.head(reply, namespace, keep_alive and not endless, chunked and request.method == "GET")
        if request.method == "HEAD" or reply.status == 304:
            await self._sender.send(transport, head)
            return 0
        if isinstance(reply.content, bytes):
            await self._sender.send(transport, head + reply.content)
            return len(reply.content)
        return await self._sender.send_stream(transport, head, reply.content, chunked)

    def _note(
        self, request: web.BaseRequest, asked: Asked | None, reply: Reply, sent: int, seconds: float, fault: str
    ) -> None:
        repository = getattr(asked.operation, "repository", None) if asked is not None else None
        upstream = self._names.configured(repository.upstream) or "" if repository is not None else ""
        kind = _KINDS[type(asked.operation)] if asked is not None else "none"
        tally = self._access_log.tally(Traffic(upstream, kind, reply.outcome), reply.status)
        tally.requests += 1
        tally.sent += sent
        if not self._access_log.writes:
            return
        line = Line(
            self._now(),
            request.remote or "",
            request.method[:16],
            request.raw_path[:1024],
            reply.status,
            reply.outcome,
            upstream,
            sent,
            seconds,
            request.headers.get("User-Agent", "")[:256],
            fault,
        )
        self._access_log.write(line)


def _admit(request: web.BaseRequest) -> None:
    """Only what a registry client sends. Raises RequestMalformed or BodyRefused."""
    if request.version not in {HttpVersion10, HttpVersion11}:
        raise RequestMalformed("HTTP/1.1 is spoken here")
    if not request.raw_path.startswith("/"):
        raise RequestMalformed("the request target must be a path")
    if "Upgrade" in request.headers:
        raise RequestMalformed("no other protocol is spoken here")
    if request.method in {"GET", "HEAD"} and request.body_exists:
        raise BodyRefused()

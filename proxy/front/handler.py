"""The full path: the cache answers a request, the reply goes out, one line is noted.

The only place that knows both HTTP and the cache; faults of all kinds end here.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from proxy.cache.engine import Cache
from proxy.core.access import Caller
from proxy.core.errors import BodyRefused, Fault, RequestMalformed, StoreFailed, UpstreamRefused, VersionUnsupported
from proxy.core.operations import BlobPull, CatalogList, ManifestPull, Ping, ReferrersList, TagList, TokenGrant
from proxy.core.via import hops_of
from proxy.front import replies
from proxy.front.access_log import AccessLog, Line, new_request_id
from proxy.front.date import DateHeader
from proxy.front.door import Door
from proxy.front.live import LivePull
from proxy.front.replies import Reply, Stream
from proxy.front.requests import Understood
from proxy.front.routes import Asked
from proxy.front.sender import ClientGone, Sender
from proxy.tasks.hops import CAME_BY

log = logging.getLogger("entrepot.front")

_ENDING = RequestMalformed | BodyRefused | VersionUnsupported
"""Behind these nobody can tell where the next request begins."""


class Handler:
    """``live`` has the requests under way. ``fits`` is the sender's."""

    def __init__(
        self,
        cache: Cache,
        door: Door,
        sender: Sender,
        access_log: AccessLog,
        date: DateHeader,
        now: Callable[[], float],
    ) -> None:
        self.live: set[LivePull] = set()
        self.fits = sender.fits
        self._cache = cache
        self._door = door
        self._sender = sender
        self._access_log = access_log
        self._date = date
        self._now = now

    @property
    def active(self) -> int:
        """How many requests are under way."""
        return len(self.live)

    async def __call__(self, transport: asyncio.Transport, address: str, understood: Understood, block: bytes) -> bool:
        """May the connection live on? ``block`` is the header block. In a task of its own. Raises CancelledError
        only."""
        if "via" in understood.head.headers:
            CAME_BY.set(hops_of(understood.head.headers["via"]))
        loop = asyncio.get_running_loop()
        started = loop.time()
        live = LivePull(address, understood, started)
        self.live.add(live)
        try:
            keep_alive = understood.head.keep_alive and not isinstance(understood.fault, _ENDING)
            reply, fault = await self._reply(transport, address, understood)
            live.reply = reply
            answered = loop.time()
            sent, stream = 0, reply.content if isinstance(reply.content, Stream) else None
            try:
                sent = await self._send(transport, understood, reply, keep_alive)
            except (Exception, asyncio.CancelledError) as broken:  # cancelled where the client left
                keep_alive, sent = False, stream.sent if stream is not None else 0
                if stream is None or not stream.is_out:  # else he left with all that he had asked for
                    fault = str(broken) or "the client closed the connection"
                    await self._broken_off(transport, stream, broken)
            finally:
                if stream is not None:
                    stream.body.close()
        finally:
            self.live.discard(live)
        operation = understood.asked.operation if understood.asked is not None else None
        tally = self._access_log.tally(operation, reply.outcome, reply.status)
        tally.requests += 1
        tally.sent += sent
        tally.first_byte.observe(answered - started)
        tally.seconds.observe(loop.time() - started)
        if (groups := self._access_log.groups).wanted:
            group = groups.of(self._door.sender(understood))
            group.requests += 1
            group.sent += sent
        if self._access_log.wants(reply.status, fault):
            now, seconds, user = self._now(), loop.time() - started, self._door.sender(understood).name
            shown, said = understood.shown or block, (fault, reply.request, user)
            line = Line(now, address, shown, reply.status, tally.traffic, sent, seconds, *said)
            self._access_log.write(line)
        return keep_alive

    async def _reply(self, transport: asyncio.Transport, address: str, understood: Understood) -> tuple[Reply, str]:
        """The reply, and what went wrong in the operator's words. The caller is admitted before anything is looked up,
        and so before every join."""
        asked = understood.asked
        operation = asked.operation if asked is not None else None
        try:
            scheme = "http" if transport.get_extra_info("ssl_object") is None else "https"
            caller = await self._door.admitted(understood, address, scheme)
            if asked is None:
                raise understood.fault or RequestMalformed("nothing was asked")
            try:
                return await self._answer(caller, address, asked), ""
            except UpstreamRefused as refused:
                raise await self._door.turned_away(understood, caller, address, scheme, refused) from refused
        except Fault as kind:
            return replies.fault(kind, operation, new_request_id()), str(kind)
        except Exception:
            request, head = new_request_id(), understood.head
            log.exception("request %s: %s %.1000r", request, head.method, head.target)
            return replies.fault(StoreFailed("unforeseen"), operation, request), "unforeseen"

    async def _answer(self, caller: Caller, address: str, asked: Asked) -> Reply:
        """Raises Fault kinds."""
        cache = self._cache
        match asked.operation:
            case Ping():
                return replies.ping()
            case TokenGrant() as asking:
                return replies.token(self._door.token(caller, asking))
            case ManifestPull() as pull:
                held = await cache.manifests.get(pull.repository, pull.reference)
                return await self._paid(caller, address, asked, replies.manifest(pull, held))
            case BlobPull() as pull if asked.method == "HEAD":
                return replies.blob_size(pull, await cache.blobs.size(pull.repository, pull.digest))
            case BlobPull() as pull:
                return await self._blob(caller, address, pull)
            case TagList() as listing:
                tags = await cache.listings.tags(listing.repository, listing.limit, listing.query)
                reply = await cache.holdings.turns.run(replies.tags(asked, listing, tags))
                return await self._paid(caller, address, asked, reply)
            case ReferrersList() as listing:
                found = await cache.listings.referrers(listing.repository, listing.digest, listing.query)
                return await self._paid(caller, address, asked, replies.referrers(asked, listing, found))
            case CatalogList() as listing:
                shown = partial(self._door.shows, caller)
                return replies.catalog(asked, listing, await cache.listings.catalog(listing.limit, listing.last, shown))

    async def _paid(self, caller: Caller, address: str, asked: Asked, reply: Reply) -> Reply:
        """When it is within what the caller may be sent."""
        if isinstance(reply.content, bytes) and reply.status == 200 and asked.method == "GET":
            await self._door.pay(caller, asked.operation, address, len(reply.content))
        return reply

    async def _blob(self, caller: Caller, address: str, pull: BlobPull) -> Reply:
        """As much at a time as the caller may take."""
        rule = self._door.limiting_rule(caller, pull.repository)
        if rule is None:
            answer = await self._cache.blobs.get(pull.repository, pull.digest)
        else:
            answer = await self._door.fairness.blob(rule, caller, address, pull)
        try:
            return replies.blob(pull, answer)
        except BaseException:
            answer.body.close()
            raise

    async def _send(self, transport: asyncio.Transport, understood: Understood, reply: Reply, keep_alive: bool) -> int:
        """Bytes of body that went out. Raises ClientGone, TransportUnfit, or the Fault of a body that broke off."""
        head, asked = understood.head, understood.asked
        endless = reply.length is None and reply.status == 200
        chunked = endless and head.version == "1.1"
        namespace = asked.namespace if asked is not None else None
        keep_alive = keep_alive and (chunked or not endless)
        block = replies.head(reply, self._date.line, namespace, keep_alive, chunked and head.method == "GET")
        if head.method == "HEAD" or reply.status == 304:
            await self._sender.send(transport, block)
            return 0
        if isinstance(reply.content, bytes):
            await self._sender.send(transport, block + reply.content)
            return len(reply.content)
        return await self._sender.send_stream(transport, block, reply.content, chunked)

    async def _broken_off(self, transport: asyncio.Transport, stream: Stream | None, broken: BaseException) -> None:
        """Whoever gets less than a head promised has to know; what the store could not read is not trusted again."""
        self._access_log.cut += 1
        transport.abort()
        if stream is not None and isinstance(broken, StoreFailed):
            await stream.body.discard()
        if not isinstance(broken, ClientGone | Fault | asyncio.CancelledError):
            log.error("a reply broke off", exc_info=broken)

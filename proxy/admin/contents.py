"""Bytes in and out of the running cache by their digest, for bundles: ``GET`` and ``PUT /api/v1/contents/DIGEST``.

What comes in is proven, and nobody's until an import orders it to be had. A page that a browser shows can send a PUT to
another origin only after asking first, which nothing here answers.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from functools import partial

from aiohttp import web

from proxy.cache.body import HeldBody
from proxy.cache.engine import Cache
from proxy.core.errors import Absent, Fault, NoSpace, RequestFault, StoreFailed
from proxy.core.names import Digest
from proxy.tasks.off_loop import off_loop

log = logging.getLogger("entrepot.bundles")

_PIECE = 1 << 20  # bytes
_PATIENCE = 60.0  # seconds between two pieces


class ContentDoor:
    """For those whom the gate admits: it knows nobody's rights."""

    def __init__(self, cache: Cache) -> None:
        self._pool = cache.holdings.threads.behind
        self._exports = cache.exports
        self._imports = cache.imports

    async def give(self, request: web.Request) -> web.StreamResponse:
        """All bytes of what is held; a connection that breaks off says that they cannot be read to their end."""
        try:
            body = await self._exports.open(Digest.parse(request.match_info["digest"]))
        except Fault as fault:
            return _told(fault)
        try:
            return await self._sent(request, body)
        finally:
            body.close()

    async def take(self, request: web.Request) -> web.StreamResponse:
        """``?upstream=`` names the registry that the bytes count for. 201 once they are proven and on the disk."""
        try:
            digest = Digest.parse(request.match_info["digest"])
            if request.content_length is None:
                raise RequestFault("say how many bytes it has: Content-Length")
            upstream = request.query.get("upstream", "")
            await self._imports.receive(digest, request.content_length, upstream, _pieces(request))
        except Fault as fault:
            # Whoever is cut off while he sends does not read why.
            async for _ in _pieces(request):
                pass
            return _told(fault)
        return web.json_response({"digest": digest}, status=201)

    async def _sent(self, request: web.Request, body: HeldBody) -> web.StreamResponse:
        size = body.reader.size
        answer = web.StreamResponse(headers={"Content-Type": "application/octet-stream", "Content-Length": str(size)})
        await answer.prepare(request)
        position = 0
        try:
            while position < size:
                piece = await off_loop(self._pool, partial(body.reader.read, position, min(_PIECE, size - position)))
                if not piece:
                    raise StoreFailed(f"the file ended at byte {position}")
                await answer.write(piece)
                position += len(piece)
            await answer.write_eof()
        except ConnectionError:
            log.info("whoever asked for content has gone at byte %d of %d", position, size)
        except Fault as fault:
            log.error("content cannot be read to its end: %s", fault)
            await body.discard()
            if request.transport is not None:
                request.transport.abort()
        return answer


async def _pieces(request: web.Request) -> AsyncIterator[bytes]:
    """As they come, gathered to few and large ones, since each costs a turn of a thread; none behind where the sender
    has gone, or says nothing."""
    gathered, count = list[bytes](), 0
    try:
        while True:
            async with asyncio.timeout(_PATIENCE):
                piece = await request.content.readany()
            gathered.append(piece)
            count += len(piece)
            if count >= _PIECE or not piece:
                yield b"".join(gathered)
                gathered, count = [], 0
            if not piece:
                return
    except (ConnectionError, TimeoutError, web.RequestPayloadError):
        return


def _told(fault: Fault) -> web.Response:
    match fault:
        case RequestFault():
            status = 400
        case Absent():
            status = 404
        case NoSpace():
            status = 507
        case _:
            status = 503
    return web.json_response({"error": str(fault)}, status=status)

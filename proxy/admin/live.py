"""What is under way now: blobs that arrive and requests that are being answered."""

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable

from proxy.admin.answering import Offer
from proxy.admin.live_messages import LIVE, LiveFill, LiveRequest, LiveView
from proxy.admin.messages import NothingMore
from proxy.cache.engine import Cache
from proxy.cache.fill import Fill
from proxy.core.operations import BlobPull, ManifestPull, Operation
from proxy.front.access_log import AccessLog
from proxy.front.connection import Front
from proxy.front.handler import Handler
from proxy.front.live import LivePull

_TOLD = 200  # of each kind


class LiveOperation:
    """``received`` are bytes from upstreams since the start."""

    def __init__(
        self, cache: Cache, front: Front, handler: Handler, access_log: AccessLog, received: Callable[[], int]
    ) -> None:
        self._arriving = cache.fills.arriving
        self._front = front
        self._handler = handler
        self._access_log = access_log
        self._received = received

    @property
    def offer(self) -> Offer[NothingMore, LiveView]:
        """For the listener."""
        return Offer(LIVE, self.live)

    async def live(self, _: NothingMore) -> AsyncGenerator[LiveView, None]:
        """One line, as of now."""
        now, fills, pulls = asyncio.get_running_loop().time(), self._arriving.values(), self._handler.live
        yield LiveView(
            at=now,
            connections=len(self._front.connections),
            requests=len(pulls),
            fills=len(fills),
            served=self._access_log.sent().total() + sum(pull.sent for pull in pulls),
            fetched=self._received(),
            arriving=tuple(map(_fill, heapq.nlargest(_TOLD, fills, key=lambda fill: fill.size or fill.received))),
            pulls=tuple(_request(each, now) for each in heapq.nsmallest(_TOLD, pulls, key=lambda pull: pull.started)),
        )


def _fill(fill: Fill) -> LiveFill:
    return LiveFill(
        digest=fill.digest,
        repository_name=str(fill.repository),
        received=fill.received,
        size=fill.size,
        clients=fill.followers,
        origins=tuple(sorted(fill.origins)),
    )


def _request(pull: LivePull, now: float) -> LiveRequest:
    understood, reply = pull.understood, pull.reply
    operation = understood.asked.operation if understood.asked is not None else None
    repository = operation.repository if operation is not None else None
    return LiveRequest(
        client=pull.address,
        user=understood.caller.name if understood.caller is not None else "",
        method=understood.head.method,
        kind=operation.kind if operation is not None else "none",
        repository_name=str(repository) if repository is not None else "",
        reference=_reference(operation),
        outcome=reply.outcome if reply is not None else "",
        sent=pull.sent,
        length=reply.length if reply is not None else None,
        seconds=now - pull.started,
    )


def _reference(operation: Operation | None) -> str:
    match operation:
        case ManifestPull(reference=reference):
            return str(reference)
        case BlobPull(digest=digest):
            return str(digest)
        case _:
            return ""

"""The fast path: what is in memory is answered from prepared bytes, in one step and without a task.

From the meaning of a request to its reply. Access and freshness are decided by the same rooms as on the full path; a
reply is remembered only until anything that such a decision rests on changes, and the gate is asked each time.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

from proxy.cache.answers import Outcome, SizeAnswer
from proxy.cache.engine import Cache
from proxy.core.access import ADMITTED, Admission, Caller, Gate
from proxy.core.errors import RangeUnsatisfiable
from proxy.core.names import Digest, Tag
from proxy.core.operations import BlobPull, ManifestPull, Operation, Ping
from proxy.core.tables import BoundedTable
from proxy.front import replies
from proxy.front.access_log import AccessLog, Answered, Tally
from proxy.front.date import DateHeader
from proxy.front.replies import Reply
from proxy.front.requests import Understood
from proxy.front.routes import Asked

MEASURED = Admission.MEASURED
Takes = Callable[[Caller, Operation, str, int], bool]

_KEPT_BYTES = 32 << 20  # of replies
_LONGEST_CONTENT = 64 << 10  # bytes; what is longer goes by the full path, which waits for slow readers
_OVERHEAD = 500  # bytes that a prepared reply takes beside what it sends


class _Decided(NamedTuple):
    reply: Reply
    digest: Digest | None  # of the content
    fresh_until: float  # seconds since the epoch


class Prepared:
    """A whole reply, as long as nothing that it rests on changes."""

    __slots__ = (
        "answered",
        "date",
        "digest",
        "encoded",
        "fresh_until",
        "generations",
        "place",
        "tag_place",
        "tally",
    )

    def __init__(self, encoded: bytes, date: bytes, answered: Answered, tally: Tally) -> None:
        self.encoded = encoded
        self.date = date  # the line in ``encoded``
        self.answered = answered
        self.tally = tally
        self.digest: Digest | None = None  # of the content, for the mark of last use
        self.fresh_until = math.inf
        self.place = self.tag_place = 0  # of what it was made from
        self.generations = 0  # the sum of theirs when it was made


def _weight(prepared: Prepared) -> int:
    return _OVERHEAD + len(prepared.encoded)


class FastPath:
    """``takes`` counts a reply of so many bytes to a caller at an address, where it is within his rate now."""

    def __init__(self, cache: Cache, gate: Gate, access_log: AccessLog, date: DateHeader, takes: Takes) -> None:
        self._manifests, self._blobs = cache.manifests, cache.blobs
        self._holdings = cache.holdings
        self._generations = cache.holdings.generations.at
        self._admit = gate.admit
        self._takes = takes
        self._access_log = access_log
        self._groups = access_log.groups
        self._date = date
        self._prepared: BoundedTable[Asked, Prepared] = BoundedTable(_KEPT_BYTES, weigh=_weight)

    def reply(self, understood: Understood, block: bytes, address: str, now: float) -> bytes | None:
        """The whole reply, counted and noted; None where this is for the full path."""
        caller, head, asked, _, _, shown = understood
        if caller is None or caller.until <= now or asked is None or not head.keep_alive:
            return None
        admission = self._admit(caller, asked.operation)
        if admission is not ADMITTED and admission is not MEASURED:
            return None
        prepared = self._prepared.peek(asked)
        generations = self._generations
        if (
            prepared is None
            or generations[prepared.place] + generations[prepared.tag_place] != prepared.generations
            or prepared.fresh_until < now
        ):
            prepared = self._prepare(asked)
            if prepared is None:
                return None
        if admission is MEASURED and not self._takes(caller, asked.operation, address, prepared.answered.sent):
            return None
        if prepared.date is not self._date.line:
            prepared.date = self._date.line
            prepared.encoded = replies.redate(prepared.encoded, prepared.date)
        if prepared.digest is not None:
            self._holdings.mark_used(prepared.digest, now)
        tally = prepared.tally
        tally.requests += 1
        answered = prepared.answered
        tally.sent += answered.sent
        if self._groups.wanted:
            group = self._groups.of(caller)
            group.requests += 1
            group.sent += answered.sent
        if self._access_log.every:
            self._access_log.write((now, address, shown or block, answered, caller.name))
        return prepared.encoded

    def forget(self) -> None:
        """Every reply is prepared anew, with the tally that is its own now."""
        self._prepared = BoundedTable(_KEPT_BYTES, weigh=_weight)

    def _prepare(self, asked: Asked) -> Prepared | None:
        """Decides anew; None where the reply needs more than memory."""
        decided = self._decide(asked)
        if decided is None:
            return None
        reply, content = decided.reply, decided.reply.content
        if not isinstance(content, bytes) or len(content) > _LONGEST_CONTENT:
            return None
        if asked.method == "HEAD" or reply.status == 304:
            content = b""
        encoded = replies.head(reply, self._date.line, asked.namespace, True, False) + content
        tally = self._access_log.tally(asked.operation, reply.outcome, reply.status)
        answered = Answered(reply.status, tally.traffic, len(content))
        prepared = Prepared(encoded, self._date.line, answered, tally)
        prepared.digest, prepared.fresh_until = decided.digest, decided.fresh_until
        # Nothing was waited for since the decision, so the generations there now are those it was made in.
        prepared.place, prepared.tag_place = self._places(asked, decided.digest)
        prepared.generations = self._generations[prepared.place] + self._generations[prepared.tag_place]
        self._prepared.put(asked, prepared)
        return prepared

    def _decide(self, asked: Asked) -> _Decided | None:
        match asked.operation:
            case ManifestPull() as pull:
                found = self._manifests.peek(pull.repository, pull.reference)
                return _Decided(replies.manifest(pull, found[0]), found[0].digest, found[1]) if found else None
            case BlobPull() as pull:
                hit = self._blobs.peek(pull.repository, pull.digest)
                if hit is None:
                    return None
                raw, until = hit
                if asked.method == "HEAD":
                    return _Decided(replies.blob_size(pull, SizeAnswer(len(raw), Outcome.HIT)), pull.digest, until)
                try:
                    return _Decided(replies.small_blob(pull, raw), pull.digest, until)
                except RangeUnsatisfiable:
                    return None
            case Ping():
                return _Decided(replies.ping(), None, math.inf)
            case _:
                return None

    def _places(self, asked: Asked, digest: Digest | None) -> tuple[int, int]:
        place = self._holdings.generations.place
        match asked.operation:
            case ManifestPull(repository=repository, reference=Tag() as tag):
                return place(digest), place((repository, tag))
            case _:
                return place(digest), place(digest)

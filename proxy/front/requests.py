"""From a header block to who asks and for what, and the memory of what blocks mean.

Clients change headers that change nothing. So it goes in two steps: a block that came before is known by its bytes, any
other by what is left of it without the headers that have no meaning here. Only what neither step knows is parsed.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple
from weakref import WeakValueDictionary

from proxy.core.access import ANONYMOUS, Caller
from proxy.core.errors import Fault
from proxy.core.operations import Operation
from proxy.core.tables import BoundedTable
from proxy.core.upstreams import UpstreamNames
from proxy.front.request_head import HeadLimits, HeadParser, RequestHead
from proxy.front.routes import Asked, parse

_LONGEST_KEPT = 4096  # bytes of a block
_KEPT_BYTES = 16 << 20  # at each step
_LEFT_OUT = 32  # headers, at most
_OVERHEAD = 1500  # bytes that an understood block takes beside its fields

_WITHOUT_MEANING: Final = re.compile(
    rb"\r\n(?:[Xx]-[!#$%&'*+.^_`|~0-9A-Za-z-]+|[Uu]ser-[Aa]gent|[Aa]ccept(?:-[A-Za-z]+)?|[Tt]race(?:parent|state)"
    rb"|[Bb](?:aggage|3)|[Aa]uthorization):[ -~\t]*(?=\r\n)"
)
"""Whole header lines, each well-formed by itself (RFC 9112 section 5), so that a block is well-formed with them where
it is without. Nothing that frames a message or carries a condition may ever stand here; Authorization may as long as
every caller is anonymous."""


class Understood(NamedTuple):
    """What one or many header blocks mean."""

    caller: Caller
    head: RequestHead  # of the first such block
    asked: Asked | None  # None where ``fault`` says why
    fault: Fault | None = None


def _weight(understood: Understood) -> int:
    """Bytes: of its first block it holds all the headers, those without meaning too."""
    headers = understood.head.headers
    fields = sum(map(len, headers)) + sum(map(len, headers.values()))
    return _OVERHEAD + 100 * len(headers) + fields + 3 * len(understood.head.target)


class Requests:
    """Takes one whole header block at a time, and nothing behind it."""

    def __init__(self, names: UpstreamNames, limits: HeadLimits) -> None:
        self.limits = limits
        self._names = names
        self._blocks: BoundedTable[bytes, Understood] = BoundedTable(_KEPT_BYTES, weigh=_weight)
        self._remainders: BoundedTable[bytes, Understood] = BoundedTable(_KEPT_BYTES, weigh=_weight)
        self._asked: WeakValueDictionary[tuple[str, Operation, str, str | None], Asked] = WeakValueDictionary()
        self.known: Callable[[bytes], Understood | None] = self._blocks.peek  # of a block that came before, whole

    def recall(self, received: bytes) -> Understood | None:
        """By the second step; None where that knows nothing, or ``received`` is not one whole block alone."""
        if len(received) > _LONGEST_KEPT or received.find(b"\r\n\r\n") + 4 != len(received):
            return None
        return self._remainders.peek(_WITHOUT_MEANING.sub(b"", received, _LEFT_OUT))

    def keep(self, block: bytes, understood: Understood) -> None:
        """For the first step, from now on: whoever asks with the same bytes twice will do so again."""
        self._blocks.put(block, understood)

    def read(self, block: bytes, parser: HeadParser | None) -> Understood:
        """``parser`` has seen the beginning of the block, where it came in pieces. Raises RequestMalformed."""
        remainder = _WITHOUT_MEANING.sub(b"", block, _LEFT_OUT)
        understood = self._remainders.peek(remainder) if len(block) <= _LONGEST_KEPT else None
        if understood is not None:
            return understood
        understood = self._parse(block, parser)
        if understood.fault is None and remainder.count(b"\r\n") + _LEFT_OUT <= self.limits.headers:
            self._remainders.put(remainder, understood)
        return understood

    def _parse(self, block: bytes, parser: HeadParser | None) -> Understood:
        head = (parser or HeadParser(self.limits)).head(block)
        try:
            head.require_pull()
            asked = parse(head.method, head.target, head.headers, self._names)
        except Fault as fault:
            return Understood(ANONYMOUS, head, None, fault)
        key = (asked.method, asked.operation, asked.path, asked.namespace)
        return Understood(ANONYMOUS, head, self._asked.setdefault(key, asked))

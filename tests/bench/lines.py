"""What a line of the access log costs: ``python -m tests.bench.lines``.

CPU time of one thread, the least of many rounds, so that what else the machine does hardly counts. A hit notes a line;
one in each batch makes the lines of all; a thread writes them.
"""

import os
import time
from collections.abc import Callable, Sequence
from functools import partial

from proxy.front.access_log import Answered, Hit, LogLines, Traffic
from proxy.logs import LogWriter, Render, as_json, as_text
from tests.bench.clients import request
from tests.bench.contents import REPOSITORY

_HITS = 8192
_TOGETHER = 128
_ROUNDS = 40
_BLOCK = request(5000, f"/v2/{REPOSITORY}/manifests/sha256:{'0123456789abcdef' * 4}")


def main() -> None:
    for name, render in (("json", as_json), ("text", as_text)):
        hits = _hits()
        lines = LogLines(render)
        batches = [hits[start : start + _TOGETHER] for start in range(0, _HITS, _TOGETHER)]
        made = _least(partial(_make, lines, batches))
        print(f"{name}: {made:.2f} µs to make a line, {_noted(render, hits):.2f} µs to note it and make it")


def _make(lines: LogLines, batches: Sequence[Sequence[Hit]]) -> None:
    for batch in batches:
        lines(batch).encode()


def _hits() -> Sequence[Hit]:
    """As many as come in a tenth of a second, each with a header block of its own, as from the socket."""
    answered = Answered(200, Traffic("registry.test", "manifest", "hit"), 512)
    blocks = [bytes(bytearray(_BLOCK)) for _ in range(_HITS)]
    for block in blocks:
        hash(block)  # kept in it: whoever has answered the request has looked it up
    return [(1.7e9 + number / 80_000, "127.0.0.1", block, answered, "") for number, block in enumerate(blocks)]


def _noted(render: Render, hits: Sequence[Hit]) -> float:
    """µs of whoever notes."""
    with open(os.devnull, "wb") as nowhere, LogWriter(nowhere.fileno(), LogLines(render)) as log:

        def note() -> None:
            for at, client, block, answered, user in hits:
                log.write((at, client, block, answered, user))

        return _least(note)


def _least(work: Callable[[], object]) -> float:
    """µs for each hit."""
    taken = []
    for _ in range(_ROUNDS):
        begun = time.thread_time()
        work()
        taken.append(time.thread_time() - begun)
    return min(taken) / _HITS * 1e6


if __name__ == "__main__":
    main()

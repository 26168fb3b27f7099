"""What may be found wrong while the disk fails, the worst first."""

import json
from enum import Enum
from typing import NamedTuple

from proxy.core.names import Digest
from tests.scenarios.client import Cut, Reply


class Kind(Enum):
    WRONG_BYTES = "wrong bytes were served under a digest"
    ENDED = "the process ended"
    NOT_STARTED = "it did not start"
    UNTYPED = "an answer that is neither right nor an honest failure"
    PROMISE = "what was answered as done is not"
    LOST = "more was lost than the faulted call's"
    NOT_HEALED = "not healed when the disk was well again"
    OWN_ERROR = "an error of its own, with a traceback"
    NOT_READY = "readiness was not told"
    FAILED = "an honest failure, though upstream was well"


class Finding(NamedTuple):
    kind: Kind
    step: str
    words: str

    def __str__(self) -> str:
        return f"{self.step}: {self.kind.value}: {self.words}"


class Wrong(Exception):
    """A client has found something."""

    def __init__(self, kind: Kind, words: str) -> None:
        self.kind = kind
        super().__init__(words)


def judge(reply: Reply, expected: bytes) -> None:
    """Raises Wrong for all but the expected bytes under 200."""
    if reply.status == 200:
        if reply.body != expected and _is_stale(reply):
            raise Wrong(Kind.FAILED, f"an older answer that says so: {reply.headers.get('warning', '')}")
        if reply.body != expected:
            raise Wrong(Kind.WRONG_BYTES, f"200 with {len(reply.body)} other bytes, {Digest.of(reply.body)}")
        return
    words = f"{reply.status} {reply.body[:200].decode(errors='replace')}"
    raise Wrong(Kind.FAILED if _is_honest(reply) else Kind.UNTYPED, words)


def judge_cut(cut: Cut, expected: bytes) -> Wrong:
    """A reply that ended before its end; what came of it must be right as far as it goes."""
    if cut.body and not expected.startswith(cut.body):
        return Wrong(Kind.WRONG_BYTES, f"{cut}, and they are others")
    return Wrong(Kind.FAILED, str(cut))


def _is_stale(reply: Reply) -> bool:
    """What a tag pointed to before, and told to be that."""
    digest = reply.headers.get("docker-content-digest", "")
    return "detail=stale" in reply.headers.get("cache-status", "") and Digest.of(reply.body) == digest


def _is_honest(reply: Reply) -> bool:
    """A 5xx with an error of the OCI distribution-spec in JSON."""
    try:
        errors = json.loads(reply.body)["errors"]
        return 500 <= reply.status <= 599 and bool(errors[0]["code"] and errors[0]["message"])
    except (ValueError, LookupError, TypeError):
        return False

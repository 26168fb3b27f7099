"""What is wrong with a running proxy, the worst first, and what to do: a reading of its status."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from proxy.admin.report import Status, UpstreamReport

_WARM_TOLD = 3  # images
_LOW = 10  # one part of so many of a quota
_ENDS_SOON = 7 * 86_400.0  # seconds


class StatusTrouble(NamedTuple):
    """``what`` it concerns, what is wrong in words, and ``advice``; empty where it passes by itself."""

    what: str
    words: str
    advice: str = ""


_ADVICE: Mapping[str, str] = {
    "store": "look at the disk of cache.path: is it full, read-only, over its quota, gone? Then it heals by itself",
    "catalog": "look at the disk of cache.path; what was lost is won again behind pulls",
    "catalog copy": "make room on the disk of cache.path for a second copy of the catalog",
    "room": "free space on the disk of cache.path, or lower cache.min_free or cache.max_size",
    "clock": "set the machine's clock (chronyc, timedatectl), then restart",
    "tls": "put a good certificate and its key in place of the files under tls: they hold within a second",
    "logins": "put a good file in its place: it is read again by itself",
    "credentials": "make the file readable for the user that Entrepot runs as, or correct its name",
    "job": "it is tried again; if it goes on, the log has the traceback",
    "health": "this is a fault of Entrepot's own: the log has more",
}
_CONCERNS = ("store", "catalog", "catalog copy", "room", "clock", "tls", "logins", "credentials", "job", "health")
"""The worst first."""


def troubles_of(status: Status, now: float) -> list[StatusTrouble]:
    """All that is not as it should be; ``now`` in seconds since the epoch."""
    return [
        *_degraded(status),
        *_upstreams(status),
        *_files(status, now),
        *_contents(status),
    ]


def _degraded(status: Status) -> Iterator[StatusTrouble]:
    if status.state != "ready":
        yield StatusTrouble("state", f"it is {status.state}, and readiness is withdrawn")
    for what in sorted(status.degraded, key=lambda what: (_rank(what), what)):
        yield StatusTrouble(what, status.degraded[what], _ADVICE.get(_concern(what), ""))


def _concern(what: str) -> str:
    return what if what in _ADVICE else what.partition(" ")[0]


def _rank(what: str) -> int:
    concern = _concern(what)
    return _CONCERNS.index(concern) if concern in _CONCERNS else len(_CONCERNS)


def _upstreams(status: Status) -> Iterator[StatusTrouble]:
    for name, token in status.aws_tokens.items():
        if token.trouble:
            advice = "entrepot doctor tells which right or route is missing; what is held is served meanwhile"
            yield StatusTrouble(f"AWS token of {name}", token.trouble, advice)
    for name, upstream in status.upstreams.items():
        if upstream.closed_off:
            words = upstream.last_fault or "it does not answer"
            advice = "entrepot doctor tries the way to it; known tags are served for tags.stale_if_error"
            yield StatusTrouble(f"upstream {name}", f"not asked for now: {words}", advice)
        if _is_low(upstream):
            words = f"{upstream.rate_limit_remaining} of {upstream.rate_limit} requests are left"
            advice = "log in to it (auth), make tags.ttl longer, list tags that never move in tags.immutable"
            yield StatusTrouble(f"quota of {name}", words, advice)


def _is_low(upstream: UpstreamReport) -> bool:
    most, left = upstream.rate_limit, upstream.rate_limit_remaining
    return most is not None and left is not None and left * _LOW < most


def _files(status: Status, now: float) -> Iterator[StatusTrouble]:
    ends = status.tls.certificate_ends_at if status.tls is not None else None
    if ends is not None and ends - now < _ENDS_SOON and "tls" not in status.degraded:
        yield StatusTrouble("tls", f"the certificate ends in {max(0, int((ends - now) // 3600))} hours", _ADVICE["tls"])
    if status.reload is not None and status.reload.refused:
        words = f"the last one was refused, all stays as it was: {status.reload.refused}"
        yield StatusTrouble("reload", words, "correct it (entrepot config check), then entrepot reload")


def _contents(status: Status) -> Iterator[StatusTrouble]:
    if status.scrub.bad:
        noun = "content" if status.scrub.bad == 1 else "contents"
        words = f"{status.scrub.bad:,} {noun} went bad on the disk and lie in quarantine"
        yield StatusTrouble("disk", words, "the next pull fetches them anew; test the disk if it goes on (smartctl)")
    for words in status.warm.failures[:_WARM_TOLD]:
        yield StatusTrouble("not warmed", words)
    if status.warm.failed > _WARM_TOLD:
        yield StatusTrouble(
            "not warmed", f"{status.warm.failed - _WARM_TOLD} images more", "entrepot warm tells each reason"
        )
    for tag, there in status.immutable_tags_moved.items():
        words = f"{tag}, declared immutable, points to {there} upstream"
        yield StatusTrouble("tag moved", words, "whoever pushed it may say why; entrepot purge takes the new one")

"""What the first page shows, decided from the status: trouble first, and what to do about it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from proxy.admin.live_messages import LiveView
from proxy.admin.report import Status, UpstreamReport
from proxy.admin.wording import counted, lasting, short

_SERVED = ("hit", "stale", "offline", "revalidated")  # outcomes that needed no content of upstream
_FETCHED = ("miss", "collapsed", "bypass")
_STATES = ("down", "troubled", "ok", "unused", "offline")  # the most urgent first
_LITTLE = 0.1  # of a quota
_MOST = 200  # rows of one table
_RECENT = 600.0  # seconds that the last fault of an upstream colours it


class Complaint(NamedTuple):
    """``advice`` is empty where the words say it."""

    what: str
    words: str
    advice: str = ""


class UpstreamRow(NamedTuple):
    """``state`` is one of ``_STATES``."""

    name: str
    state: str
    report: UpstreamReport
    quota: float | None  # left, as a part of what is allowed


class Overview(NamedTuple):
    """``hit_ratio`` and ``bytes_ratio`` are parts of 1, None where there is nothing to tell. ``held`` are bytes by the
    upstream that they count to."""

    status: Status
    state: str
    troubles: Sequence[Complaint]
    hit_ratio: float | None
    bytes_ratio: float | None
    used: float
    upstreams: Sequence[UpstreamRow]
    more_upstreams: int
    held: Sequence[tuple[str, int]]
    held_in_all: int
    live: LiveView
    outcomes: Sequence[tuple[str, int]]


def overview_of(status: Status, live: LiveView, held: Mapping[str, int]) -> Overview:
    """As of now."""
    served = sum(status.outcomes.get(each, 0) for each in _SERVED)
    asked = served + sum(status.outcomes.get(each, 0) for each in _FETCHED)
    rows = sorted(map(_row, status.upstreams, status.upstreams.values()), key=_urgency)
    return Overview(
        status,
        "degraded" if status.degraded and status.state == "ready" else status.state,
        tuple(_troubles(status, rows)),
        served / asked if asked else None,
        max(0.0, 1 - live.fetched / live.served) if live.served else None,
        status.cache.committed_bytes / max(1, status.cache.soft_limit_bytes),
        rows[:_MOST],
        max(0, len(rows) - _MOST),
        sorted(((name or "of nobody any more", size) for name, size in held.items()), key=lambda each: -each[1]),
        max(1, sum(held.values())),
        live,
        sorted(((name, count) for name, count in status.outcomes.items() if count), key=lambda each: -each[1]),
    )


def _row(name: str, report: UpstreamReport) -> UpstreamRow:
    left, allowed = report.rate_limit_remaining, report.rate_limit
    quota = left / allowed if left is not None and allowed else None
    recent = report.last_fault_seconds_ago is not None and report.last_fault_seconds_ago < _RECENT
    if report.offline:
        return UpstreamRow(name, "offline", report, quota)
    if report.closed_off:
        return UpstreamRow(name, "down", report, quota)
    state = "troubled" if recent else "ok" if report.requests else "unused"
    return UpstreamRow(name, state, report, quota)


def _urgency(row: UpstreamRow) -> tuple[int, str]:
    return (_STATES.index(row.state), row.name)


def _troubles(status: Status, rows: Sequence[UpstreamRow]) -> Iterator[Complaint]:
    yield from (Complaint(what, words) for what, words in status.degraded.items())
    for row in rows[:_MOST]:
        if row.state == "down":
            words = row.report.last_fault or "it does not answer as it should"
            yield Complaint(row.name, words, "what is held is served; entrepot doctor says how far one gets")
        if row.quota is not None and row.quota < _LITTLE:
            words = f"it allows {row.report.rate_limit_remaining} of {row.report.rate_limit} requests yet"
            yield Complaint(row.name, words, "log in to it, or ask less often: a longer tags.ttl, tags.immutable")
    for name, token in status.aws_tokens.items():
        if token.trouble:
            left = f"; the one there is ends in {lasting(token.expires_in)}" if token.expires_in else ""
            yield Complaint(f"AWS token of {name}", token.trouble + left, "entrepot doctor says which right is missing")
    if status.reload is not None and status.reload.refused:
        yield Complaint("reload", f"refused: {status.reload.refused}", "entrepot config check FILE shows every fault")
    if status.scrub.bad:
        words = f"{counted(status.scrub.bad, 'content')} went bad on the disk, and will be fetched again"
        yield Complaint("disk", words, "look at the disk and the memory of the machine")
    for failure in status.warm.failures[:3]:
        yield Complaint("not warmed", failure)
    for tag, there in status.immutable_tags_moved.items():
        words = f"{tag} is declared immutable and points to {short(there)} upstream; here it stays"
        yield Complaint("moved tag", words, f"entrepot purge {tag} takes the new one")

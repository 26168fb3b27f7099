"""What the first page shows, decided from the status."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from proxy.admin.live_messages import LiveView
from proxy.admin.report import Status, UpstreamReport
from proxy.admin.troubles import StatusTrouble, troubles_of

_STATES = ("down", "troubled", "ok", "unused", "offline")  # the most urgent first
_MOST = 200  # rows of one table
_RECENT = 600.0  # seconds that the last fault of an upstream colours it


class UpstreamRow(NamedTuple):
    """``state`` is one of ``_STATES``."""

    name: str
    state: str
    report: UpstreamReport


class Overview(NamedTuple):
    """``hit_ratio`` and ``bytes_ratio`` are parts of 1, None where there is nothing to tell. ``held`` are bytes by the
    upstream that they count to."""

    status: Status
    state: str
    troubles: Sequence[StatusTrouble]
    hit_ratio: float | None
    bytes_ratio: float | None
    used: float
    upstreams: Sequence[UpstreamRow]
    more_upstreams: int
    held: Sequence[tuple[str, int]]
    held_in_all: int
    live: LiveView
    outcomes: Sequence[tuple[str, int]]


def overview_of(status: Status, live: LiveView, held: Mapping[str, int], now: float) -> Overview:
    """``now`` in seconds since the epoch."""
    rows = sorted(map(_row, status.upstreams, status.upstreams.values()), key=_urgency)
    return Overview(
        status,
        status.condition,
        troubles_of(status, now),
        status.hit_ratio,
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
    recent = report.last_fault_seconds_ago is not None and report.last_fault_seconds_ago < _RECENT
    if report.offline:
        return UpstreamRow(name, "offline", report)
    if report.closed_off:
        return UpstreamRow(name, "down", report)
    state = "troubled" if recent else "ok" if report.requests else "unused"
    return UpstreamRow(name, state, report)


def _urgency(row: UpstreamRow) -> tuple[int, str]:
    return (_STATES.index(row.state), row.name)

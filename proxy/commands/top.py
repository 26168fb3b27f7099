"""``entrepot top``: what is under way, blobs that arrive and pulls, with their rates."""

import time
from collections.abc import Iterator
from typing import Annotated

import typer

from proxy.admin.client import AdminClient
from proxy.admin.live_messages import LIVE, LiveFill, LiveRequest, LiveView
from proxy.admin.messages import NothingMore
from proxy.commands import shown
from proxy.commands.screen import Interval, watched
from proxy.commands.session import AdminUrl, AsJson, ConfigFile, answered, running_proxy

_FILLS, _PULLS = 10, 20  # that are shown
_BAR = 10  # characters
_NAME = 40


def top(
    config: ConfigFile = None,
    admin: AdminUrl = None,
    as_json: AsJson = False,
    once: Annotated[bool, typer.Option("--once", help="One screen, of one interval.")] = False,
    interval: Interval = 1.0,
) -> None:
    """Live pulls and fills: progress, rate, clients. Until stopped; with --json what is under way now, once."""
    proxy = running_proxy(admin, config)
    if as_json:
        with answered():
            print(_seen(proxy).model_dump_json(by_alias=True, indent=2))
        return
    view = _Rates(proxy)
    if once:
        with answered():
            view.lines()
            time.sleep(interval)
            print("\n".join(view.lines()))
        return
    watched(view.lines, interval)


def _seen(proxy: AdminClient) -> LiveView:
    [view] = proxy.operate(LIVE, NothingMore())
    return view


class _Rates:
    """Two views make a rate."""

    def __init__(self, proxy: AdminClient) -> None:
        self._proxy = proxy
        self._before: LiveView | None = None

    def lines(self) -> list[str]:
        """Raises AdminFailed."""
        view = _seen(self._proxy)
        before, self._before = self._before, view
        if before is None or view.at <= before.at:  # it was started anew
            before = None
        return list(_screen(view, before))


def _screen(view: LiveView, before: LiveView | None) -> Iterator[str]:
    seconds = view.at - before.at if before is not None else 0.0
    served = _rate(view.served, before.served if before is not None else None, seconds)
    fetched = _rate(view.fetched, before.fetched if before is not None else None, seconds)
    yield (
        f"{shown.counted(view.connections, 'connection')}, {shown.counted(view.requests, 'request')} under way, "
        f"{shown.counted(view.fills, 'fill')}; answered {served}, fetched {fetched}"
    )
    known = {fill.digest: fill.received for fill in before.arriving} if before is not None else {}
    if view.arriving:
        yield ""
        titles = ["FILL", "REPOSITORY", "RECEIVED", "", "RATE", "LEFT", "CLIENTS"]
        fills = view.arriving[:_FILLS]
        yield from shown.table_lines(titles, (_fill(fill, known.get(fill.digest), seconds) for fill in fills))
    yield from _more(view.fills - _FILLS)
    sent = {_key(pull, before.at): pull.sent for pull in before.pulls} if before is not None else {}
    if view.pulls:
        yield ""
        titles = ["CLIENT", "", "WHAT", "SENT", "", "RATE", "FOR"]
        pulls = view.pulls[:_PULLS]
        yield from shown.table_lines(titles, (_pull(pull, sent.get(_key(pull, view.at)), seconds) for pull in pulls))
    yield from _more(view.requests - _PULLS)


def _key(pull: LiveRequest, at: float) -> tuple[str, str, float]:
    """The same as long as it goes on: whose, for what, and since when."""
    return pull.client, pull.reference, round(at - pull.seconds, 3)


def _more(count: int) -> Iterator[str]:
    if count > 0:
        yield f"and {count:,} more"


def _fill(fill: LiveFill, before: int | None, seconds: float) -> tuple[str, ...]:
    rate = (fill.received - before) / seconds if before is not None and seconds > 0 else 0.0
    left = shown.lasting((fill.size - fill.received) / rate) if fill.size is not None and rate > 0 else "?"
    received = f"{shown.size(fill.received)} of {shown.size(fill.size) if fill.size is not None else '?'}"
    bar, name = _bar(fill.received, fill.size), fill.repository_name[-_NAME:]
    rated = _rate(fill.received, before, seconds)
    return shown.short(fill.digest), name, received, bar, rated, left, f"{fill.clients:,}"


def _pull(pull: LiveRequest, before: int | None, seconds: float) -> tuple[str, ...]:
    who = f"{pull.client} {pull.user}".strip()
    reference = shown.short(pull.reference)
    what = f"{pull.repository_name[-_NAME:]} {reference}".strip() or pull.kind
    sent = shown.size(pull.sent) if pull.length is None else f"{shown.size(pull.sent)} of {shown.size(pull.length)}"
    bar, rate = _bar(pull.sent, pull.length), _rate(pull.sent, before, seconds)
    return who, pull.outcome or "waits", what, sent, bar, rate, shown.lasting(pull.seconds)


def _bar(done: int, total: int | None) -> str:
    """Empty where nobody knows how much there is."""
    if not total:
        return ""
    full = min(_BAR, _BAR * done // total)
    return f"[{'#' * full}{'.' * (_BAR - full)}]"


def _rate(now: int, before: int | None, seconds: float) -> str:
    if before is None or seconds <= 0:
        return "-"
    return f"{shown.size(max(0.0, (now - before) / seconds))}/s"

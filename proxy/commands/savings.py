"""``entrepot savings``: what the cache saves, and where it does not."""

import json
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from proxy.admin.savings_messages import SAVINGS, Amounts, SavingsEnd, SavingsLine, SavingsRequest, SavingsSummary
from proxy.commands import shown
from proxy.commands.session import FAILED, WRONG, AdminUrl, AsJson, ConfigFile, answered, running_proxy, stop
from proxy.core.ledger import LedgerBy

_DAYS = re.compile(r"([0-9]{1,4})d", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)


def savings(
    by: Annotated[LedgerBy, typer.Option("--by", help="What a line is for.")] = LedgerBy.UPSTREAM,
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE|DAYS", help="2026-11-01, or 30d; else all that is kept.")
    ] = None,
    config: ConfigFile = None,
    admin: AdminUrl = None,
    as_json: AsJson = False,
) -> None:
    """What the cache saves, in US dollars: what the pulls had cost without it, less what it fetches, what crosses zones
    and what it costs to run. Prices are those of savings in the configuration."""
    request = SavingsRequest(by=by, since=_since(since) if since is not None else None)
    lines: list[SavingsLine] = []
    end = None
    with answered():
        for line in running_proxy(admin, config).operate(SAVINGS, request):
            if isinstance(line, SavingsEnd):
                end = line.summary
            else:
                lines.append(line)
    if end is None:
        stop(FAILED, "the running entrepot broke off")
    if as_json:
        said = {"lines": [each.model_dump(by_alias=True, exclude_none=True) for each in lines]}
        print(json.dumps({**said, "summary": end.model_dump(by_alias=True)}, indent=2))
    else:
        _tell(by, lines, end)


def _tell(by: LedgerBy, lines: Sequence[SavingsLine], end: SavingsSummary) -> None:
    upstreams = by is LedgerBy.UPSTREAM
    path = ["PATH"] if upstreams else []
    rows = [[line.name, *_row(line), *([line.path or "-"] if upstreams else [])] for line in lines]
    shown.table([by.name, "SERVED", "FETCHED", "WITHOUT IT", "FETCHING", "ZONES", "RUNNING", "SAVED", *path], rows)
    if rows:
        print()
    for text in _words(end):
        print(shown.printable(text))


def _row(line: Amounts) -> Iterator[str]:
    yield shown.size(line.served_bytes)
    yield shown.size(line.fetched_bytes)
    costs = (line.direct_cost, line.fetch_cost, line.zones_cost, line.running_cost, line.saved)
    yield from (_dollars(cost) for cost in costs)


def _words(end: SavingsSummary) -> Iterator[str]:
    """The last lines, of which the first is the answer."""
    what = "saved" if end.saved >= 0 else "NOT saved but lost"
    costs = f"{end.fetch_cost:,.2f} for what was fetched, {end.zones_cost:,.2f} across zones"
    yield (
        f"{abs(end.saved):,.2f} USD {what} from {end.since} to {end.until}: {end.direct_cost:,.2f} without the cache, "
        f"less {costs}, {end.running_cost:,.2f} to run it"
    )
    if end.served_bytes:
        kept = 100 * (1 - end.fetched_bytes / end.served_bytes)
        size = f"{shown.size(end.served_bytes)} served, {shown.size(end.fetched_bytes)} fetched"
        yield f"{size}: {kept:.0f} % did not come from a registry" if kept > 0 else size
    yield from (f"- {note}" for note in end.notes)


def _dollars(amount: float) -> str:
    return f"{amount:,.2f}"


def _since(written: str) -> str:
    """A day; ends the command for what is none."""
    if found := _DAYS.fullmatch(written):
        return (datetime.now(UTC) - timedelta(days=int(found[1]))).date().isoformat()
    if _DATE.fullmatch(written) is None:
        stop(WRONG, f"--since {written}: write a day, such as 2026-11-01, or a number of days, such as 30d")
    return written

"""What the cache saved: the books, priced as the configuration says now."""

from collections.abc import AsyncGenerator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from proxy.admin.answering import Offer
from proxy.admin.savings_messages import SAVINGS, SavingsEnd, SavingsLine, SavingsRequest, SavingsSummary
from proxy.cache.ledger import Ledger
from proxy.core.errors import RequestFault
from proxy.core.ledger import LedgerBy, day_of
from proxy.core.savings import Money, SavingsAccount, SavingsRules, accounted
from proxy.tasks.turns import Turns

_DIGITS = 6  # behind the point


class SavingsOperation:
    """``rules`` price what ``ledger`` has counted."""

    def __init__(self, ledger: Ledger, rules: SavingsRules, turns: Turns) -> None:
        self._ledger = ledger
        self._rules = rules
        self._turns = turns

    def configure(self, rules: SavingsRules) -> None:
        """For all that was counted until now, too."""
        self._rules = rules

    @property
    def offer(self) -> Offer[SavingsRequest, SavingsLine | SavingsEnd]:
        """For the listener."""
        return Offer(SAVINGS, self.savings)

    async def savings(self, request: SavingsRequest) -> AsyncGenerator[SavingsLine | SavingsEnd, None]:
        """Raises RequestFault for what is no day, NoSpace or StoreFailed."""
        by, rules = request.by, self._rules
        asked = _day(request.since) if request.since is not None else 0
        rows = await self._ledger.sums(by, asked)
        time = await self._ledger.time(asked)
        account = await self._turns.run(accounted(rows, rules, by, time))
        for line in account.lines:
            path = str(rules.path(line.name)) if by is LedgerBy.UPSTREAM else None
            yield SavingsLine(name=line.name, path=path, **_amounts(line.money, line.running))
        yield SavingsEnd(summary=_summary(account))


def _summary(account: SavingsAccount) -> SavingsSummary:
    return SavingsSummary(
        since=account.since.isoformat(),
        until=account.until.isoformat(),
        notes=tuple(account.notes),
        **_amounts(account.total, account.running),
    )


def _amounts(money: Money, running: Decimal) -> dict[str, Any]:
    costs = {
        "direct_cost": money.direct,
        "fetch_cost": money.fetching,
        "zones_cost": money.zones,
        "running_cost": running,
        "saved": money.saved - running,
    }
    shown = {name: float(round(cost, _DIGITS)) for name, cost in costs.items()}
    return {"served_bytes": money.moved.served, "fetched_bytes": money.moved.fetched, **shown}


def _day(written: str) -> int:
    try:
        at = datetime.combine(date.fromisoformat(written), datetime.min.time(), UTC)
    except ValueError:
        raise RequestFault(f"since: not a day, such as 2026-11-01: {written[:32]!a}") from None
    return day_of(at.timestamp())

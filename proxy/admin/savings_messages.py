"""What the cache saved, as it is asked for and told. Amounts are US dollars, sizes bytes."""

from pydantic import TypeAdapter

from proxy.admin.messages import AdminRequest, Message, Operation
from proxy.core.ledger import LedgerBy


class SavingsRequest(AdminRequest):
    """``since``: the first day, UTC, as 2026-11-01; without it the first that is counted."""

    by: LedgerBy = LedgerBy.UPSTREAM
    since: str | None = None


class Amounts(Message):
    """``direct_cost`` is what the pulls had cost without the cache, ``fetch_cost`` what was fetched, ``zones_cost``
    what crossed into other zones, ``running_cost`` what the cache cost to run; ``saved`` is the first less the
    others."""

    served_bytes: int
    fetched_bytes: int
    direct_cost: float
    fetch_cost: float
    zones_cost: float
    running_cost: float
    saved: float


class SavingsLine(Amounts):
    """``path`` says of an upstream what its bytes are charged for."""

    name: str
    path: str | None = None


class SavingsSummary(Amounts):
    """From the beginning of ``since`` until now, a moment of ``until``, both days in UTC."""

    since: str
    until: str
    notes: tuple[str, ...]


class SavingsEnd(Message):
    """The last line."""

    summary: SavingsSummary


_LINES: TypeAdapter[SavingsLine | SavingsEnd] = TypeAdapter(SavingsLine | SavingsEnd)

SAVINGS = Operation("savings", SavingsRequest, _LINES)

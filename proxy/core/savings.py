"""What the cache saves, in US dollars: what the pulls had cost without it, less what it costs itself.

Without a cache each byte that clients were sent had come all the way from its upstream; with it that way is taken by
what was fetched. Against that stand the bytes that cross from the cache's zone into another, and what the cache costs
to run. A GB is 10^9 bytes. All amounts are exact decimals, which are rounded only where they are shown.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import NamedTuple

from proxy.core.addresses import Zone, zone_of
from proxy.core.ecr_names import parse_ecr_host
from proxy.core.ledger import DAY, ByteCount, CountedTime, LedgerBy, LedgerRow, day_of
from proxy.core.steps import Steps

GB = 10**9
NOTHING = Decimal(0)
_STEP = 500  # rows


class Charge(Enum):
    """What a byte on its way from an upstream passes, and is charged for."""

    NAT_GATEWAY = "nat_gateway"
    INTER_REGION = "inter_region"
    CROSS_AZ = "cross_az"
    INTERNET_EGRESS = "internet_egress"
    VPC_ENDPOINT = "vpc_endpoint"


USUAL_PRICES: Mapping[Charge, Decimal] = {
    Charge.NAT_GATEWAY: Decimal("0.045"),
    Charge.INTER_REGION: Decimal("0.02"),
    Charge.CROSS_AZ: Decimal("0.02"),
    Charge.INTERNET_EGRESS: Decimal("0.09"),
    Charge.VPC_ENDPOINT: Decimal("0.01"),
}
"""Per GB, as AWS charged in us-east-1 in 2026; ``cross_az`` is 0.01 for each direction."""
PRICED = "us-east-1, 2026"
"""Where and when the usual prices were those of AWS."""


class PricedPath(NamedTuple):
    """How bytes come from an upstream. ``price`` per GB stands instead of those of the charges; ``why`` says of a path
    that costs nothing what it rests on."""

    charges: tuple[Charge, ...] = ()
    price: Decimal | None = None
    why: str = ""

    def __str__(self) -> str:
        if self.price is not None:
            return "at a price of its own"
        return " + ".join(charge.value for charge in self.charges) or "free"


_SAME_REGION = PricedPath(why="private ECR of the same region costs nothing per GB through S3's free gateway endpoint")
_K8S = PricedPath(why="its blobs come from S3 in the same region, free through a gateway endpoint")
_OWN_NETWORK = PricedPath(why="it is in a network of your own")
_OWN_SUFFIXES = (".local", ".localhost", ".internal", ".intern", ".lan", ".test", ".arpa")


def usual_path(name: str, host: str, region: str | None) -> PricedPath:
    """Of an upstream that nothing is said of. ``name`` is its key, ``host`` where it is asked, ``region`` ours where
    that is known. Where it may cost nothing, it counts as costing nothing."""
    ecr = parse_ecr_host(name.replace("*", "0" * 12, 1)) or parse_ecr_host(host)
    if ecr is not None:
        return _SAME_REGION if region in (None, ecr.region) else PricedPath((Charge.INTER_REGION,))
    if name == "registry.k8s.io":
        return _K8S
    return _OWN_NETWORK if _is_in_own_network(host) else PricedPath((Charge.NAT_GATEWAY,))


def _is_in_own_network(host: str) -> bool:
    if host.replace(".", "").isdigit() or ":" in host:
        return zone_of(host) is not Zone.GLOBAL
    return "." not in host or host.endswith(_OWN_SUFFIXES)


@dataclass(frozen=True)
class SavingsRules:
    """``paths`` by key of the configuration. ``other_zones`` is the share of what clients are sent that crosses into
    another zone, None where nobody said; ``running_cost`` is per hour."""

    prices: Mapping[Charge, Decimal] = field(default_factory=lambda: dict(USUAL_PRICES))
    paths: Mapping[str, PricedPath] = field(default_factory=dict)
    other_zones: Decimal | None = None
    running_cost: Decimal = NOTHING
    region: str | None = None

    def path(self, upstream: str) -> PricedPath:
        """Of an upstream; also of one that is configured no more."""
        return self.paths.get(upstream) or usual_path(upstream, upstream, self.region)

    def price(self, upstream: str) -> Decimal:
        """Per GB."""
        path = self.path(upstream)
        return path.price if path.price is not None else sum((self.prices[charge] for charge in path.charges), NOTHING)

    def money(self, upstream: str, count: ByteCount) -> "Money":
        """Of one upstream's bytes."""
        price = self.price(upstream)
        across = (self.other_zones or NOTHING) * self.prices[Charge.CROSS_AZ]
        return Money(count, count.served * price / GB, count.fetched * price / GB, count.served * across / GB)


class Money(NamedTuple):
    """Dollars. ``direct``: had clients fetched everything themselves; ``fetching``: what was fetched; ``zones``: from
    our zone into others."""

    moved: ByteCount = ByteCount()
    direct: Decimal = NOTHING
    fetching: Decimal = NOTHING
    zones: Decimal = NOTHING

    def plus(self, other: "Money") -> "Money":
        """Both together."""
        count = self.moved.plus(other.moved)
        return Money(count, self.direct + other.direct, self.fetching + other.fetching, self.zones + other.zones)

    @property
    def saved(self) -> Decimal:
        """Negative where it costs more."""
        return self.direct - self.fetching - self.zones


class SavedLine(NamedTuple):
    """``name`` is an upstream, REGISTRY/REPOSITORY, a day or a month."""

    name: str
    money: Money
    running: Decimal = NOTHING  # of days and months


class SavingsAccount(NamedTuple):
    """From ``since`` to a moment of ``until``, both UTC. ``running`` is what the cache cost to run
    meanwhile; ``notes`` are sentences for people."""

    lines: Sequence[SavedLine]
    total: Money
    since: date
    until: date
    running: Decimal
    notes: Sequence[str]

    @property
    def saved(self) -> Decimal:
        return self.total.saved - self.running


def accounted(rows: Sequence[LedgerRow], rules: SavingsRules, by: LedgerBy, time: CountedTime) -> Steps[SavingsAccount]:
    """``rows`` are sums as ``by`` wants them, of what was counted in that time. The cache counts as running all of
    a day on which it ran."""
    sums: dict[str, Money] = {}
    upstreams: dict[str, Money] = {}
    for number, row in enumerate(rows, 1):
        upstream = row.account.upstream
        money = rules.money(upstream, row.moved)
        name = _name(row, by)
        sums[name] = sums.get(name, Money()).plus(money)
        upstreams[upstream] = upstreams.get(upstream, Money()).plus(money)
        if number % _STEP == 0:
            yield
    total = Money()
    for each in upstreams.values():
        total = total.plus(each)
    running: dict[str, Decimal] = {}
    for day, length in _hours(time):
        period = _period(day, by)
        running[period] = running.get(period, NOTHING) + length * rules.running_cost
    lines = _lines(sums, {name: cost for name, cost in running.items() if name})
    cost = sum(running.values(), NOTHING)
    first = time.days[0] if time.days else day_of(time.now)
    account = SavingsAccount(lines, total, _date(first), _date(day_of(time.now)), cost, ())
    return account._replace(notes=tuple(_notes(account, rules, upstreams)))


def _lines(sums: Mapping[str, Money], running: Mapping[str, Decimal]) -> list[SavedLine]:
    """Periods in order; else those first that save most."""
    names = sums.keys() | running.keys()
    lines = [SavedLine(name, sums.get(name, Money()), running.get(name, NOTHING)) for name in sorted(names)]
    return lines if running else sorted(lines, key=lambda line: -line.money.saved)


def _name(row: LedgerRow, by: LedgerBy) -> str:
    match by:
        case LedgerBy.DAY | LedgerBy.MONTH:
            return _period(row.day, by)
        case LedgerBy.REPOSITORY:
            return row.account.repository or f"{row.account.upstream} (others)"
        case LedgerBy.UPSTREAM:
            return row.account.upstream


def _period(day: int, by: LedgerBy) -> str:
    """Empty where it is not divided by time."""
    written = _date(day).isoformat()
    return {LedgerBy.DAY: written, LedgerBy.MONTH: written[:7]}.get(by, "")


def _hours(time: CountedTime) -> Iterator[tuple[int, Decimal]]:
    """Of each day; the one on which the books were begun, and today, are not whole."""
    for day in time.days:
        begin = max(int(time.began), day * DAY) if day == day_of(time.began) else day * DAY
        end = min(int(time.now), (day + 1) * DAY) if day == day_of(time.now) else (day + 1) * DAY
        yield day, Decimal(max(0, end - begin)) / 3600


def _date(day: int) -> date:
    return datetime.fromtimestamp(day * DAY, UTC).date()


def _notes(account: SavingsAccount, rules: SavingsRules, upstreams: Mapping[str, Money]) -> Iterator[str]:
    if account.saved < 0:
        yield f"the cache costs {-account.saved:.2f} USD more than it saves: {_why_it_costs(account)}"
    for name, money in sorted(upstreams.items()):
        path = rules.path(name)
        if money.moved.served and rules.price(name) == 0:
            because = f": {path.why}" if path.why else ""
            yield f"{name} counts as free{because}"
        elif parse_ecr_host(name.replace("*", "0" * 12, 1)) is not None and Charge.NAT_GATEWAY in path.charges:
            yield f"{name} comes by a NAT gateway: S3's gateway endpoint is free, and saves more than any cache"
    if rules.other_zones is None and account.total.moved.served:
        yield "bytes that cross zones are not counted: say by savings.other_zones how large their share is"
    if rules.running_cost == 0:
        yield "what the cache costs to run is not counted: say it by savings.running_cost"


def _why_it_costs(account: SavingsAccount) -> str:
    total = account.total
    costs = {
        f"{account.running:.2f} to run it": account.running,
        f"{total.zones:.2f} for bytes that cross zones (one cache in each zone costs none)": total.zones,
        f"{total.fetching:.2f} for what was fetched": total.fetching,
    }
    said = [words for words, cost in sorted(costs.items(), key=lambda item: -item[1]) if cost > 0]
    return f"{', '.join(said)}, against {total.direct:.2f} that the pulls had cost without it"

"""What the cache saves, to the cent."""

from decimal import Decimal
from typing import Any

import pytest

from proxy.core.ledger import DAY, Account, ByteCount, CountedTime, LedgerBy, LedgerRow
from proxy.core.savings import GB, Charge, PricedPath, SavingsAccount, SavingsRules, accounted, usual_path
from proxy.core.steps import at_once

ECR = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
FIRST = 20_000  # days since the epoch: 2024-10-04


def row(upstream: str, served: float, fetched: float, day: int = 0, repository: str = "") -> LedgerRow:
    return LedgerRow(day, Account(upstream, repository), ByteCount(int(served * GB), int(fetched * GB)))


def account(*rows: LedgerRow, by: LedgerBy = LedgerBy.UPSTREAM, hours: float = 24, **rules: Any) -> SavingsAccount:
    now = FIRST * DAY + hours * 3600
    days = tuple(day for day in range(FIRST, FIRST + 10) if day * DAY < now)
    return at_once(accounted(rows, SavingsRules(**rules), by, CountedTime(days, FIRST * DAY, now)))


@pytest.mark.parametrize(
    ("name", "host", "region", "charges"),
    [
        ("docker.io", "registry-1.docker.io", None, (Charge.NAT_GATEWAY,)),
        ("public.ecr.aws", "public.ecr.aws", "us-east-1", (Charge.NAT_GATEWAY,)),
        (ECR, ECR, None, ()),
        (ECR, ECR, "eu-central-1", ()),
        (ECR, ECR, "us-east-1", (Charge.INTER_REGION,)),
        ("*.dkr.ecr.us-east-1.amazonaws.com", "*.dkr.ecr.us-east-1.amazonaws.com", "eu-central-1",
         (Charge.INTER_REGION,)),
        ("images", ECR, "us-east-1", (Charge.INTER_REGION,)),
        ("registry.k8s.io", "registry.k8s.io", None, ()),
        ("registry.test", "127.0.0.1", None, ()),
        ("r.example.com", "10.0.0.7", None, ()),
        ("r.example.com", "8.8.8.8", None, (Charge.NAT_GATEWAY,)),
        ("r.example.com", "fd00::7", None, ()),
        ("*", "central.corp.internal", None, ()),
        ("central", "central", None, ()),
    ],
)  # fmt: skip
def test_an_upstream_that_nothing_is_said_of_costs_what_is_usual_and_nothing_where_it_may(
    name: str, host: str, region: str | None, charges: tuple[Charge, ...]
) -> None:
    assert usual_path(name, host, region).charges == charges


def test_saved_is_what_was_not_fetched() -> None:
    found = account(row("docker.io", 1000, 100), other_zones=Decimal(0), running_cost=Decimal("0.001"))
    [line] = found.lines
    assert (line.name, line.money.direct, line.money.fetching) == ("docker.io", Decimal(45), Decimal("4.5"))
    assert found.running == Decimal("0.024")
    assert found.saved == Decimal("40.476")
    assert found.notes == ()


def test_ecr_of_the_same_region_saves_nothing_and_says_why() -> None:
    found = account(row(ECR, 5000, 1), other_zones=Decimal(0), running_cost=Decimal("0.0001"), region="eu-central-1")
    assert found.total.direct == found.total.fetching == 0
    assert found.saved < 0
    assert any(note.startswith(f"{ECR} counts as free: private ECR of the same region") for note in found.notes)


def test_a_cache_that_costs_more_than_it_saves_is_told_with_the_largest_cost_first() -> None:
    found = account(row(ECR, 300, 300), other_zones=Decimal("0.5"), running_cost=Decimal("0.1"))
    assert found.total.zones == 3
    assert found.saved == Decimal("-5.4")
    assert found.notes[0] == (
        "the cache costs 5.40 USD more than it saves: 3.00 for bytes that cross zones (one cache in each zone costs "
        "none), 2.40 to run it, against 0.00 that the pulls had cost without it"
    )


def test_each_charge_of_a_path_is_paid_and_a_price_of_its_own_stands_instead() -> None:
    by_nat = PricedPath((Charge.NAT_GATEWAY, Charge.CROSS_AZ))
    paths = {"a.example.com": by_nat, "b.example.com": PricedPath((), Decimal("0.5"))}
    found = account(row("a.example.com", 2, 1), row("b.example.com", 2, 0), paths=paths)
    assert {line.name: line.money.saved for line in found.lines} == {
        "a.example.com": Decimal("0.065"), "b.example.com": Decimal(1)
    }  # fmt: skip
    assert [line.name for line in found.lines] == ["b.example.com", "a.example.com"], "what saves most comes first"


def test_what_is_not_known_is_said() -> None:
    notes = account(row("docker.io", 1, 0)).notes
    assert [note.partition(":")[0] for note in notes] == [
        "bytes that cross zones are not counted",
        "what the cache costs to run is not counted",
    ]


def test_ecr_by_a_nat_gateway_is_told_of_the_free_way() -> None:
    found = account(row(ECR, 1, 0), paths={ECR: PricedPath((Charge.NAT_GATEWAY,))})
    assert any("S3's gateway endpoint is free" in note for note in found.notes)


@pytest.mark.parametrize(
    ("by", "names", "running"),
    [
        (LedgerBy.DAY, ["2024-10-04", "2024-10-05", "2024-10-06"], ["24", "24", "12"]),
        (LedgerBy.MONTH, ["2024-10"], ["60"]),
        (LedgerBy.UPSTREAM, ["docker.io"], ["0"]),
        (LedgerBy.REPOSITORY, ["docker.io/library/a", "docker.io (others)"], ["0", "0"]),
    ],
)
def test_periods_have_their_running_cost_even_where_nobody_pulled(
    by: LedgerBy, names: list[str], running: list[str]
) -> None:
    rows = [row("docker.io", 2, 0, FIRST, "docker.io/library/a"), row("docker.io", 1, 0, FIRST + 1)]
    found = account(*rows, by=by, hours=60, running_cost=Decimal(1))
    assert [line.name for line in found.lines] == names
    assert [str(line.running) for line in found.lines] == running
    assert found.running == 60
    assert (found.since.isoformat(), found.until.isoformat()) == ("2024-10-04", "2024-10-06")


def test_the_lines_add_up_to_the_total_however_it_is_divided() -> None:
    rows = [row(f"r{n}.example.com", n / 7, n / 11, FIRST + n % 3, f"r{n}.example.com/app") for n in range(1500)]
    for by in LedgerBy:
        found = account(*rows, by=by, hours=72)
        assert sum(line.money.saved for line in found.lines) == found.total.saved


def test_a_day_costs_as_long_as_the_cache_was_there_and_one_on_which_it_did_not_run_nothing() -> None:
    began, now = FIRST * DAY + 20 * 3600, (FIRST + 9) * DAY + 90 * 60
    time = CountedTime((0, FIRST, FIRST + 2, FIRST + 9), began, now)
    found = at_once(accounted([], SavingsRules(running_cost=Decimal(1)), LedgerBy.DAY, time))
    assert [(line.name, str(line.running)) for line in found.lines] == [
        ("1970-01-01", "24"), ("2024-10-04", "4"), ("2024-10-06", "24"), ("2024-10-13", "1.5")
    ], "a clock that was wrong once costs a day, and not the years between"  # fmt: skip
    assert at_once(accounted([], SavingsRules(), LedgerBy.DAY, CountedTime((), 0.0, now))).saved == 0

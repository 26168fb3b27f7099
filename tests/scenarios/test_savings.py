"""The books of savings: a week of pulls with sizes that are known, restarts and kills among them."""

import asyncio
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from proxy.admin.savings import SavingsOperation
from proxy.admin.savings_messages import SavingsLine, SavingsRequest, SavingsSummary
from proxy.core.errors import RequestFault, StoreFailed
from proxy.core.ledger import Account, LedgerBy
from proxy.core.names import Digest
from proxy.core.savings import PricedPath, SavingsRules
from proxy.front import access_log
from proxy.tasks.turns import Turns
from tests.cast import FaultUpstream, ManualClock
from tests.scenarios.client import Client
from tests.scenarios.house import APP, NAME, House, blob_path, manifest_path
from tests.scenarios.process import Site, site

Bytes = Callable[[int], bytes]
DAY = 86_400
WEB = "team/web"
MANIFEST = b'{"schemaVersion":2,"config":{},"layers":[]}'
DEAR = SavingsRules(
    paths={NAME: PricedPath((), Decimal(1000))}, other_zones=Decimal("0.5"), running_cost=Decimal("0.01")
)
"""1,000 USD per GB, so that a scene's megabytes come to dollars; half of what is served crosses zones, at 0.02."""


class Goods(NamedTuple):
    """A manifest and a layer, of ``size`` bytes together."""

    repository: str
    layer: Digest
    size: int


def goods(upstream: FaultUpstream, repository: str, content: bytes) -> Goods:
    upstream.manifest(repository, "v1", MANIFEST)
    return Goods(repository, upstream.blob(repository, content), len(MANIFEST) + len(content))


async def pull(house: House, wanted: Goods) -> None:
    tag, layer = manifest_path("v1", wanted.repository), blob_path(wanted.layer, wanted.repository)
    replies = [await house.get(path) for path in (tag, layer)]
    assert sum(len(reply.body) for reply in replies) == wanted.size
    await house.quiet()


async def told(
    house: House, by: Any = "upstream", since: str | None = None
) -> tuple[dict[str, SavingsLine], SavingsSummary]:
    """The lines by their names, and the summary."""
    operation = SavingsOperation(house.ledger, DEAR, Turns())
    *lines, end = [line async for line in operation.savings(SavingsRequest(by=LedgerBy(by), since=since))]
    assert not isinstance(end, SavingsLine)
    return {line.name: line for line in lines if isinstance(line, SavingsLine)}, end.summary


class Disk:
    """The catalog as it is on the disk at one moment, which is all that a kill leaves of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files = {path.name: path.read_bytes() for path in folder.glob("catalog*")}

    def put_back(self) -> None:
        for path in self._folder.glob("catalog*"):
            path.unlink()
        for name, content in self._files.items():
            (self._folder / name).write_bytes(content)


async def test_a_week_comes_to_the_cent_with_restarts_and_kills_in_it(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    clock.now = 19_700 * DAY + 3600.0  # 2023-12-09, one o'clock
    app, web = goods(upstream, APP, some_bytes(1_234_567)), goods(upstream, WEB, some_bytes(345_678))
    for day in range(7):
        for _ in range(day + 1):
            await pull(house, app)
        await pull(house, web)
        if day == 2:
            await house.restart()
        if day == 4:  # killed: what came since the books were written last is not in them
            await house.ledger.flush()
            disk = Disk(house.folder)
            await pull(house, app)
            await house.stop()
            disk.put_back()
            await house.start()
        await house.ledger.flush()
        clock.advance(DAY)
    clock.advance(-DAY + 11 * 3600)  # noon of the seventh day
    served, fetched = {APP: 28 * app.size, WEB: 7 * web.size}, {APP: app.size, WEB: web.size}
    lines, end = await told(house)
    assert set(lines) == {NAME}
    assert (end.served_bytes, end.fetched_bytes) == (sum(served.values()), sum(fetched.values()))
    assert (end.since, end.until) == ("2023-12-09", "2023-12-15")
    direct, zones = Decimal(sum(served.values())) / 10**6, Decimal(sum(served.values())) / 10**11
    fetching, running = Decimal(sum(fetched.values())) / 10**6, Decimal(6 * 24 + 11) / 100
    assert round(end.saved, 2) == float(round(direct - fetching - zones - running, 2))
    assert end.running_cost == 1.55, "from the first moment to the last"
    lines, _ = await told(house, "repository")
    assert {name: (line.served_bytes, line.fetched_bytes) for name, line in lines.items()} == {
        f"{NAME}/{each}": (served[each], fetched[each]) for each in (APP, WEB)
    }
    lines, _ = await told(house, "day")
    assert [lines[f"2023-12-{9 + day:02}"].served_bytes for day in range(7)] == [
        (day + 1) * app.size + web.size for day in range(7)
    ]
    lines, end = await told(house, "month", "2023-12-15")
    assert (list(lines), end.served_bytes) == (["2023-12"], 7 * app.size + web.size)


async def test_a_client_that_leaves_counts_with_what_it_was_sent(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    wanted = goods(upstream, APP, some_bytes(1 << 20))
    await pull(house, wanted)
    async with await house.pull(blob_path(wanted.layer), {"Range": "bytes=0-999"}) as client:
        assert len((await client.reply()).body) == 1000
    await house.quiet()
    assert (await told(house))[1].served_bytes == wanted.size + 1000


async def test_errors_and_what_nobody_has_are_nobodys_savings(house: House, upstream: FaultUpstream) -> None:
    assert (await house.get(manifest_path("nope"))).status == 404
    assert (await house.get("/v2/")).status == 200
    lines, end = await told(house)
    assert (lines, end.served_bytes) == ({}, 0)


async def test_books_that_cannot_be_written_are_written_later(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = goods(upstream, APP, some_bytes(5000))
    await pull(house, wanted)
    failed = []

    async def fail(*_: object) -> None:
        failed.append(True)
        raise StoreFailed("no more")

    with monkeypatch.context() as patched:
        patched.setattr(type(house.catalog.ledger), "write", fail)
        with pytest.raises(StoreFailed):
            await house.ledger.flush()
    assert failed
    clock.advance(DAY)
    await pull(house, wanted)
    lines, _ = await told(house, "day")
    assert [line.served_bytes for line in lines.values()] == [wanted.size, wanted.size], "each on its day"


async def test_a_flush_that_is_cancelled_anywhere_counts_nothing_twice(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    wanted = goods(upstream, APP, some_bytes(5000))
    await pull(house, wanted)
    for rounds in range(6):
        flush = asyncio.create_task(house.ledger.flush())
        for _ in range(rounds):
            await asyncio.sleep(0)
        flush.cancel()
        await asyncio.wait([flush])
        await pull(house, wanted)
    assert (await told(house))[1].served_bytes == 7 * wanted.size


async def test_more_repositories_than_are_told_apart_lose_no_byte(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_log, "_TOLD_APART", 4)
    wanted = [goods(upstream, f"team/app{number}", some_bytes(1000)) for number in range(8)]
    for _ in range(2):
        for each in wanted:
            await pull(house, each)
            await pull(house, each)  # from prepared bytes
    before = house.access_log.requests().total()
    assert house.access_log.is_full
    await house.ledger.flush()
    assert not house.access_log.is_full
    assert house.access_log.requests().total() == before
    for each in wanted[:1]:
        await pull(house, each)
    served = sum(4 * each.size for each in wanted) + wanted[0].size
    assert (await told(house))[1].served_bytes == served
    rows = await house.ledger.sums(LedgerBy.REPOSITORY, 0)
    assert Account(NAME, f"{NAME}/team/app0") in {row.account for row in rows}


@pytest.mark.parametrize("since", ["yesterday", "2023-13-01", ""])
async def test_what_is_no_day_is_refused(house: House, since: str) -> None:
    with pytest.raises(RequestFault, match="not a day"):
        await told(house, since=since)


async def test_books_are_written_though_nobody_asks_for_them(
    house: House, upstream: FaultUpstream, clock: ManualClock, some_bytes: Bytes
) -> None:
    wanted = goods(upstream, APP, some_bytes(5000))
    await pull(house, wanted)
    async with asyncio.timeout(60):
        while len(await house.catalog.ledger.of_day(int(clock() // DAY))) < 2:
            await asyncio.sleep(0.05)
    found = await house.catalog.ledger.of_day(int(clock() // DAY))
    assert found == {Account(""): (0, 0), Account(NAME, f"{NAME}/{APP}"): (wanted.size, wanted.size)}


async def test_a_killed_process_has_what_was_written_and_prices_change_by_reload(
    tmp_path: Path, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob(APP, some_bytes(300_000))
    paths = {"upstreams": {NAME: {"price": 1000}}}
    async with site(tmp_path, upstream.url, {"savings": paths}) as entrepot:
        for _ in range(3):
            assert (await entrepot.get(blob_path(digest))).status == 200
        await until(entrepot, "servedBytes", 900_000)
        await entrepot.kill()
        await entrepot.start()
        assert (await entrepot.get(blob_path(digest))).status == 200
        await until(entrepot, "servedBytes", 1_200_000)
        said = await entrepot.command("savings", "--by", "repository", "--json")
        assert said.returncode == 0, said.stderr
        found = json.loads(said.stdout)
        assert [line["name"] for line in found["lines"]] == [f"{NAME}/{APP}"]
        assert (found["summary"]["fetchedBytes"], found["summary"]["saved"]) == (300_000, 0.9)
        entrepot.rewrite(savings={**paths, "running_cost": 1000})
        assert (await entrepot.command("reload")).returncode == 0
        said = await entrepot.command("savings", "--since", "7d")
        assert said.returncode == 0, said.stderr
        assert "NOT saved but lost" in said.stdout
        assert "USD more than it saves" in said.stdout
        assert (await entrepot.command("savings", "--since", "soon")).returncode == 2
        await entrepot.stop()


async def until(entrepot: Site, key: str, value: int) -> None:
    """A pull is counted behind the last byte that the client has."""
    headers = {"Content-Type": "application/json"}
    async with asyncio.timeout(60):
        while True:
            async with await Client.connect(entrepot.admin) as client:
                await client.ask("/api/v1/savings", headers, "POST")
                *_, end = (await client.reply("POST")).body.splitlines()
            if json.loads(end)["summary"][key] == value:
                return
            await asyncio.sleep(0.05)

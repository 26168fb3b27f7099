"""The books of what was served and fetched, in the catalog."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from proxy.core.ledger import Account, ByteCount, LedgerBy, LedgerRow
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.ledger import SqliteLedger
from proxy.storage.recoveries import Recovery

APP, WEB = Account("docker.io", "docker.io/library/app"), Account("docker.io", "docker.io/library/web")
K8S = Account("registry.k8s.io", "registry.k8s.io/pause")


@pytest.fixture
async def books(tmp_path: Path) -> AsyncIterator[SqliteLedger]:
    catalog = SqliteCatalog(tmp_path)
    yield catalog.ledger
    await catalog.close()


async def test_what_is_written_twice_counts_once(books: SqliteLedger) -> None:
    for _ in range(2):
        await books.write(7, {APP: ByteCount(10, 1), K8S: ByteCount(5, 5)})
    assert await books.of_day(7) == {APP: (10, 1), K8S: (5, 5)}
    assert await books.of_day(8) == {}


async def test_sums_are_divided_as_they_are_wanted(books: SqliteLedger) -> None:
    await books.write(7, {APP: ByteCount(10, 1), WEB: ByteCount(20, 2), K8S: ByteCount(5, 5)})
    await books.write(8, {APP: ByteCount(100, 10)})
    docker = Account("docker.io")
    assert await books.sums(LedgerBy.UPSTREAM, 0) == [
        LedgerRow(0, docker, ByteCount(130, 13)), LedgerRow(0, Account("registry.k8s.io"), ByteCount(5, 5))
    ]  # fmt: skip
    assert LedgerRow(0, APP, ByteCount(110, 11)) in await books.sums(LedgerBy.REPOSITORY, 0)
    assert await books.sums(LedgerBy.DAY, 8) == [LedgerRow(8, docker, ByteCount(100, 10))]
    assert len(await books.sums(LedgerBy.MONTH, 0)) == 3


async def test_the_newest_days_stay_however_far_they_are_apart(books: SqliteLedger) -> None:
    for day in (1, 2, 500, 90_000):
        await books.write(day, {APP: ByteCount(day, 0)})
    await books.tidy(3, 100)
    assert [row.day for row in await books.sums(LedgerBy.DAY, 0)] == [2, 500, 90_000]


async def test_of_old_days_only_sums_are_kept_where_there_are_too_many_rows(books: SqliteLedger) -> None:
    for day in (1, 2, 3):
        await books.write(day, {APP: ByteCount(10, 1), WEB: ByteCount(20, 2), K8S: ByteCount(5, 5)})
    before = await books.sums(LedgerBy.DAY, 0)
    await books.tidy(400, 6)
    assert await books.sums(LedgerBy.DAY, 0) == before
    assert set(await books.of_day(1)) == {Account("docker.io"), Account("registry.k8s.io")}
    assert set(await books.of_day(2)) == {APP, WEB, K8S}
    await books.tidy(400, 1)
    assert set(await books.of_day(3)) == {APP, WEB, K8S}, "the newest day is still counted"
    assert await books.sums(LedgerBy.DAY, 0) == before


async def test_a_catalog_from_before_anything_was_counted_is_brought_over(tmp_path: Path) -> None:
    first = SqliteCatalog(tmp_path)
    await first.notes.pin("a/*")
    await first.close()
    with closing(sqlite3.connect(tmp_path / "catalog")) as old:
        old.executescript("DROP TABLE ledger; PRAGMA user_version = 4;")
    catalog = SqliteCatalog(tmp_path)
    assert catalog.recovered is Recovery.MIGRATED
    assert await catalog.notes.pins() == ["a/*"]
    await catalog.ledger.write(7, {APP: ByteCount(10, 1)})
    assert await catalog.ledger.of_day(7) == {APP: (10, 1)}
    await catalog.close()


async def test_the_books_of_another_version_are_taken_over(tmp_path: Path) -> None:
    catalog = SqliteCatalog(tmp_path)
    await catalog.ledger.write(7, {APP: ByteCount(10, 1)})
    await catalog.close()
    with closing(sqlite3.connect(tmp_path / "catalog")) as old:
        old.executescript("PRAGMA user_version = 6;")
    catalog = SqliteCatalog(tmp_path)
    assert catalog.recovered is Recovery.FOREIGN
    assert await catalog.ledger.of_day(7) == {APP: (10, 1)}
    await catalog.close()


async def test_the_books_know_when_they_were_begun(books: SqliteLedger) -> None:
    assert await books.begin(7 * 86_400 + 60.0) == 7 * 86_400 + 60
    await books.write(8, {APP: ByteCount(1, 1)})
    await books.write(9, {APP: ByteCount(1, 1)})
    assert await books.begin(9 * 86_400.0) == 7 * 86_400 + 60
    await books.tidy(1, 100)
    assert await books.begin(9 * 86_400.0) == 9 * 86_400, "the first day that is kept"


async def test_a_day_on_which_nobody_pulled_is_a_day_of_nobodys(books: SqliteLedger) -> None:
    await books.write(7, {Account(""): ByteCount()})
    await books.write(9, {APP: ByteCount(1, 1)})
    assert await books.days(0) == [7, 9]
    assert await books.days(8) == [9]
    for by in LedgerBy:
        assert len(await books.sums(by, 0)) == 1


async def test_of_very_many_repositories_the_largest_are_told_by_name(books: SqliteLedger) -> None:
    await books.write(7, {Account("up", f"up/app{number}"): ByteCount(number, 1) for number in range(5010)})
    found = {row.account.repository: row.moved for row in await books.sums(LedgerBy.REPOSITORY, 0)}
    assert len(found) == 5001
    assert found[""] == (sum(range(10)), 10)
    assert found["up/app5009"] == (5009, 1)

"""Store, catalog, budget and memory, in step however one of them fails."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from proxy.cache.holdings import Holdings, Provenance
from proxy.cache.retention import rest
from proxy.core.errors import StoreFailed
from proxy.core.graph import Membership, Node, Removal
from proxy.core.names import Digest, Repository
from proxy.storage.contract import Content, MembershipRecord

NGINX, REDIS = Repository("docker.io", "library/nginx"), Repository("docker.io", "library/redis")
RAW = b"a layer"
LAYER = Content(Digest.of(RAW), len(RAW), "", 1.0, 1.0, "docker.io")


async def keep(holdings: Holdings, content: Content = LAYER, repository: Repository = NGINX) -> None:
    ingest, reservation = holdings.store.begin(), holdings.budget.reserve(content.size)
    assert reservation is not None
    ingest.write(0, RAW)
    try:
        await holdings.commit(ingest, content, Provenance(repository), reservation)
    finally:
        reservation.release()


async def test_a_release_whose_ground_has_shifted_is_decided_again(holdings: Holdings, tmp_path: Path) -> None:
    await keep(holdings)
    seen: list[Sequence[Node]] = []

    def decide(nodes: Sequence[Node]) -> Removal:
        seen.append(nodes)
        if len(seen) == 1:  # somebody else is given it, behind our back
            with closing(sqlite3.connect(tmp_path / "catalog", isolation_level=None)) as other:
                other.execute("INSERT INTO repository (upstream, name) VALUES (?, ?)", REDIS)
                member = "INSERT INTO membership (repository, digest) SELECT id, ? FROM repository WHERE name = ?"
                other.execute(member, (LAYER.digest, REDIS.name))
        [node] = nodes
        alone = len(node.places) == 1
        return Removal(frozenset({Membership(NGINX, node.digest)}), (node,) if alone else ())

    removal = await holdings.release([LAYER.digest], decide)
    assert [len(nodes[0].places) for nodes in seen] == [1, 2]
    assert removal.freed == (), "the second decision is the one that was carried out"
    assert await holdings.find(NGINX, LAYER.digest) is None
    assert await holdings.find(REDIS, LAYER.digest) is not None
    assert holdings.budget.committed == LAYER.size


async def test_bytes_whose_row_could_not_be_written_count_until_they_are_removed(
    holdings: Holdings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async def fail(*_: object) -> None:
        raise StoreFailed("the catalog takes nothing")

    with monkeypatch.context() as patched:
        patched.setattr(holdings.catalog.contents, "add", fail)
        with pytest.raises(StoreFailed, match="takes nothing"):
            await keep(holdings)
    file = tmp_path / "blobs/sha256" / LAYER.digest.encoded[:2] / LAYER.digest.encoded
    assert file.exists()
    assert (holdings.budget.committed, holdings.budget.reserved) == (LAYER.size, 0)
    assert await holdings.clear_tombstones() == 1
    assert not file.exists()
    assert holdings.budget.used == 0


async def test_bytes_whose_row_could_not_be_written_are_held_once_they_come_again(
    holdings: Holdings, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise StoreFailed("the catalog takes nothing")

    with monkeypatch.context() as patched:
        patched.setattr(holdings.catalog.contents, "add", fail)
        with pytest.raises(StoreFailed):
            await keep(holdings)
    await keep(holdings)
    assert holdings.budget.used == LAYER.size
    assert await holdings.clear_tombstones() == 0
    assert await holdings.find(NGINX, LAYER.digest) is not None


async def test_marks_of_use_that_could_not_be_written_are_written_the_next_time(
    holdings: Holdings, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep(holdings)
    await holdings.find(NGINX, LAYER.digest)

    async def fail(_: object) -> None:
        raise StoreFailed("the catalog takes nothing")

    with monkeypatch.context() as patched:
        patched.setattr(holdings.catalog.contents, "touch", fail)
        with pytest.raises(StoreFailed):
            await holdings.flush()
    await holdings.flush()
    content = await holdings.catalog.contents.get(LAYER.digest)
    assert content is not None
    assert content.used_at == 7.0


async def test_a_wrong_sum_is_counted_again(holdings: Holdings) -> None:
    await keep(holdings)
    holdings.budget.adopt(500, "docker.io")
    await holdings.recount()
    assert (holdings.budget.committed, dict(holdings.budget.committed_by)) == (LAYER.size, {"docker.io": LAYER.size})


async def test_what_a_repository_is_told_about_its_content_is_known_at_the_next_look(holdings: Holdings) -> None:
    await keep(holdings)
    await holdings.find(NGINX, LAYER.digest)
    await holdings.allow(NGINX, LAYER.digest, MembershipRecord("application/config", 9.0))
    found = await holdings.find(NGINX, LAYER.digest)
    assert found is not None
    assert found.membership == MembershipRecord("application/config", 9.0)
    await holdings.disallow(NGINX, LAYER.digest)
    assert await holdings.find(NGINX, LAYER.digest) is None


async def test_it_is_at_leisure_when_nothing_is_served_and_nothing_was_a_second_ago(holdings: Holdings) -> None:
    await keep(holdings)
    assert holdings.at_leisure
    holdings.mark_used(LAYER.digest, 7.0)
    assert not holdings.at_leisure
    holdings.mark_used(LAYER.digest, 5.9)
    assert holdings.at_leisure
    body = await holdings.open(LAYER)
    assert body is not None
    assert not holdings.at_leisure
    body.close()
    assert holdings.at_leisure


def test_what_goes_by_rule_rests_for_clients_alone() -> None:
    assert rest(0.005, at_leisure=True) == 0.0
    assert rest(0.005, at_leisure=False) == pytest.approx(0.12)
    assert rest(0.0, at_leisure=False) == pytest.approx(0.01)

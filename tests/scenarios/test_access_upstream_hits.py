"""A hit of a repository that its registry decides about is decided from memory, on the fast path too."""

import pytest

from proxy.cache.permits import PermitRules
from proxy.core.allow import OPEN
from proxy.login.rules import LoginRules
from tests.cast import FaultUpstream, ManualClock
from tests.cast.members import Members
from tests.cast.visitors import PASSWORDS, ask, basic, bearer, token
from tests.scenarios.house import APP, House, HouseRules, blob_path, manifest_path

RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
TTL = 300.0


@pytest.fixture
def rules() -> HouseRules:
    logins = LoginRules(OPEN._replace(logins=True), for_upstreams=True)
    permits = PermitRules(lambda _: True, lambda _: TTL, lambda _: 3600.0, any=True)
    return HouseRules(logins=logins, permits=permits)


@pytest.mark.parametrize("by_token", [True, False], ids=["by token", "by password"])
async def test_a_hit_needs_neither_upstream_nor_a_task(
    house: House, upstream: FaultUpstream, clock: ManualClock, by_token: bool
) -> None:
    members = upstream.members(Members(dict(PASSWORDS), {"alice": {APP}}))
    digest, blob = upstream.manifest(APP, "v1", RAW), upstream.blob(APP, b"small")
    login = bearer(await token(house, basic("alice"))) if by_token else basic("alice")
    paths = [manifest_path("v1"), manifest_path(digest), blob_path(blob)]
    for _ in range(4):
        for path in paths:
            assert (await ask(house, path, login)).status == 200
        await house.quiet()  # what came is committed, so that the next round finds it
    asked, lines = len(upstream.ledger), len(house.lines)
    for path in paths:
        assert (await ask(house, path, login)).status == 200
    assert len(upstream.ledger) == asked
    assert [line.seconds for line in house.lines[lines:]] == [0.0] * len(paths), "as only the fast path says"
    for path in paths:
        assert (await ask(house, path, basic("bob"))).status == 404
        assert (await ask(house, path)).status == 401
    members.rights.clear()
    clock.advance(TTL - 1)
    assert (await ask(house, paths[1], basic("alice"))).status == 200
    clock.advance(2)
    for path in paths:
        assert (await ask(house, path, basic("alice"))).status == 404, "what was prepared is asked about too"


async def test_no_table_shows_a_login(house: House, upstream: FaultUpstream) -> None:
    upstream.members(Members(dict(PASSWORDS), {"alice": {APP}}))
    upstream.manifest(APP, "v1", RAW)
    hers = await token(house, basic("alice"))
    for login in (basic("alice"), bearer(hers)):
        for _ in range(3):
            assert (await ask(house, manifest_path("v1"), login)).status == 200
    everything = repr([*house.front.requests._blocks.items(), *house.front.requests._remainders.items(), house.lines])
    for table in house.cache.holdings.tables.made.values():
        everything += repr(table.items())
    for canary in (PASSWORDS["alice"], basic("alice")["Authorization"][6:], hers):
        assert canary not in everything

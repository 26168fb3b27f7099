"""Two callers and one cache: whoever may not have something learns nothing of it, wherever it is, however he asks."""

import asyncio
import json
import re
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from proxy.core.allow import AllowRule, AllowRules
from proxy.login.material import LoginSecrets
from proxy.login.rules import LoginRules
from tests.cast import FaultUpstream, ManualClock, roles
from tests.cast.visitors import ask, basic, bearer, htpasswd, token
from tests.scenarios.house import APP, NAME, House, HouseRules, MiB, manifest_path
from tests.scenarios.questions import QUESTIONS, TELLS, Thing, absent

Bytes = Callable[[int], bytes]
BY_BOTH_PATHS = [
    each._replace(headers={**each.headers, **path}) for path in ({}, {"Connection": "close"}) for each in QUESTIONS
]
RAW = b'{"schemaVersion":2,"config":{},"layers":[]}'
OPEN, HERS, HIS = "library/open", APP, "team/his"
ABSENT = absent(HERS)
ALLOW = (
    AllowRule(("anonymous",), (f"{NAME}/{OPEN}",)),
    AllowRule(("user:alice",), (f"{NAME}/{HERS}",)),
    AllowRule(("user:bob",), (f"{NAME}/team/*",)),
)


def rules_of(folder: Path, *allow: AllowRule) -> LoginRules:
    return LoginRules(AllowRules.of(allow, logins=True, anonymous=False), htpasswd(folder / "htpasswd"))


@pytest.fixture
def rules(tmp_path: Path) -> HouseRules:
    return HouseRules(logins=rules_of(tmp_path, *ALLOW))


@asynccontextmanager
async def held(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> AsyncIterator[Thing]:
    thing = Thing(HERS, upstream.blob(HERS, some_bytes(500)), upstream.manifest(HERS, "v1", RAW), "v1")
    upstream.tags(HERS, ["v1"])
    for _ in range(3):
        for kind in ("blob", "tag", "digest", "tags"):
            assert (await ask(house, thing.path(kind), basic("alice"))).status == 200
        await house.quiet()
    yield thing


@asynccontextmanager
async def arriving(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> AsyncIterator[Thing]:
    thing = Thing(HERS, upstream.blob(HERS, blob := some_bytes(2 * MiB)), upstream.manifest(HERS, "v2", RAW), "v2")
    going_on = asyncio.Event()
    upstream.plays("blob", roles.holds(MiB, going_on))
    upstream.plays("manifest", roles.holds(0, going_on), roles.holds(0, going_on))
    async with (
        await house.pull(thing.path("blob"), basic("alice")) as first,
        await house.pull(thing.path("tag"), basic("alice")) as second,
        await house.pull(thing.path("digest"), basic("alice")) as third,
    ):
        head = await first.head()
        while len(upstream.requests("manifest")) < 2:
            await asyncio.sleep(0.005)
        fill = house.cache.fills.arriving[thing.blob]
        yield thing
        assert fill.followers == 1
        going_on.set()
        assert await first.rest(head) == blob
        assert (await second.reply()).body == (await third.reply()).body == RAW


@pytest.mark.parametrize("login", [basic("bob"), {}, basic("alice", "wrong")], ids=["bob", "nobody", "wrong"])
@pytest.mark.parametrize("standing", [held, arriving])
async def test_who_may_not_learns_nothing(
    house: House,
    upstream: FaultUpstream,
    some_bytes: Bytes,
    standing: Callable[..., AbstractAsyncContextManager[Thing]],
    login: dict[str, str],
) -> None:
    """Neither a byte nor a size nor a digest, nor another answer than for what is not there."""
    async with standing(house, upstream, some_bytes) as thing:
        asks = len(upstream.ledger)
        for method, headers, kind in BY_BOTH_PATHS:
            real = await ask(house, thing.path(kind), {**headers, **login}, method)
            none = await ask(house, ABSENT.path(kind), {**headers, **login}, method)
            assert real.status == (404 if login == basic("bob") else 401), (method, kind)
            assert ("www-authenticate" in real.headers) is (real.status == 401)
            assert not TELLS & set(real.headers)
            assert thing.told(real) == ABSENT.told(none), (method, kind)
        assert len(upstream.ledger) == asks, "upstream is asked for somebody who may not"


async def test_who_may_gets_all_of_it(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    async with held(house, upstream, some_bytes) as thing:
        for method, headers, kind in QUESTIONS[:9]:
            reply = await ask(house, thing.path(kind), {**headers, **basic("alice")}, method)
            assert reply.status in {200, 206, 304}, (method, kind)


async def test_no_answer_comes_sooner_or_later_for_being_held(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    times: dict[str, list[float]] = {"held": [], "absent": []}
    async with held(house, upstream, some_bytes) as thing, await house.connect() as client:
        for turn in range(1000):
            which, asked = ("held", thing) if turn % 2 else ("absent", ABSENT)
            before = time.perf_counter()
            await client.ask(asked.path("blob" if turn % 4 < 2 else "tag"), basic("bob"))
            assert (await client.reply()).status == 404
            times[which].append(time.perf_counter() - before)
    medians = {which: statistics.median(each) for which, each in times.items()}
    assert 0.8 < medians["held"] / medians["absent"] < 1.25


async def test_a_catalog_lists_what_its_reader_may_pull(house: House, upstream: FaultUpstream) -> None:
    for repository in (OPEN, HERS, HIS):
        upstream.manifest(repository, "v1", RAW)
        login = basic("alice" if repository == HERS else "bob")
        assert (await ask(house, manifest_path("v1", repository), login)).status == 200
    await house.quiet()

    async def listed(login: dict[str, str], query: str = "") -> list[str]:
        reply = await ask(house, f"/v2/_catalog{query}", login)
        names: list[str] = json.loads(reply.body)["repositories"]
        return names

    assert await listed(basic("alice")) == [f"{NAME}/{HERS}", f"{NAME}/{OPEN}"]
    assert await listed(basic("bob")) == [f"{NAME}/{OPEN}", f"{NAME}/{HIS}"]
    assert await listed({}) == [f"{NAME}/{OPEN}"]
    assert await listed(basic("bob"), "?n=1") == [f"{NAME}/{OPEN}"]
    assert await listed(basic("bob"), f"?n=1&last={NAME}/{OPEN}") == [f"{NAME}/{HIS}"]


async def test_clients_learn_by_the_ping_that_there_are_logins(house: House, upstream: FaultUpstream) -> None:
    reply = await ask(house, "/v2/", {"Host": "mirror.test:5000"})
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == 'Bearer realm="http://mirror.test:5000/token",service="entrepot"'
    assert (await ask(house, "/v2/", basic("alice"))).status == 200
    assert (await ask(house, "/v2/", bearer(await token(house)))).status == 200
    upstream.manifest(OPEN, "v1", RAW)
    assert (await ask(house, manifest_path("v1", OPEN))).status == 200
    assert (await ask(house, manifest_path("v1", OPEN), basic("alice", "wrong"))).status == 401


async def test_a_host_that_could_forge_a_header_is_not_repeated(house: House) -> None:
    reply = await ask(house, "/v2/", {"Host": 'evil" x="y'})
    assert reply.headers["www-authenticate"] == 'Bearer realm="http://localhost/token",service="entrepot"'


async def test_a_token_names_the_caller_and_the_gate_decides(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(HERS, "v1", RAW)
    upstream.manifest(OPEN, "v1", RAW)
    asked = await ask(house, manifest_path("v1", HERS))
    scope = re.search(r'scope="([^"]+)"', asked.headers["www-authenticate"])
    assert scope is not None
    assert scope[1] == f"repository:{NAME}/{HERS}:pull"
    hers = bearer(await token(house, basic("alice"), f"scope={scope[1]}&service=entrepot"))
    for _ in range(4):
        assert (await ask(house, manifest_path("v1", HERS), hers)).body == RAW
        assert (await ask(house, manifest_path("v1", HERS, registry=NAME), bearer(await token(house)))).status == 401
    assert (await ask(house, manifest_path("v1", OPEN), hers)).status == 200
    his = bearer(await token(house, basic("bob"), f"scope={scope[1]}"))
    assert (await ask(house, manifest_path("v1", HERS), his)).status == 404
    assert (await ask(house, "/token", basic("alice", "wrong"))).status == 401


async def test_a_token_ends_and_with_it_what_was_remembered(
    house: House, upstream: FaultUpstream, clock: ManualClock
) -> None:
    upstream.manifest(HERS, "v1", RAW)
    hers = bearer(await token(house, basic("alice")))
    async with await house.connect() as client:
        for _ in range(4):
            await client.ask(manifest_path("v1"), hers)
            assert (await client.reply()).status == 200
        clock.advance(299)
        await client.ask(manifest_path("v1"), hers)
        assert (await client.reply()).status == 200
        clock.advance(1)
        await client.ask(manifest_path("v1"), hers)
        reply = await client.reply()
    assert reply.status == 401
    assert 'error="invalid_token"' in reply.headers["www-authenticate"]


async def test_a_token_is_no_way_to_a_longer_one(house: House, clock: ManualClock) -> None:
    first = await token(house, basic("alice"))
    clock.advance(200)
    reply = await ask(house, "/token", bearer(first))
    assert json.loads(reply.body)["expires_in"] <= 100
    clock.advance(101)
    assert (await ask(house, "/v2/", bearer(json.loads(reply.body)["token"]))).status == 401


async def test_changed_rules_hold_for_the_next_request(house: House, upstream: FaultUpstream, tmp_path: Path) -> None:
    upstream.manifest(HERS, "v1", RAW)
    async with await house.connect() as hers, await house.connect() as his:
        for _ in range(4):
            await hers.ask(manifest_path("v1"), basic("alice"))
            assert (await hers.reply()).status == 200
            await his.ask(manifest_path("v1"), basic("bob"))
            assert (await his.reply()).status == 404
        turned = rules_of(tmp_path, AllowRule(("user:bob",), (f"{NAME}/*",)))
        house.admissions.configure(LoginSecrets.read(turned, lambda path, limit: path.read_bytes()))
        await hers.ask(manifest_path("v1"), basic("alice"))
        assert (await hers.reply()).status == 404
        await his.ask(manifest_path("v1"), basic("bob"))
        assert (await his.reply()).body == RAW


async def test_a_body_that_runs_when_a_right_ends_is_finished(
    house: House, upstream: FaultUpstream, some_bytes: Bytes, tmp_path: Path
) -> None:
    async with arriving(house, upstream, some_bytes) as thing:
        closed = rules_of(tmp_path)
        house.admissions.configure(LoginSecrets.read(closed._replace(allow=AllowRules(ALLOW[:1], True)), read))
        assert (await ask(house, thing.path("blob"), basic("alice"))).status == 404


def read(path: Path, limit: int) -> bytes:
    return path.read_bytes()


async def test_a_changed_htpasswd_holds_within_a_second_under_load(
    house: House, upstream: FaultUpstream, tmp_path: Path
) -> None:
    upstream.manifest(HERS, "v1", RAW)
    hers = bearer(await token(house, basic("alice")))
    loading = asyncio.create_task(_load(house))
    try:
        assert (await ask(house, manifest_path("v1"), hers)).status == 200
        htpasswd(tmp_path / "htpasswd", {"alice": "another word", "bob": "open barley"})
        changed = time.monotonic()
        while (await ask(house, manifest_path("v1"), hers)).status == 200:
            await asyncio.sleep(0.01)
        assert time.monotonic() - changed < 1.5  # of a busy machine; files are looked at twice a second
        assert (await ask(house, manifest_path("v1"), basic("alice"))).status == 401
        assert (await ask(house, manifest_path("v1"), basic("alice", "another word"))).status == 200
    finally:
        loading.cancel()


async def _load(house: House) -> None:
    async with await house.connect() as client:
        while True:
            await client.ask(manifest_path("v1"), basic("bob"))
            assert (await client.reply()).status == 404


async def test_a_file_of_logins_that_is_no_good_changes_nothing_and_is_told(house: House, tmp_path: Path) -> None:
    (tmp_path / "htpasswd").write_text("alice:secret\n")
    logins = house.admissions.logins
    while not logins.troubles():
        await asyncio.sleep(0.02)
    assert "line 1" in logins.troubles()["logins"]
    assert "secret" not in logins.troubles()["logins"]
    assert (await ask(house, "/v2/", basic("alice"))).status == 200
    htpasswd(tmp_path / "htpasswd")
    while logins.troubles():
        await asyncio.sleep(0.02)
    assert (await ask(house, "/v2/", basic("alice"))).status == 200


async def test_failed_logins_are_slowed_and_right_ones_are_not(house: House) -> None:
    async def seconds(login: dict[str, str], status: int) -> float:
        before = time.perf_counter()
        assert (await ask(house, "/v2/", login)).status == status
        return time.perf_counter() - before

    waits = [await seconds(basic("alice", f"guess {number}"), 401) for number in range(7)]
    assert waits[-1] >= 0.9
    assert house.admissions.logins.counts["wrong"] == 7
    assert await seconds(basic("alice"), 200) < 0.9
    assert await seconds(basic("bob"), 200) < 0.9


async def test_a_neighbour_of_whoever_guesses_waits_for_none_of_it(house: House, clock: ManualClock) -> None:
    """Guesses at one user, from the same address, as fast as they go."""
    guesses = [asyncio.create_task(ask(house, "/v2/", basic("alice", f"guess {number}"))) for number in range(100)]
    while not house.admissions.logins.counts["wrong"]:
        await asyncio.sleep(0.001)
    assert (await ask(house, "/v2/", basic("bob"))).status == 200
    assert house.admissions.logins.counts["wrong"] < 100
    assert {(await guess).status for guess in guesses} == {401}


async def test_no_memory_and_no_line_holds_a_password_or_a_token(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(HERS, "v1", RAW)
    granted = await token(house, basic("alice"))
    canaries = [basic("alice")["Authorization"][6:].encode(), b"open sesame", granted.encode(), b"canary of a guess"]
    for login in (basic("alice"), bearer(granted)):
        async with await house.connect() as client:
            for _ in range(4):
                await client.ask(manifest_path("v1"), login)
                assert (await client.reply()).status == 200
    await ask(house, "/v2/", basic("alice", "canary of a guess"))
    requests = house.front.requests
    remembered = [*requests._blocks.items(), *requests._remainders.items(), *house.cache.holdings.tables.made.items()]
    everything = repr(remembered) + repr(house.lines)
    for table in house.cache.holdings.tables.made.values():
        everything += repr(table.items())
    for canary in canaries:
        assert canary.decode() not in everything


async def test_a_line_says_who_asked_on_both_paths(house: House, upstream: FaultUpstream) -> None:
    upstream.manifest(HERS, "v1", RAW)
    for _ in range(3):
        assert (await ask(house, manifest_path("v1"), basic("alice"))).status == 200
    assert (await ask(house, manifest_path("v1"), basic("bob"))).status == 404
    assert (await ask(house, manifest_path("v1"), basic("bob", "wrong"))).status == 401
    said = [(line.user, line.status, line.fields().get("user")) for line in house.lines]
    assert said == [("alice", 200, "alice")] * 3 + [("bob", 404, "bob"), ("", 401, None)]


async def test_what_is_configured_is_told_to_no_stranger(house: House) -> None:
    for registry in (NAME, "elsewhere.test"):
        assert (await ask(house, f"/v2/{registry}/a/b/tags/list")).status == 401
    assert (await ask(house, "/v2/elsewhere.test/a/b/tags/list", basic("alice"))).status == 404
    assert (await ask(house, f"/v2/{NAME}/a/b/manifests/x", method="PUT")).status == 405

"""A caller has no more than his rule gives him, and takes nothing from others."""

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.core.allow import AllowRule, AllowRules
from proxy.login.rules import LoginRules
from tests.cast import FaultUpstream, roles
from tests.cast.visitors import ask, basic, htpasswd
from tests.scenarios.house import House, HouseRules, MiB, blob_path, manifest_path

Bytes = Callable[[int], bytes]
ALLOW = (AllowRule(("user:alice",), ("*",), rate=2 * MiB, fills=1), AllowRule(("anonymous",), ("*",)))


@pytest.fixture
def rules(tmp_path: Path) -> HouseRules:
    allow = AllowRules.of(ALLOW, logins=True, anonymous=False)
    return HouseRules(logins=LoginRules(allow, htpasswd(tmp_path / "htpasswd")))


async def test_all_that_one_caller_takes_comes_at_his_rate(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob("library/app", blob := some_bytes(MiB))
    assert (await ask(house, blob_path(digest), basic("bob"))).body == blob
    await house.quiet()
    before = time.perf_counter()
    replies = await asyncio.gather(*(ask(house, blob_path(digest), basic("alice")) for _ in range(3)))
    assert all(reply.body == blob for reply in replies)
    assert time.perf_counter() - before >= 1.3  # three MiB at two in a second, but for the last pieces
    assert (await ask(house, blob_path(digest), {**basic("alice"), "Range": "bytes=5-9"})).body == blob[5:10]


async def test_small_replies_from_memory_count_too(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    """Alice may have two MiB in a second, so that 60 KiB are paid for by 29 ms."""
    digest = upstream.blob("library/app", blob := some_bytes(60 << 10))
    upstream.manifest("library/app", "v1", manifest := json.dumps({"schemaVersion": 2, "x": "y" * (60 << 10)}).encode())
    paths = {blob_path(digest): blob, manifest_path("v1"): manifest}
    for path, content in paths.items():
        assert (await ask(house, path, basic("bob"))).body == content
    await house.quiet()
    before, taken = time.perf_counter(), 0
    async with await house.connect() as alice:
        for _ in range(10):
            for path, content in paths.items():
                await alice.ask(path, basic("alice"))
                assert (await alice.reply()).body == content
                taken += len(content)
    assert time.perf_counter() - before >= (taken - (60 << 10)) / (2 * MiB)
    assert [line.seconds for line in house.lines if line.user == "alice"].count(0.0) > 0, "some came from memory"


async def test_what_is_taken_is_counted_by_group_and_not_by_user(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    digest = upstream.blob("library/app", blob := some_bytes(1000))
    for _ in range(3):  # the first by the full path
        assert (await ask(house, blob_path(digest), basic("bob"))).body == blob
    assert (await ask(house, "/v2/")).status == 401
    assert (await ask(house, "/v2/", basic("bob", "a guess"))).status == 401
    await house.quiet()
    groups = house.access_log.groups
    assert groups.requests() == {("other",): 3, ("anonymous",): 2}
    assert groups.sent()[("other",)] == 3000


async def test_one_more_fill_waits_for_its_caller_and_for_nobody_else(
    house: House, upstream: FaultUpstream, some_bytes: Bytes
) -> None:
    first, second = some_bytes(MiB), some_bytes(MiB)
    slow, waiting, other = (upstream.blob("library/app", each) for each in (first, second, b"small"))
    upstream.plays("blob", roles.holds(MiB // 2, going_on := asyncio.Event()))
    async with await house.pull(blob_path(slow), basic("alice")) as one:
        head = await one.head()
        async with await house.pull(blob_path(waiting), basic("alice")) as two:
            for _ in range(3):
                assert (await ask(house, blob_path(other), basic("bob"))).body == b"small"
            assert len(upstream.requests("blob")) == 2
            going_on.set()
            assert await one.rest(head) == first
            assert (await two.reply()).body == second
    assert len(upstream.requests("blob")) == 3


async def test_who_leaves_gives_his_place_back(house: House, upstream: FaultUpstream, some_bytes: Bytes) -> None:
    digests = [upstream.blob("library/app", some_bytes(MiB)) for _ in range(2)]
    upstream.plays("blob", roles.holds(MiB // 2, going_on := asyncio.Event()))
    async with await house.pull(blob_path(digests[0]), basic("alice")) as leaving:
        await leaving.head()
        async with await house.pull(blob_path(digests[1]), basic("alice")) as impatient:
            await asyncio.sleep(0.05)
            impatient.leave()
    going_on.set()
    assert len((await ask(house, blob_path(digests[1]), basic("alice"))).body) == MiB

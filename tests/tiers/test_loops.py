"""Caches that ask each other in a circle are told so, however long it is and whatever stands between them."""

import http.client
import json
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.process import Answer, Entrepot, get, proxying
from tests.tiers.cast import GHCR, circle, relaying, tier

PULL = f"/v2/team/app/manifests/v1?ns={GHCR}"
AT_ONCE = 5.0  # seconds


def refused(proxy: Entrepot, path: str = PULL) -> str:
    """What is said of it, and soon."""
    began = time.monotonic()
    answer: Answer = proxy.get(path)
    assert time.monotonic() - began < AT_ONCE
    assert answer.status == 508, answer
    [error] = json.loads(answer.body)["errors"]
    return str(error["message"])


def refused_by_head(proxy: Entrepot, path: str) -> str:
    """What the status text says of it, which is all that a HEAD is told."""
    with closing(http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=60)) as connection:
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert answer.status == 508
        return answer.reason


@pytest.mark.parametrize("forward", ["ns", "path"])
@pytest.mark.parametrize("caches", [1, 2, 3])
def test_a_circle_of_caches_is_refused_in_clear_words(caches: int, forward: str, tmp_path: Path) -> None:
    with circle(tmp_path, caches, forward) as made:
        for each in made:
            assert "in a circle" in refused(each)
        assert "in a circle" in refused(made[0], f"/v2/team/app/blobs/sha256:{'0' * 64}?ns={GHCR}")
        if caches > 1:
            for each in made:
                each.says("in a circle")


def test_those_who_ask_at_both_ends_of_a_circle_at_once_are_told_as_well(tmp_path: Path) -> None:
    """Each cache then has asked the other one before that asks for what it waits for."""
    with circle(tmp_path, 2, "ns") as made, ThreadPoolExecutor(16) as clients:
        for number in range(10):
            blob, referrers = (f"/v2/team/app/{what}/sha256:{number:064x}?ns={GHCR}" for what in ("blobs", "referrers"))
            tags = f"/v2/team/app{number}/tags/list?ns={GHCR}"
            for path in (PULL.replace("v1", f"v{number}"), blob, tags, referrers):
                told = list(clients.map(partial(refused, path=path), made * 8))
                assert all("in a circle" in each for each in told)
            assert all("in a circle" in each for each in clients.map(partial(refused_by_head, path=blob), made * 8))


def test_a_cache_behind_its_own_load_balancer_sees_itself(tmp_path: Path) -> None:
    """The address leads elsewhere, as a Service's does: only what the request brings back tells."""
    front = free_port()
    with proxying(tmp_path / "cache", tier(f"http://127.0.0.1:{front}")) as cache, relaying(front, cache.port):
        assert "in a circle" in refused(cache)
        cache.says("this cache asks itself")


def test_two_replicas_behind_a_load_balancer_that_leads_to_the_other_one(tmp_path: Path) -> None:
    to_one, to_other = free_port(), free_port()
    with (
        proxying(tmp_path / "one", tier(f"http://127.0.0.1:{to_other}")) as one,
        proxying(tmp_path / "other", tier(f"http://127.0.0.1:{to_one}")) as other,
        relaying(to_one, one.port),
        relaying(to_other, other.port),
    ):
        assert "in a circle" in refused(one)
        one.says("2 caches ask each other in a circle")


def test_a_known_name_in_a_circle_is_refused_too(tmp_path: Path) -> None:
    """It need not be the tier: any upstream may be a cache."""
    front = free_port()
    upstreams = {GHCR: {"url": f"http://127.0.0.1:{front}"}}
    with (
        proxying(tmp_path / "cache", upstreams, default_upstream=GHCR) as cache,
        relaying(front, cache.port),
    ):
        assert "in a circle" in refused(cache)


def test_whoever_makes_up_hops_is_answered_and_harms_nobody(tmp_path: Path) -> None:
    """What they wrote does not pile up on the way to a cache further on."""
    made_up = ", ".join(f"1.1 entrepot-{number:016x}" for number in range(250))
    strangers = ", ".join(f"1.1 squid{number}.example (squid/6)" for number in range(20))
    with (
        proxying(tmp_path / "central", {GHCR: {"url": "http://127.0.0.1:9"}}) as central,
        proxying(tmp_path / "node", tier(f"http://{central.address}")) as node,
    ):
        for via in (made_up, strangers):
            assert get(node.port, "/v2/", {"Via": via}).status == 200
            assert get(node.port, PULL, {"Via": via}).status == 502, "the registry is away, and that is all"
        assert "in a circle" not in central.log.read_text()

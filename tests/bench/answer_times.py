"""``python -m tests.bench.answer_times``: does the time of an answer tell whether something is there?

Of a registry that decides by each client's own credential, somebody who may not have it asks for what is held and for
what is nowhere, in turn: 1,000 times where the registry is asked each time, and 1,000 times where its no is remembered.
Prints the medians, and how often chance alone sets them as far apart (a permutation test); exit 1 below 1 in 1,000.
"""

import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path

import uvloop

from tests.cast import FaultUpstream
from tests.cast.members import Members
from tests.cast.visitors import basic
from tests.scenarios.client import Client
from tests.scenarios.ecr.stage import Clock, running

NAME, HERS = "registry.test", "team/hers"
ASKS = 1000
SHUFFLES = 2000
LEAST = 0.001
LATER = 11.0  # seconds, after which a no is forgotten
RAW = json.dumps({"schemaVersion": 2, "config": {}, "layers": []}).encode()

Times = dict[str, list[float]]


async def measured(anew: bool) -> Times:
    """Seconds of each answer; with ``anew`` the registry is asked for each."""
    times: Times = {"held": [], "absent": []}
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        async with FaultUpstream() as upstream:
            upstream.members(Members({"alice": "open sesame", "bob": "open barley"}, {"alice": {HERS}}))
            held = upstream.manifest(HERS, "v1", RAW)
            paths = {"held": _path(held), "absent": _path("sha256:" + "0" * 64)}
            document = {"upstreams": {NAME: {"url": upstream.url, "access": "upstream"}}, "log": {"access": "none"}}
            app = running(Path(folder) / "app", document, clock)
            async with app as proxy, await Client.connect(proxy.port) as client:
                assert (await proxy.get(paths["held"], basic("alice"))).status == 200
                for turn in range(2 * ASKS):
                    which = "held" if turn % 2 else "absent"
                    clock.ahead += LATER if anew else 0.0
                    before = time.perf_counter()
                    await client.ask(paths[which], basic("bob"))
                    assert (await client.reply()).status == 404
                    times[which].append(time.perf_counter() - before)
    return times


def _path(digest: str) -> str:
    return f"/v2/{NAME}/{HERS}/manifests/{digest}"


def by_chance(times: Times) -> float:
    """How often medians of the same times in any order are as far apart."""
    chance, both = random.Random(1), times["held"] + times["absent"]
    apart = abs(statistics.median(times["held"]) - statistics.median(times["absent"]))
    count = 0
    for _ in range(SHUFFLES):
        chance.shuffle(both)
        count += abs(statistics.median(both[:ASKS]) - statistics.median(both[ASKS:])) >= apart
    return count / SHUFFLES


def main() -> int:
    told = False
    for anew in (True, False):
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            times = runner.run(measured(anew))
        share = by_chance(times)
        told = told or share < LEAST
        medians = ", ".join(f"{which} {statistics.median(each) * 1e6:.0f} µs" for which, each in times.items())
        print(f"{'asked each time' if anew else 'remembered'}: {medians}; by chance alone in {share:.1%}")
    return int(told)


if __name__ == "__main__":
    sys.exit(main())

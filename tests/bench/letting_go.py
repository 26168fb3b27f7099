"""Hits while images go: the rules are applied at a pace that leaves them alone."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from proxy.cache.lifecycle import LastRun
from proxy.storage.catalog import SqliteCatalog
from tests.bench.bench import Bench
from tests.bench.clients import WrongAnswer, check, latencies
from tests.bench.contents import Content
from tests.bench.contestants import OURS, Server, Setup, entrepot
from tests.bench.measure import Row, Spread, Target, percentile
from tests.bench.scrape import order
from tests.bench.stock import UPSTREAM, stock_images

_IMAGES = 100  # of a repository
_KEPT = 20
_PAUSE = 0.002  # seconds between two hits
_PORTION = 100  # hits between two looks whether images still go
_RULE = {
    "rulePriority": 1,
    "selection": {"tagStatus": "any", "countType": "imageCountMoreThan", "countNumber": _KEPT},
    "action": {"type": "expire"},
}


def under_hits(bench: Bench) -> list[Row]:
    """A manifest hit while a lifecycle run expires thousands of images."""
    per_round = bench.scale.expiring // (_IMAGES - _KEPT)
    names = [[f"round-{number}/app-{place}" for place in range(per_round)] for number in range(bench.scale.rounds)]
    manifest = bench.contents.manifest(bench.contents.blob(4096, 0)).by_digest
    quiet: list[float] = []
    busy: list[float] = []
    rates: list[float] = []
    with entrepot(_setup(bench, [name for group in names for name in group])) as server:
        check(server.port, manifest.path, manifest.digest)
        for number, group in enumerate(names):
            quiet.append(_p99(latencies(server.port, manifest.path, bench.scale.samples, _PAUSE)))
            with _applying(server, f"{UPSTREAM}/round-{number}/*", len(group)) as (ended, seconds):
                busy.append(_p99(_hits_until(ended, server, manifest)))
            rates.append(len(group) * (_IMAGES - _KEPT) / seconds[0])
        bench.note_lag([server])
    work = f"hits while {bench.scale.expiring:,} of {bench.scale.expiring * _IMAGES // (_IMAGES - _KEPT):,} images go"
    p99 = {OURS: Spread.of(busy), f"{OURS} quiet": Spread.of(quiet)}
    return [
        Row(work, "p99 of a manifest hit, ms", p99, [Target("≤", 1.3, f"{OURS} quiet")]),
        Row(work, "images per second", {OURS: Spread.of(rates)}),
    ]


def idle(bench: Bench) -> list[Row]:
    """A lifecycle run expires many images of a cache that nobody asks for anything."""
    repositories = bench.scale.letting_go // (_IMAGES - _KEPT)
    names = [f"round-0/app-{place}" for place in range(repositories)]
    with entrepot(_setup(bench, names)) as server:
        with _applying(server, f"{UPSTREAM}/round-0/*", len(names)) as (ended, seconds):
            ended.wait()
        bench.note_lag([server])
    expired = repositories * (_IMAGES - _KEPT)
    work = f"{expired:,} of {repositories * _IMAGES:,} images go, nobody asks"
    return [Row(work, "images per second", {OURS: Spread.of([expired / seconds[0]])})]


@contextmanager
def _applying(server: Server, pattern: str, repositories: int) -> Iterator[tuple[threading.Event, list[float]]]:
    """A run under way: when it has ended, and the seconds that it took. Raises WrongAnswer where it did not expire what
    it had to."""
    ended, seconds = threading.Event(), list[float]()
    expired: list[dict[str, Any]] = []

    def apply() -> None:
        begun = time.monotonic()
        try:
            expired.extend(order(server.admin, "lifecycle/apply", {"repository": pattern}))
        finally:
            seconds.append(time.monotonic() - begun)
            ended.set()

    thread = threading.Thread(target=apply)
    thread.start()
    try:
        yield ended, seconds
    finally:
        thread.join()
    if not expired or expired[-1]["summary"]["expired"] != repositories * (_IMAGES - _KEPT):
        raise WrongAnswer(f"the run ended with {expired[-1:]}")


def _hits_until(ended: threading.Event, server: Server, manifest: Content) -> list[float]:
    taken: list[float] = []
    while not ended.is_set():
        taken += latencies(server.port, manifest.path, _PORTION, _PAUSE)
    return taken


def _setup(bench: Bench, repositories: Sequence[str]) -> Setup:
    folder = bench.new_folder()
    with entrepot(Setup(folder, bench.upstream)):
        pass  # the folder is a cache's from now on
    stock_images(folder / "cache", repositories, _IMAGES)
    asyncio.run(_all_was_done_just_now(folder / "cache"))
    lifecycle = [{"repositories": [f"{UPSTREAM}/round-*"], "policy": {"rules": [_RULE]}}]
    return Setup(folder, bench.upstream, more={"lifecycle": lifecycle})


def _p99(seconds: Sequence[float]) -> float:
    return percentile(seconds, 0.99) * 1e3


async def _all_was_done_just_now(cache: Path) -> None:
    """The run on schedule is not due while this lasts, nor the scrub, which would find out what the files hold."""
    catalog = SqliteCatalog(cache)
    await catalog.notes.write_note("lifecycle", json.dumps(asdict(LastRun(began_at=time.time()))))
    await catalog.notes.write_note("scrub", json.dumps({"began_at": time.time(), "after": "~"}))
    await catalog.close()

"""A start on a large catalog.

The catalog and its folder are made by Entrepot itself; then one blob's rows are multiplied in SQLite, since a million
calls of the catalog take minutes. Each row has its file: hard links of one small file per shard.
"""

import asyncio
import hashlib
import re
import sqlite3
import time
import urllib.request
from collections.abc import Sequence
from contextlib import closing
from itertools import groupby
from pathlib import Path

from proxy.core.names import Digest, Repository
from proxy.storage.catalog import SqliteCatalog
from proxy.storage.contract import Content
from proxy.storage.recovery import NAME
from tests.bench.bench import Bench
from tests.bench.clients import WrongAnswer
from tests.bench.contestants import OURS, Launch, NotStarted, Setup, entrepot, running
from tests.bench.measure import Row, Spread, Target, rss_bytes
from tests.bench.shelf import MIB, REPOSITORY

_SIZE = 1024  # bytes of each blob
_BACKGROUND = 5.0  # seconds after the start that count for the peak of memory


def large_catalog(bench: Bench) -> list[Row]:
    """A start on a catalog of a million blobs, against a start on an empty one."""
    folder = bench.new_folder()
    setup = Setup(folder, bench.origin)
    try:
        empty = _start(entrepot(setup), 0)
    except NotStarted as failure:
        print(f"{OURS}: skipped: {failure}", flush=True)
        empty = None
    ready, peaks, base = {}, {}, f"{OURS} on an empty catalog"
    if empty is not None:
        _fill(folder / "cache", bench.scale.entries)
        found = [_start(entrepot(setup), bench.scale.entries) for _ in range(bench.scale.rounds)]
        seconds, peak = zip(*found, strict=True)
        ready = {OURS: Spread.of(seconds), base: Spread.of(empty[:1])}
        peaks = {OURS: Spread.of(peak), base: Spread.of(empty[1:])}
    work = f"start on a catalog of {bench.scale.entries:,} blobs"
    return [
        Row(work, "seconds until ready", ready, [Target("≤", 2.0)]),
        Row(work, "peak RSS MiB", peaks, [Target("≤", 250)]),
    ]


def _start(launch: Launch, entries: int) -> tuple[float, float]:
    """(seconds until ready, peak MiB a few seconds later). Raises NotStarted, or WrongAnswer where it lost entries."""
    with running(launch) as server:
        time.sleep(_BACKGROUND)
        peak = rss_bytes(server.pid, "VmHWM") / MIB
        if launch.ready is not None and (held := _held_bytes(launch.ready[0])) < entries * _SIZE:
            raise WrongAnswer(f"started, but holds {held:.0f} bytes of {entries * _SIZE}")
        return server.ready_after, peak


def _held_bytes(admin_port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics") as answer:
        text = answer.read().decode()
    found = re.search(r'^entrepot_cache_bytes\{[^}]*"committed"[^}]*\} (\S+)$', text, re.MULTILINE)
    if found is None:
        raise WrongAnswer("no entrepot_cache_bytes in /metrics")
    return float(found[1])


def _fill(cache: Path, entries: int) -> None:
    digests = sorted(hashlib.sha256(str(number).encode()).hexdigest() for number in range(entries))
    first = Digest(f"sha256:{digests[0]}")
    asyncio.run(_add(cache, Content(first, _SIZE, "", 1.0, 1.0)))
    with closing(sqlite3.connect(cache / NAME)) as connection, connection:
        (repository,) = connection.execute("SELECT repository FROM member WHERE digest = ?", (first,)).fetchone()
        others = [f"sha256:{encoded}" for encoded in digests[1:]]
        columns = "digest, size, media_type, created_at, used_at, upstream"
        known = f"INSERT INTO content ({columns}) VALUES (?, ?, '', 1, 1, '')"
        connection.executemany(known, ((digest, _SIZE) for digest in others))
        belongs = "INSERT INTO member (repository, digest, image) VALUES (?, ?, 0)"
        connection.executemany(belongs, ((repository, digest) for digest in others))
    _link(cache / "blobs/sha256", digests)


async def _add(cache: Path, content: Content) -> None:
    catalog = SqliteCatalog(cache)
    await catalog.add(content, Repository("registry.test", REPOSITORY))
    await catalog.close()


def _link(folder: Path, digests: Sequence[str]) -> None:
    """A file system allows some 65,000 links of one file, so each shard has its own."""
    for shard, members in groupby(digests, key=lambda encoded: encoded[:2]):
        (folder / shard).mkdir(parents=True, exist_ok=True)
        first, *others = (folder / shard / encoded for encoded in members)
        first.write_bytes(bytes(_SIZE))
        first.chmod(0o444)
        for other in others:
            other.hardlink_to(first)

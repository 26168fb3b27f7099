"""A start on a large catalog."""

import time

from tests.bench.bench import Bench
from tests.bench.clients import WrongAnswer
from tests.bench.contents import MIB
from tests.bench.contestants import OURS, Setup, entrepot
from tests.bench.measure import Row, Spread, Target, rss_bytes
from tests.bench.scrape import metric
from tests.bench.stock import SIZE, stock_blobs

_BACKGROUND = 5.0  # seconds after the start that count for the peak of memory


def large_catalog(bench: Bench) -> list[Row]:
    """A start on a catalog of a million blobs, against a start on an empty one."""
    folder = bench.new_folder()
    setup = Setup(folder, bench.upstream)
    empty, base = _start(setup, 0), f"{OURS} on an empty catalog"
    stock_blobs(folder / "cache", bench.scale.entries)
    found = [_start(setup, bench.scale.entries) for _ in range(bench.scale.rounds)]
    seconds, peak = zip(*found, strict=True)
    ready = {OURS: Spread.of(seconds), base: Spread.of(empty[:1])}
    peaks = {OURS: Spread.of(peak), base: Spread.of(empty[1:])}
    work = f"start on a catalog of {bench.scale.entries:,} blobs"
    return [
        Row(work, "seconds until ready", ready, [Target("≤", 2.0)]),
        Row(work, "peak RSS MiB", peaks, [Target("≤", 250)]),
    ]


def _start(setup: Setup, entries: int) -> tuple[float, float]:
    """(seconds until ready, peak MiB a few seconds later). Raises ProcessFailed; WrongAnswer where it lost entries."""
    with entrepot(setup) as server:
        time.sleep(_BACKGROUND)
        peak = rss_bytes(server.pid, "VmHWM") / MIB
        if (held := metric(server.admin, "entrepot_cache_bytes", state="committed")) < entries * SIZE:
            raise WrongAnswer(f"started, but holds {held:.0f} bytes of {entries * SIZE}")
        return server.ready_after, peak

"""What Entrepot's process takes of memory, whatever it is at."""

import time
from dataclasses import replace
from functools import partial

from tests.bench.bench import Bench, url
from tests.bench.clients import pull, together
from tests.bench.contents import MIB
from tests.bench.contestants import OURS, Setup, entrepot
from tests.bench.hits import crowd_of, warm
from tests.bench.measure import Row, Spread, Target, rss_bytes
from tests.bench.stock import stock_blobs

_FILLS = 64
_FILL = 16 * MIB  # bytes of each
_RATE = 100e6  # bytes per second of all fills together
_MOST = 200  # MiB
_SEEN = 10.0  # seconds that a crowd is served before anybody looks


def memory(bench: Bench) -> list[Row]:
    """Resident memory at idle, with idle connections, slow readers, fills and a large catalog."""
    scale = bench.scale
    blob = bench.contents.blob(scale.large, 0)
    manifest = bench.contents.manifest(bench.contents.blob(4096, 0)).by_digest
    found: dict[str, int] = {}
    with bench.contest(names=(OURS,)) as (server,):
        found["idle"] = rss_bytes(server.pid)
        warm([server], blob)
        warm([server], manifest)
        for what, slow, idle in (("idle connections", 0, scale.slow), ("slow readers", scale.slow, 0)):
            with crowd_of(replace(bench, scale=replace(scale, slow=slow, idle=idle)), server, blob, manifest):
                time.sleep(_SEEN)
                found[f"{scale.slow} {what}"] = rss_bytes(server.pid)
    with bench.limited(total=_RATE) as origin, bench.contest(url(origin), names=(OURS,)) as (server,):
        _fill(bench, server.port)
        found[f"{_FILLS} fills, the most there was"] = rss_bytes(server.pid, "VmHWM")
    setup = Setup(bench.new_folder(), bench.upstream)
    with entrepot(setup):
        pass  # the folder is a cache's from now on
    stock_blobs(setup.folder / "cache", scale.entries)
    with entrepot(setup) as server:
        found[f"{scale.entries:,} entries"] = rss_bytes(server.pid)
    return [
        Row(what, "RSS MiB", {OURS: Spread.of([size / MIB])}, [Target("≤", _MOST, ease=1.0)])
        for what, size in found.items()
    ]


def _fill(bench: Bench, port: int) -> None:
    """So many cold blobs at once, all whole at the end. Raises WrongAnswer."""
    blobs = [bench.contents.blob(_FILL, number) for number in range(_FILLS)]
    together([partial(pull, port, blob.path, _FILL) for blob in blobs])

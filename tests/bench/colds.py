"""Works on what is not held yet: one cold blob, many clients on one, slow upstreams.

Each round pulls another blob, the same one from each contestant, so every pull is cold without a restart.
"""

import os
from collections.abc import Sequence

from tests.bench.bench import Bench, counts, url
from tests.bench.clients import check, pull, pull_together, timed
from tests.bench.contents import MIB
from tests.bench.contestants import DISTRIBUTION, NGINX, OURS, Server
from tests.bench.measure import Row, Sample, Spread, Target, alternate, cpu_seconds, settle, warm_memory

_GIGABIT = 125e6  # bytes per second
_PER_CONNECTION = 80e6  # bytes per second
_STRAIGHT = "straight"
_BASE = 100  # number of the first cold blob; those below are warm somewhere
_CLIENTS = 50
_LEAST_ROUNDS = 5
_COLD = [Target("≤", 1.0, DISTRIBUTION, ease=4.0), Target("≤", 1.15, NGINX, ease=3.0)]  # neither proves what it sends


def one(bench: Bench) -> list[Row]:
    """One cold blob, one client."""
    with bench.contest() as servers:
        found = _cold(bench, servers)
    work = f"one cold {bench.scale.large // MIB} MiB blob"
    return [
        Row(work, "seconds", found["seconds"] | bench.limits.hashing(bench.scale.large), _COLD),
        Row(work, "CPU ms", found["cpu"], [Target("≤", 0.5, DISTRIBUTION)]),
    ]


def over_tls(bench: Bench) -> list[Row]:
    """One cold blob from an upstream that speaks TLS."""
    with bench.tls() as (upstream, ca_file), bench.contest(upstream, ca_file) as servers:
        found = _cold(bench, servers)
    work = f"one cold {bench.scale.large // MIB} MiB blob over TLS"
    return [
        Row(work, "seconds", found["seconds"] | bench.limits.hashing(bench.scale.large), _COLD),
        Row(work, "CPU ms", found["cpu"]),
    ]


def together(bench: Bench) -> list[Row]:
    """Many clients on one cold blob, against one cold pull followed by as many hits."""
    size = bench.scale.large
    with bench.limited() as origin, bench.contest(url(origin)) as servers:

        def sample(server: Server, number: int) -> Sample:
            alone, shared = (bench.contents.blob(size, _BASE + 2 * number + which) for which in (0, 1))
            _calm(server)
            apart = timed(lambda: pull(server.port, alone.path, size))
            apart += pull_together(server.port, alone.path, size, _CLIENTS)
            _calm(server)
            transfers, sent = counts(origin, shared.digest)
            seconds = pull_together(server.port, shared.path, size, _CLIENTS)
            settle(server.pid)
            transfers_after, sent_after = counts(origin, shared.digest)
            fetched = {"transfers": transfers_after - transfers, "bytes": (sent_after - sent) / size}
            return {"seconds": seconds, "apart": apart, **fetched}

        _check(bench, servers)
        found = alternate(bench.scale.rounds, servers, sample)
    apart = {f"{name} one + hits": spread for name, spread in found["apart"].items()}
    work = f"{_CLIENTS} clients, one cold {bench.scale.large // MIB} MiB blob"
    return [
        Row(work, "upstream transfers", found["transfers"], [Target("=", 1)]),
        Row(work, "upstream bytes ÷ size", found["bytes"], [Target("≤", 1.01)]),
        Row(work, "seconds", found["seconds"] | apart, [Target("≤", 1.15, f"{OURS} one + hits")]),
    ]


def overhead(bench: Bench) -> list[Row]:
    """One cold blob from an upstream of 1 Gbit/s, against the same blob straight from there."""
    with bench.limited(total=_GIGABIT) as origin, bench.contest(url(origin)) as servers:
        found = _cold(bench, [origin, *servers])
    seconds = {_STRAIGHT if name == origin.name else name: spread for name, spread in found["seconds"].items()}
    work = f"cold {bench.scale.large // MIB} MiB blob at 1 Gbit/s"
    return [Row(work, "seconds", seconds, [Target("≤", 1.10, _STRAIGHT)])]


def parallel(bench: Bench) -> list[Row]:
    """One large cold blob from an upstream that limits each connection, against one connection."""
    size = bench.scale.huge
    with bench.limited(per_connection=_PER_CONNECTION) as origin, bench.contest(url(origin)) as servers:
        found = _cold(bench, [origin, *servers], size)
    rates = {
        "one connection" if name == origin.name else name: Spread.of([size / each / 1e6 for each in spread])
        for name, spread in found["seconds"].items()
    }
    work = f"cold {size // MIB} MiB blob, upstream of 80 MB/s per connection"
    return [Row(work, "MB/s", rates, [Target("≥", 3.0, "one connection")])]


def _cold(bench: Bench, servers: Sequence[Server], size: int = 0) -> dict[str, dict[str, Spread]]:
    """Seconds until the client has everything; CPU ms until the server is done with it. A tenth of a second says
    little: there are ``_LEAST_ROUNDS`` rounds at least."""
    size = size or bench.scale.large
    _check(bench, servers)

    def sample(server: Server, number: int) -> Sample:
        blob = bench.contents.blob(size, _BASE + number)
        _calm(server)
        before = cpu_seconds(server.pid)
        seconds = timed(lambda: pull(server.port, blob.path, blob.size))
        settle(server.pid)
        return {"seconds": seconds, "cpu": (cpu_seconds(server.pid) - before) * 1e3}

    rounds = max(bench.scale.rounds, _LEAST_ROUNDS)
    with warm_memory((rounds + 1) * len(servers) * size * 3 // 2):
        return alternate(rounds, servers, sample)


def _check(bench: Bench, servers: Sequence[Server]) -> None:
    """One cold pull of each server with its bytes compared; connections and tokens are warm from then on."""
    blob = bench.contents.blob(bench.scale.large, _BASE - 1)
    for server in servers:
        check(server.port, blob.path, blob.digest)


def _calm(server: Server) -> None:
    """Nothing that came before is still being stored or written back to the disk."""
    settle(server.pid)
    os.sync()

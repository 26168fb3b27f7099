"""Works on what is held: large hits, small hits, and a crowd that hardly reads."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench.bench import Bench
from tests.bench.clients import WrongAnswer, check, hammer, latencies, pull_together
from tests.bench.contents import MIB, Content
from tests.bench.contestants import DISTRIBUTION, NGINX, OURS, PEERS, WITHOUT_LOG, Server, floor
from tests.bench.measure import (
    Row,
    Sample,
    Spread,
    Target,
    alternate,
    cpu_seconds,
    percentile,
    rss_bytes,
    settle,
    threads,
)

_PAUSE = 0.002  # seconds between two manifest hits of the latency probe
_THREADS = 64


def large(bench: Bench) -> list[Row]:
    """Hits of a large blob, on 1, 4 and 64 connections."""
    blob = bench.contents.blob(bench.scale.large, 0)
    rows = []
    with bench.contest() as servers:
        warm(servers, blob)
        for clients in (1, 4, 64):
            times = max(1, bench.scale.hits // clients)

            def sample(server: Server, _: int, clients: int = clients, times: int = times) -> Sample:
                before = cpu_seconds(server.pid)
                seconds = pull_together(server.port, blob.path, blob.size, clients, times)
                gigabytes = clients * times * blob.size / 1e9
                return {"rate": gigabytes / seconds, "cpu": (cpu_seconds(server.pid) - before) / gigabytes * 1e3}

            found = alternate(bench.scale.rounds, servers, sample)
            work = f"hit, {blob.size // MIB} MiB blob, {clients} connections"
            rows.append(Row(work, "GB/s", found["rate"] | bench.limits.sending(), [Target("≥", 1.1, NGINX)]))
            costs = [Target("≤", 0.9, NGINX), Target("≤", 0.75, DISTRIBUTION)]
            rows.append(Row(work, "CPU ms per GB", found["cpu"], costs))
    return rows


def small(bench: Bench) -> list[Row]:
    """Hits of a 4 KiB blob and of a manifest, by digest and by tag, on 64 keep-alive connections; and what the event
    loop costs that sends the same bytes."""
    blob = bench.contents.blob(4096, 0)
    manifest = bench.contents.manifest(blob)
    asked = {"4 KiB blob": blob, "manifest by digest": manifest.by_digest, "manifest by tag": manifest.by_tag}
    rows = []
    with bench.contest(names=(*PEERS, WITHOUT_LOG)) as answering, floor(bench.new_folder(), answering[0]) as bare:
        servers = [*answering, bare]
        for name, content in asked.items():
            warm(servers, content)

            def sample(server: Server, _: int, content: Content = content) -> Sample:
                before = cpu_seconds(server.pid)
                rate = hammer(server.port, content.path, bench.scale.wrk_seconds)
                cpu = (cpu_seconds(server.pid) - before) / rate.requests
                return {"rate": rate.requests / rate.seconds, "cpu": cpu * 1e6}

            found = alternate(bench.scale.rounds, servers, sample)
            work = f"hit, {name}, 64 keep-alive connections"
            rows.append(
                Row(
                    work,
                    "requests/s",
                    found["rate"],
                    [Target("≥", 2.0, NGINX, ease=3.0), Target("≥", 0.8, WITHOUT_LOG)],
                )
            )
            costs = [Target("≤", 0.4, NGINX, ease=3.0), Target("≤", 0.03, DISTRIBUTION)]
            rows.append(Row(work, "CPU µs per request", found["cpu"], costs))
    return rows


def crowd(bench: Bench) -> list[Row]:
    """Slow readers of one hot blob and idle keep-alive connections; a manifest hit meanwhile."""
    scale = bench.scale
    blob = bench.contents.blob(scale.large, 0)
    manifest = bench.contents.manifest(bench.contents.blob(4096, 0)).by_digest
    values: dict[str, dict[str, Spread]] = {"p99": {}, "rss": {}, "threads": {}}
    with bench.contest(names=(OURS, NGINX)) as servers:
        warm(servers, blob)
        warm(servers, manifest)
        for server in servers:
            quiet = Spread.of([_p99(server, manifest, scale.samples) for _ in range(scale.rounds)])
            with crowd_of(bench, server, blob, manifest):
                busy = Spread.of([_p99(server, manifest, scale.samples) for _ in range(scale.rounds)])
                values["rss"][server.name] = Spread.of([rss_bytes(server.pid) / MIB])
                values["threads"][server.name] = Spread.of([threads(server.pid)])
            values["p99"] |= {server.name: busy, f"{server.name} quiet": quiet}
    work = f"{scale.slow} slow readers, {scale.idle} idle connections"
    return [
        Row(work, "p99 of a manifest hit, ms", values["p99"], [Target("≤", 3.0, f"{OURS} quiet")]),
        Row(work, "RSS MiB", values["rss"], [Target("≤", 200)]),
        Row(work, "threads", values["threads"], [Target("≤", _THREADS)]),
    ]


def warm(servers: list[Server], content: Content) -> None:
    for server in servers:
        for _ in range(2):  # the second one is a hit, and brings the server's own file into the page cache
            check(server.port, content.path, content.digest)
            settle(server.pid)


def _p99(server: Server, manifest: Content, count: int) -> float:
    return percentile(latencies(server.port, manifest.path, count, _PAUSE), 0.99) * 1e3


@contextmanager
def crowd_of(bench: Bench, server: Server, blob: Content, manifest: Content) -> Iterator[None]:
    """Raises WrongAnswer where the server dropped somebody, or did not feed the slow ones."""
    scale, rate = bench.scale, 64 * 1024
    counts = [f"--slow={scale.slow}", f"--idle={scale.idle}", f"--rate={rate}"]
    command = [sys.executable, "-m", "tests.bench.crowd", str(server.port), blob.path, manifest.path, *counts]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdin is not None and process.stdout is not None
            if process.stdout.readline().strip() != "ready":
                raise WrongAnswer(f"{server.name}: the crowd did not get in")
            yield
            process.stdin.close()
            end = json.loads(process.stdout.readline())
        finally:
            process.terminate()
    starved = scale.slow > 0 and end["rate"] < 0.8 * rate
    if (end["idle"], end["slow"]) != (scale.idle, scale.slow) or starved:
        raise WrongAnswer(f"{server.name}: of the crowd there is left {end}")

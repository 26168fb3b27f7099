"""Works on what is held, over TLS: large hits, small hits, a small hit beside readers that take all they can get."""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from tests.bench import tls_clients
from tests.bench.bench import Bench
from tests.bench.clients import hammer
from tests.bench.contents import MIB, Content
from tests.bench.contestants import NGINX, OURS, Server
from tests.bench.measure import Row, Sample, Spread, Target, alternate, cpu_seconds, percentile, settle
from tests.cast.authority import Authority

_PAUSE = 0.002  # seconds between two hits of the latency probe
_READERS = 8


def large(bench: Bench) -> list[Row]:
    """Hits of a large blob over TLS, on 4 and on 64 connections."""
    blob = bench.contents.blob(bench.scale.large, 0)
    rows = []
    with _contest(bench) as (servers, tls):
        _warm(servers, tls, blob)
        for clients in (4, 64):
            times = max(1, bench.scale.hits // clients)

            def sample(server: Server, _: int, clients: int = clients, times: int = times) -> Sample:
                before = cpu_seconds(server.pid)
                seconds = tls_clients.pull_together(server.port, tls, blob.path, blob.size, clients, times)
                gigabytes = clients * times * blob.size / 1e9
                return {"rate": gigabytes / seconds, "cpu": (cpu_seconds(server.pid) - before) / gigabytes * 1e3}

            found = alternate(bench.scale.rounds, servers, sample)
            work = f"hit over TLS, {blob.size // MIB} MiB blob, {clients} connections"
            rows.append(Row(work, "GB/s", found["rate"], [Target("≥", 0.95, NGINX)]))
            rows.append(Row(work, "CPU ms per GB", found["cpu"], [Target("≤", 1.1, NGINX)]))
    return rows


def small(bench: Bench) -> list[Row]:
    """Hits of a 4 KiB blob and of a manifest over TLS, on 64 keep-alive connections."""
    blob = bench.contents.blob(4096, 0)
    rows = []
    with _contest(bench) as (servers, tls):
        for name, content in {"4 KiB blob": blob, "manifest by tag": bench.contents.manifest(blob).by_tag}.items():
            _warm(servers, tls, content)

            def sample(server: Server, _: int, content: Content = content) -> Sample:
                before = cpu_seconds(server.pid)
                rate = hammer(server.port, content.path, bench.scale.wrk_seconds, scheme="https")
                cpu = (cpu_seconds(server.pid) - before) / rate.requests
                return {"rate": rate.requests / rate.seconds, "cpu": cpu * 1e6}

            found = alternate(bench.scale.rounds, servers, sample)
            work = f"hit over TLS, {name}, 64 keep-alive connections"
            rows.append(Row(work, "requests/s", found["rate"], [Target("≥", 1.3, NGINX)]))
            rows.append(Row(work, "CPU µs per request", found["cpu"]))
    return rows


def beside(bench: Bench) -> list[Row]:
    """A manifest hit over TLS while 8 readers take a large blob over TLS without end."""
    scale = bench.scale
    blob = bench.contents.blob(scale.large, 0)
    manifest = bench.contents.manifest(bench.contents.blob(4096, 0)).by_digest
    values: dict[str, Spread] = {}
    with _contest(bench) as (servers, tls):
        _warm(servers, tls, blob)
        _warm(servers, tls, manifest)
        for server in servers:

            def p99(server: Server = server) -> float:
                return (
                    percentile(tls_clients.latencies(server.port, tls, manifest.path, scale.samples, _PAUSE), 0.99)
                    * 1e3
                )

            values[f"{server.name} quiet"] = Spread.of([p99() for _ in range(scale.rounds)])
            with tls_clients.bulk_readers(server.port, tls, blob.path, blob.size, _READERS):
                values[server.name] = Spread.of([p99() for _ in range(scale.rounds)])
    work = f"hit over TLS beside {_READERS} bulk readers"
    return [Row(work, "p99 of a manifest hit, ms", values, [Target("≤", 3.0, f"{OURS} quiet")])]


@contextmanager
def _contest(bench: Bench) -> Iterator[tuple[list[Server], ssl.SSLContext]]:
    """Ours and nginx behind the same certificate, and what clients trust."""
    authority = Authority(bench.new_folder())
    with bench.contest(names=(OURS, NGINX), certificate=authority.files()) as servers:
        yield servers, tls_clients.trusting(authority.ca_file)


def _warm(servers: list[Server], tls: ssl.SSLContext, content: Content) -> None:
    for server in servers:
        for _ in range(2):
            tls_clients.check(server.port, tls, content.path, content.digest)
            settle(server.pid)

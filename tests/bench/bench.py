"""What every work is given: the folder, the origins, the contents, and how large and how often."""

import itertools
import json
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import origin
from tests.bench.contents import MIB, Contents
from tests.bench.contestants import PEERS, Server, contest, registry
from tests.bench.limits import Limits
from tests.bench.scrape import metric
from tests.cast.authority import Authority
from tests.ports import free_port
from tests.process import listens, running


@dataclass(frozen=True)
class Scale:
    """How much work one measurement is."""

    rounds: int
    large: int  # bytes of the large blob
    huge: int  # bytes of the blob for the parallel transfer
    hits: int  # large bodies per measurement of a hit, at least
    wrk_seconds: int
    slow: int  # slow readers
    idle: int  # idle connections
    samples: int  # manifest hits for a percentile
    entries: int  # of the large catalog
    expiring: int  # images that expire under hits, in each round
    letting_go: int  # images that expire while nobody asks
    bundle: int  # bytes that are exported and imported


LONG = Scale(5, 256 * MIB, 512 * MIB, 16, 3, 1000, 10_000, 2000, 1_000_000, 4000, 100_000, 10_240 * MIB)
SHORT = Scale(1, 64 * MIB, 128 * MIB, 16, 1, 200, 1000, 500, 50_000, 800, 4000, 1024 * MIB)


@dataclass(frozen=True)
class Bench:
    folder: Path
    storage: Path  # docker-registry's folder with everything that is pulled
    upstream: str  # URL of the plain upstream
    contents: Contents
    scale: Scale
    numbers: Iterator[int]
    limits: Limits  # of this machine
    lags: list[float] = field(default_factory=list)  # seconds; p99 of Entrepot's event loop at the end of a contest

    @contextmanager
    def contest(
        self,
        upstream: str = "",
        ca_file: Path | None = None,
        names: Sequence[str] = (),
        certificate: tuple[Path, Path] | None = None,
    ) -> Iterator[list[Server]]:
        """Ours and its peers, or the named, on empty caches in a folder of this contest."""
        of = upstream or self.upstream
        with contest(self.new_folder(), names or PEERS, of, ca_file, certificate) as servers:
            yield servers
            self.note_lag(servers)

    def note_lag(self, servers: Sequence[Server]) -> None:
        """The last minute of those that tell."""
        told = [server for server in servers if server.admin]
        self.lags.extend(metric(server.admin, "entrepot_loop_lag_seconds", quantile="0.99") for server in told)

    @contextmanager
    def limited(self, per_connection: float = 0, total: float = 0) -> Iterator[Server]:
        """An upstream with the same content that counts, and sends so many bytes per second."""
        port = free_port()
        limits = [f"--per-connection={per_connection}", f"--total={total}"]
        command = [sys.executable, origin.__file__, str(self.storage), str(port), *limits]
        with running(command, self.new_folder() / "output.log", lambda: listens(port)) as process:
            yield Server("limited", port, process.pid)

    @contextmanager
    def tls(self) -> Iterator[tuple[str, Path]]:
        """(URL, CA file) of an upstream with the same content over TLS."""
        folder = self.new_folder()
        authority = Authority(folder)
        certificate, key = authority.files()
        tls = {"tls": {"certificate": str(certificate), "key": str(key)}}
        with registry(folder, self.storage, tls) as server:
            yield f"https://127.0.0.1:{server.port}", authority.ca_file

    def new_folder(self) -> Path:
        folder = self.folder / str(next(self.numbers))
        folder.mkdir()
        return folder


@contextmanager
def opened(folder: Path, scale: Scale, limits: Limits) -> Iterator[Bench]:
    """A bench with its upstream running."""
    own, storage = folder / "origin", folder / "storage"
    own.mkdir()
    with registry(own, storage) as plain:
        yield Bench(folder, storage, url(plain), Contents(plain.port), scale, itertools.count(), limits)


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def counts(limited: Server, digest: str) -> tuple[int, int]:
    """(transfers of the blob that began at byte 0, body bytes sent of it) of a limited upstream."""
    with urllib.request.urlopen(f"{url(limited)}/counts") as answer:
        said: dict[str, dict[str, int]] = json.load(answer)
    return said["transfers"].get(digest, 0), said["bytes"].get(digest, 0)

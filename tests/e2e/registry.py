"""Debian's docker-registry as the upstream: real storage, real tokens, and a log that says who fetched what."""

import json
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.e2e.process import Process, listens
from tests.ports import free_port


class Fetch(NamedTuple):
    """One answered request, as the registry logged it."""

    method: str
    path: str
    status: int
    written: int  # bytes of the body that left


class Registry:
    """A docker-registry over a storage folder. It can go away and come back at the same address."""

    def __init__(self, folder: Path, storage: Path, auth: Mapping[str, Any] | None = None) -> None:
        self.port = free_port()
        self.log = folder / "registry.log"
        self._config = folder / "registry.yml"
        settings = {
            "version": "0.1",
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
            "storage": {
                "filesystem": {"rootdirectory": str(storage)},
                "maintenance": {"uploadpurging": {"enabled": False}},
            },
            "http": {"addr": self.address, "secret": "of no importance"},
            "auth": auth or {},
        }
        self._config.write_text(yaml.safe_dump(settings))
        self._process: Process | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._process = Process(["docker-registry", "serve", str(self._config)], self.log)
        self._process.wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        """Ends the process, if it runs. Its log is then complete."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def put_manifest(self, repository: str, reference: str, media_type: str, raw: bytes) -> None:
        """For what skopeo would rewrite on its way."""
        url = f"http://{self.address}/v2/{repository}/manifests/{reference}"
        request = urllib.request.Request(url, raw, {"Content-Type": media_type}, method="PUT")
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 201

    def refusals(self) -> int:
        """How many requests came without sufficient credentials; these are no fetches."""
        return sum(line["msg"].startswith("error authorizing context") for line in self._lines())

    def fetches(self) -> list[Fetch]:
        return [
            Fetch(
                line["http.request.method"],
                line["http.request.uri"],
                line["http.response.status"],
                line["http.response.written"],
            )
            for line in self._lines()
            if line["msg"].startswith("response completed")
        ]

    def blob_transfers(self) -> Counter[str]:
        """How many times each blob went out, by path (repository and digest)."""
        return Counter(fetch.path for fetch in self._blob_fetches())

    def blob_bytes(self) -> Counter[str]:
        """How many bytes of each blob went out, by path."""
        total: Counter[str] = Counter()
        for fetch in self._blob_fetches():
            total[fetch.path] += fetch.written
        return total

    def _blob_fetches(self) -> list[Fetch]:
        return [f for f in self.fetches() if f.method == "GET" and "/blobs/" in f.path and f.status < 300]

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]


@contextmanager
def serving(folder: Path, storage: Path, auth: Mapping[str, Any] | None = None) -> Iterator[Registry]:
    """A running registry; its files, other than the storage, are in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    registry = Registry(folder, storage, auth)
    try:
        registry.start()
        yield registry
    finally:
        registry.stop()

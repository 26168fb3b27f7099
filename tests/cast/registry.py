"""Debian's docker-registry: a real registry with real storage, and a log that says who fetched what."""

import json
import os
import shutil
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Self

import yaml

from tests.ports import free_port
from tests.process import Process, listens

DOCKER_REGISTRY = shutil.which("docker-registry")


class Fetch(NamedTuple):
    """One answered request, as the registry logged it."""

    method: str
    path: str
    status: int
    written: int  # bytes of the body that left


class Registry:
    """Over a storage folder, or with the settings of another storage. It can go away and come back at the same address.

    ``settings`` are sections of its configuration, which replace those that stand here. It sees nothing of what this
    machine knows of AWS; ``env`` is added to what it does see.
    """

    def __init__(
        self,
        folder: Path,
        storage: Path | Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.log = folder / "registry.log"
        self._config = folder / "registry.yml"
        self._env = {key: value for key, value in os.environ.items() if not key.startswith("AWS_")} | dict(env or {})
        self._process: Process | None = None
        kept = {"filesystem": {"rootdirectory": str(storage)}} if isinstance(storage, Path) else storage
        given = {
            "version": "0.1",
            "log": {"level": "info", "formatter": "json", "accesslog": {"disabled": True}},
            "storage": {"maintenance": {"uploadpurging": {"enabled": False}}, **kept},
            **(settings or {}),
        }
        http = {"addr": self.address, "secret": "of no importance", **given.get("http", {})}
        self._config.write_text(yaml.safe_dump({**given, "http": http}))

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Raises ProcessFailed."""
        assert DOCKER_REGISTRY is not None
        self._process = Process([DOCKER_REGISTRY, "serve", str(self._config)], self.log, self._env)
        self._process.wait_until(lambda: listens(self.port))

    def stop(self) -> None:
        """Ends the process, if it runs. Its log is then complete."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    @contextmanager
    def running(self) -> Iterator[Self]:
        try:
            self.start()
            yield self
        finally:
            self.stop()

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

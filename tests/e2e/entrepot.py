"""Entrepot itself as a process, started as users start it."""

import http.client
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from tests.e2e.process import running, tail
from tests.ports import free_port


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Entrepot(NamedTuple):
    """Where a running proxy listens."""

    port: int
    admin: int
    log: Path

    @property
    def config(self) -> Path:
        return self.log.with_name("entrepot.yaml")

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return get(self.port, path, headers)


def get(port: int, path: str, headers: Mapping[str, str] | None = None) -> Answer:
    """One GET on a connection of its own. Raises OSError or HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


@contextmanager
def proxying(
    folder: Path,
    upstreams: Mapping[str, Any],
    default_upstream: str | None = None,
    more: Mapping[str, Any] | None = None,
) -> Iterator[Entrepot]:
    """A ready Entrepot with its cache below ``folder``; it must stop cleanly and never have met an error of its own.
    ``more`` settings replace those of the rig."""
    folder.mkdir(parents=True, exist_ok=True)
    proxy = Entrepot(free_port(), free_port(), folder / "entrepot.log")
    settings = {
        "listen": proxy.address,
        "admin": f"127.0.0.1:{proxy.admin}",
        "cache": {"path": str(folder / "cache"), "max_size": "2GiB", "min_free": 0},
        "upstreams": dict(upstreams),
        "drain": {"delay": "0s", "timeout": "5s"},
        "log": {"format": "json"},
        **(more or {}),
    }
    if default_upstream is not None:
        settings["default_upstream"] = default_upstream
    proxy.config.write_text(yaml.safe_dump(settings))
    argv = [sys.executable, "-m", "proxy", "serve", "--config", str(proxy.config)]
    with running(argv, proxy.log, lambda: _is_ready(proxy)) as process:
        yield proxy
        assert process.stop() == 0, tail(proxy.log)
        assert "Traceback" not in proxy.log.read_text(), tail(proxy.log)


def _is_ready(proxy: Entrepot) -> bool:
    try:
        return get(proxy.admin, "/readyz").status == 200
    except OSError:
        return False

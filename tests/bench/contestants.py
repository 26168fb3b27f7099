"""The servers of a comparison: how each is configured and started, and that it is stopped and its folder removed.

Every contestant listens on a loopback port, caches one upstream in its own folder below the same tmp folder, and
answers the same paths.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from tests.bench.clients import status_of
from tests.ports import free_port

OURS = "entrepot"
NGINX = "nginx"
DISTRIBUTION = "distribution"
_DESCRIPTORS = 20_000
_START_LIMIT = 30.0  # seconds


class NotStarted(Exception):
    """A server ended, or did not answer in time; the text is one line."""


@dataclass(frozen=True)
class Setup:
    """What a contestant is to cache, and where. ``ca_file`` is set where the upstream speaks TLS; ``more`` is added to
    the configuration of Entrepot."""

    folder: Path
    upstream: str
    ca_file: Path | None = None
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Launch:
    name: str
    port: int
    command: Sequence[str]
    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: tuple[int, str] | None = None  # (port, path) that answers 200 when the server is ready; else /v2/
    admin: int = 0  # Entrepot's other port


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    name: str
    port: int
    pid: int
    ready_after: float  # seconds from the start of the process
    admin: int = 0  # Entrepot's other port


def entrepot(setup: Setup) -> Launch:
    port, admin = free_port(), free_port()
    upstream = {"url": setup.upstream} | ({"ca_file": str(setup.ca_file)} if setup.ca_file else {})
    config = {
        "listen": f"127.0.0.1:{port}",
        "admin": f"127.0.0.1:{admin}",
        "cache": {"path": str(setup.folder / "cache"), "max_size": "200GiB", "min_free": 0},
        "upstreams": {"registry.test": upstream},
        "default_upstream": "registry.test",
        "limits": {"connections": _DESCRIPTORS, "connections_per_address": _DESCRIPTORS},
        "log": {"level": "warning"},
        **setup.more,
    }
    command = [sys.executable, "-m", "proxy", "serve", "--config", _written(setup.folder / "entrepot.yaml", config)]
    return Launch(OURS, port, command, setup.folder, ready=(admin, "/readyz"), admin=admin)


def distribution(setup: Setup) -> Launch:
    """As a proxy of the upstream, with filesystem storage."""
    trust = {"SSL_CERT_FILE": str(setup.ca_file)} if setup.ca_file else {}
    return _registry(DISTRIBUTION, setup.folder, setup.folder / "cache", trust, proxy={"remoteurl": setup.upstream})


def registry(folder: Path, storage: Path, http: Mapping[str, object] | None = None) -> Launch:
    """Distribution as a plain registry: the upstream of all."""
    return _registry("origin", folder, storage, {}, http=http or {})


def _registry(
    name: str,
    folder: Path,
    storage: Path,
    environment: Mapping[str, str],
    http: Mapping[str, object] | None = None,
    proxy: Mapping[str, str] | None = None,
) -> Launch:
    port = free_port()
    tls = bool(http and "tls" in http)
    config = {
        "version": 0.1,
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage)}, "cache": {"blobdescriptor": "inmemory"}},
        "http": {"addr": f"127.0.0.1:{port}", "secret": "bench", **(http or {})},
    } | ({"proxy": proxy} if proxy else {})
    command = ["docker-registry", "serve", _written(folder / "registry.yaml", config)]
    return Launch(name, port, command, folder, environment, ready=(port, "") if tls else None)


def nginx(setup: Setup) -> Launch:
    """proxy_cache as an operator would tune it for this use: kernel sends, kept upstream connections, the lock."""
    port = free_port()
    folder = setup.folder
    scheme, _, authority = setup.upstream.partition("://")
    trust = f"proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_trusted_certificate {setup.ca_file};"
    temporary = " ".join(
        f"{kind}_temp_path {folder}/temp-{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = f"""
daemon off; worker_processes auto; worker_rlimit_nofile {_DESCRIPTORS};
pid {folder}/nginx.pid; error_log {folder}/error.log warn;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections {_DESCRIPTORS - 1000}; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_timeout 600s; keepalive_requests 1000000000;
    {temporary}
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=bench:16m max_size=200g inactive=1d use_temp_path=off;
    upstream origin {{ server {authority}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass {scheme}://origin; proxy_http_version 1.1; proxy_set_header Connection "";
            proxy_cache bench; proxy_cache_key $uri; proxy_cache_valid 200 1d;
            proxy_cache_lock on; proxy_cache_lock_timeout 600s; proxy_cache_lock_age 600s;
            proxy_ignore_headers Cache-Control Expires Set-Cookie Vary;
            {trust if setup.ca_file else ""}
        }}
    }}
}}
"""
    path = folder / "nginx.conf"
    path.write_text(text)
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    return Launch(NGINX, port, [program, "-c", str(path), "-p", str(folder), "-e", f"{folder}/error.log"], folder)


CONTESTANTS: Mapping[str, Callable[[Setup], Launch]] = MappingProxyType(
    {OURS: entrepot, NGINX: nginx, DISTRIBUTION: distribution}
)


@contextmanager
def running(launch: Launch) -> Iterator[Server]:
    """Raises NotStarted."""
    log = launch.folder / "output.log"
    with log.open("wb") as output:
        environment = os.environ | launch.environment
        begun = time.monotonic()
        process = subprocess.Popen(launch.command, stdout=output, stderr=output, env=environment)
    try:
        _wait_ready(launch, process, log)
        yield Server(launch.name, launch.port, process.pid, time.monotonic() - begun, launch.admin)
    finally:
        _stop(process)


@contextmanager
def contest(folder: Path, names: Sequence[str], upstream: str, ca_file: Path | None = None) -> Iterator[list[Server]]:
    """All named contestants on empty caches; Entrepot is left out, with a line, where it cannot be started."""
    with ExitStack() as stack:
        servers = []
        for name in names:
            own = folder / name
            own.mkdir()
            stack.callback(shutil.rmtree, own, ignore_errors=True)
            try:
                servers.append(stack.enter_context(running(CONTESTANTS[name](Setup(own, upstream, ca_file)))))
            except NotStarted as failure:
                if name != OURS:
                    raise
                print(f"{OURS}: skipped: {failure}", flush=True)
        yield servers


def _written(path: Path, config: Mapping[str, object]) -> str:
    path.write_text(json.dumps(config, indent=1))  # JSON is YAML
    return str(path)


def _wait_ready(launch: Launch, process: subprocess.Popen[bytes], log: Path) -> None:
    port, path = launch.ready or (launch.port, "/v2/")
    deadline = time.monotonic() + _START_LIMIT
    while time.monotonic() < deadline:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines() or ["no output"]
            raise NotStarted(f"exit {process.returncode}: {lines[-1][:200]}")
        if status_of(port, path) == 200:
            return
        time.sleep(0.01)
    raise NotStarted(f"not ready after {_START_LIMIT:.0f} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(15)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()

"""The servers of a comparison: how each is configured and started, and that it is stopped and its folder removed.

Every contestant listens on a loopback port, caches one upstream in its own folder below the same tmp folder, and
answers the same paths.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from tests.bench import floor as bare
from tests.bench.clients import status_of
from tests.cast.registry import Registry
from tests.ports import free_port
from tests.process import listens, proxying, running

OURS = "entrepot"
WITHOUT_LOG = "entrepot without access log"
NGINX = "nginx"
DISTRIBUTION = "distribution"
FLOOR = "uvloop alone"
_DESCRIPTORS = 20_000
_QUIET = MappingProxyType({"log": {"level": "error", "accesslog": {"disabled": True}}})


@dataclass(frozen=True)
class Setup:
    """What a contestant is to cache, and where. ``ca_file`` is set where the upstream speaks TLS, ``certificate`` (and
    its key) where the contestant is to; ``more`` is added to the configuration of Entrepot."""

    folder: Path
    upstream: str
    ca_file: Path | None = None
    certificate: tuple[Path, Path] | None = None
    more: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Server:
    """A server that answers."""

    name: str
    port: int
    pid: int
    ready_after: float = 0.0  # seconds from the start of the process; of Entrepot only
    admin: int = 0  # Entrepot's other port


@contextmanager
def entrepot(setup: Setup, name: str = OURS) -> Iterator[Server]:
    """With its defaults: a line in the access log for each request. Raises ProcessFailed."""
    upstream = {"url": setup.upstream} | ({"ca_file": str(setup.ca_file)} if setup.ca_file else {})
    settings = {
        "cache": {"path": str(setup.folder / "cache"), "max_size": "200GiB", "min_free": 0},
        "default_upstream": "registry.test",
        "limits": {"connections": _DESCRIPTORS, "connections_per_address": _DESCRIPTORS},
        **setup.more,
    }
    if setup.certificate is not None:
        settings["tls"] = dict(zip(("certificate", "key"), map(str, setup.certificate), strict=True))
    begun = time.monotonic()
    with proxying(setup.folder, {"registry.test": upstream}, **settings) as proxy:
        yield Server(name, proxy.port, proxy.process.pid, time.monotonic() - begun, proxy.admin)


def without_log(setup: Setup) -> AbstractContextManager[Server]:
    """Entrepot that logs no request. Raises ProcessFailed."""
    return entrepot(replace(setup, more={**setup.more, "log": {"access": "none"}}), WITHOUT_LOG)


@contextmanager
def distribution(setup: Setup) -> Iterator[Server]:
    """As a proxy of the upstream, with filesystem storage and its default log. Raises ProcessFailed."""
    trust = {"SSL_CERT_FILE": str(setup.ca_file)} if setup.ca_file else {}
    settings = {"proxy": {"remoteurl": setup.upstream}}
    with Registry(setup.folder, _fast(setup.folder / "cache"), settings, trust).running() as found:
        yield Server(DISTRIBUTION, found.port, found.pid)


@contextmanager
def registry(folder: Path, storage: Path, http: Mapping[str, object] | None = None) -> Iterator[Server]:
    """Distribution as a plain registry: the upstream of all. Raises ProcessFailed."""
    with Registry(folder, _fast(storage), {**_QUIET, "http": http or {}}).running() as found:
        yield Server("origin", found.port, found.pid)


def _fast(storage: Path) -> Mapping[str, object]:
    """As an operator would tune it."""
    return {"filesystem": {"rootdirectory": str(storage)}, "cache": {"blobdescriptor": "inmemory"}}


@contextmanager
def nginx(setup: Setup) -> Iterator[Server]:
    """proxy_cache as an operator would tune it for this use: kernel sends, kept upstream connections, the lock, a
    buffer before the access log. Raises ProcessFailed."""
    port = free_port()
    path = setup.folder / "nginx.conf"
    path.write_text(_nginx(setup, port))
    asked = "" if setup.certificate is not None else "/v2/"
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    command = [program, "-c", str(path), "-p", str(setup.folder), "-e", f"{setup.folder}/error.log"]
    with running(command, setup.folder / "output.log", lambda: status_of(port, asked) == 200) as process:
        yield Server(NGINX, port, process.pid)


def _nginx(setup: Setup, port: int) -> str:
    """The configuration."""
    folder = setup.folder
    scheme, _, authority = setup.upstream.partition("://")
    trust = f"proxy_ssl_verify on; proxy_ssl_name localhost; proxy_ssl_trusted_certificate {setup.ca_file};"
    tls = ""
    if setup.certificate is not None:
        certificate, key = setup.certificate
        tls = f"ssl_certificate {certificate}; ssl_certificate_key {key}; ssl_protocols TLSv1.2 TLSv1.3;"
        tls += " ssl_session_cache shared:tls:10m; ssl_session_tickets on;"
    temporary = " ".join(
        f"{kind}_temp_path {folder}/temp-{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return f"""
daemon off; worker_processes auto; worker_rlimit_nofile {_DESCRIPTORS};
pid {folder}/nginx.pid; error_log {folder}/error.log warn;
{"user root;" if os.geteuid() == 0 else ""}
events {{ worker_connections {_DESCRIPTORS - 1000}; }}
http {{
    access_log {folder}/access.log combined buffer=64k flush=1s;
    sendfile on; tcp_nopush on; keepalive_timeout 600s; keepalive_requests 1000000000;
    {temporary}
    proxy_cache_path {folder}/cache levels=1:2 keys_zone=bench:16m max_size=200g inactive=1d use_temp_path=off;
    upstream origin {{ server {authority}; keepalive 64; }}
    server {{
        listen 127.0.0.1:{port} {"ssl" if setup.certificate else ""} backlog=4096;
        {tls}
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


@contextmanager
def floor(folder: Path, other: Server) -> Iterator[Server]:
    """The event loop alone, sending what ``other`` sends. Raises ProcessFailed."""
    port = free_port()
    command = [sys.executable, bare.__file__, str(port), str(other.port)]
    with running(command, folder / "output.log", lambda: listens(port)) as process:
        yield Server(FLOOR, port, process.pid)


PEERS = (OURS, NGINX, DISTRIBUTION)
CONTESTANTS: Mapping[str, Callable[[Setup], AbstractContextManager[Server]]] = MappingProxyType(
    {OURS: entrepot, NGINX: nginx, DISTRIBUTION: distribution, WITHOUT_LOG: without_log}
)


@contextmanager
def contest(
    folder: Path,
    names: Sequence[str],
    upstream: str,
    ca_file: Path | None = None,
    certificate: tuple[Path, Path] | None = None,
) -> Iterator[list[Server]]:
    """All named contestants on empty caches. Raises ProcessFailed where one cannot be started."""
    with ExitStack() as stack:
        servers = []
        for name in names:
            own = folder / name.replace(" ", "-")
            own.mkdir()
            stack.callback(shutil.rmtree, own, ignore_errors=True)
            servers.append(stack.enter_context(CONTESTANTS[name](Setup(own, upstream, ca_file, certificate))))
        yield servers

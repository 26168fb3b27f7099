"""The files of container clients on a node, and whether they send pulls here.

Forms: containerd's ``hosts.toml`` (docs/hosts.md), Docker's ``daemon.json`` (``registry-mirrors``),
containers-registries.conf(5).
"""

import ipaddress
import json
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from proxy.core.authorities import format_authority
from proxy.doctor.steps import Step, Verdict

SUBJECT = "node"
_CERTS = "etc/containerd/certs.d"
_DAEMON = "etc/docker/daemon.json"
_REGISTRIES = "etc/containers/registries.conf"


class NodeFiles(NamedTuple):
    """``root`` is where the node's file system is, ``/`` for this machine. ``here`` is where its clients reach the
    proxy, as host and port; ``upstreams`` are the registries that it stands for, ``default`` the one of bare paths."""

    root: Path
    here: tuple[str, int]
    upstreams: Sequence[str]
    default: str | None


def node_steps(node: NodeFiles) -> list[Step]:
    """A step for each client, containerd's for each registry. Reads files: blocks."""
    return [*_containerd(node), _docker(node), _podman(node)]


def here_of(written: str) -> tuple[str, int]:
    """Host and port of a URL or ``host:port``. Raises ValueError."""
    parts = urlsplit(written if "://" in written else f"//{written}")
    if not parts.hostname:
        raise ValueError(f"{written} is not an address: write HOST:PORT")
    return parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)


def _containerd(node: NodeFiles) -> Iterator[Step]:
    folder = node.root / _CERTS
    if not folder.is_dir():
        yield Step(SUBJECT, "containerd", Verdict.SKIPPED, f"{folder} is not there")
        return
    for upstream in node.upstreams:
        name = f"containerd {upstream}"
        path = next((p for p in _hosts_files(folder, upstream) if p.exists()), None)
        if path is None:
            yield Step(SUBJECT, name, Verdict.SKIPPED, f"no hosts.toml for it below {folder}: it is pulled directly")
            continue
        try:
            hosts = tomllib.loads(path.read_text(encoding="utf-8")).get("host", {})
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
            yield Step(SUBJECT, name, Verdict.FAILED, f"{path}: {cause}", "correct the file: containerd passes it over")
            continue
        yield _pointing(node, name, path, _pulling(hosts), f'[host."http://{format_authority(*node.here)}"] in {path}')


def _hosts_files(folder: Path, upstream: str) -> Iterator[Path]:
    """As containerd looks: the registry's own, with a port written ``host_port_``, then that of all others."""
    host, colon, port = upstream.partition(":")
    for name in ([f"{host}_{port}_"] if colon else []) + [upstream, "_default"]:
        yield folder / name / "hosts.toml"


def _pulling(hosts: object) -> list[str]:
    """The hosts that pulls may go to: ``capabilities`` has ``pull`` unless it is left out."""
    if not isinstance(hosts, Mapping):
        return []
    return [
        str(url)
        for url, host in hosts.items()
        if not isinstance(host, Mapping) or "pull" in host.get("capabilities", ["pull"])
    ]


def _docker(node: NodeFiles) -> Step:
    path, name = node.root / _DAEMON, "docker"
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Step(SUBJECT, name, Verdict.SKIPPED, f"{path} is not there")
    except (OSError, ValueError) as cause:
        return Step(SUBJECT, name, Verdict.FAILED, f"{path}: {cause}", "correct it: docker does not start with it")
    mirrors = settings.get("registry-mirrors", []) if isinstance(settings, dict) else []
    step = _pointing(
        node, name, path, map(str, mirrors), f'"registry-mirrors": ["http://{format_authority(*node.here)}"] in {path}'
    )
    if step.verdict is Verdict.OK and node.default != "docker.io":
        detail = f"{path} points here, but bare paths, which docker asks for, mean {node.default or 'nothing'}"
        return Step(SUBJECT, name, Verdict.FAILED, detail, "set default_upstream: docker.io")
    return step


def _podman(node: NodeFiles) -> Step:
    path, name = node.root / _REGISTRIES, "podman and CRI-O"
    found: list[str] = []
    files = [path, *sorted((path.parent / "registries.conf.d").glob("*.conf"))]
    read = [file for file in files if file.exists()]
    if not read:
        return Step(SUBJECT, name, Verdict.SKIPPED, f"{path} is not there")
    for file in read:
        try:
            document = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as cause:
            return Step(SUBJECT, name, Verdict.FAILED, f"{file}: {cause}", "correct the file: pulls fail with it")
        found += _locations(document)
    return _pointing(
        node, name, path, found, f"a [[registry.mirror]] with location {format_authority(*node.here)} in {path}"
    )


def _locations(document: Mapping[str, Any]) -> Iterator[str]:
    """Of registries and their mirrors; a location begins with host and port."""
    for registry in _tables(document.get("registry")):
        for place in (*_tables(registry.get("mirror")), registry):
            if isinstance(place.get("location"), str):
                yield place["location"]


def _tables(found: object) -> Iterator[Mapping[str, Any]]:
    return (each for each in found if isinstance(each, Mapping)) if isinstance(found, list) else iter(())


def _pointing(node: NodeFiles, name: str, path: Path, places: Iterable[str], wanted: str) -> Step:
    found = list(places)
    if any(_is_here(place, node.here) for place in found):
        return Step(SUBJECT, name, Verdict.OK, f"{path} points here, {format_authority(*node.here)}")
    if not found:
        return Step(SUBJECT, name, Verdict.SKIPPED, f"{path} names no mirror: it pulls directly. Wanted: {wanted}")
    detail = f"{path} points to {', '.join(found)}, not to {format_authority(*node.here)}"
    return Step(SUBJECT, name, Verdict.FAILED, detail, f"write {wanted}")


def _is_here(place: str, here: tuple[str, int]) -> bool:
    try:
        host, port = here_of(place)
    except ValueError:
        return False
    return port == here[1] and (host == here[0] or (_is_own(host) and _is_own(here[0])))


def _is_own(host: str) -> bool:
    """Loopback, or the address that stands for all of a machine's own."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return address.is_loopback or address.is_unspecified

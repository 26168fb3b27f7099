"""k3s and RKE2: ``registries.yaml`` (docs.k3s.io, "Private Registry Configuration"), from which they write hosts.toml
for a containerd of their own. It names the registry in ``?ns=``, so that no ``rewrite`` is needed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.clients.chains import (
    Chain,
    FilePlace,
    Hop,
    Question,
    ReadHop,
    Trouble,
    asks_proxy,
    gathered,
    of_another,
    of_proxy,
    parts_of,
    wrong_scheme,
)
from proxy.clients.containerd import PATIENCE
from proxy.clients.node_files import NodeFiles, Unread, strings, table
from proxy.clients.setups import (
    CA_FILE,
    ClientFile,
    Fallback,
    MirroredRegistry,
    Setup,
    Wish,
    ca_files,
    of_kubelet,
    quoted,
)
from proxy.core.authorities import is_own_address

_ALONE = "disable-default-registry-endpoint"
_KINDS = ("k3s", "rke2")


def setup_k3s(wish: Wish) -> Setup:
    return _setup(wish, "k3s")


def setup_rke2(wish: Wish) -> Setup:
    return _setup(wish, "rke2")


def _setup(wish: Wish, kind: str) -> Setup:
    lines = ["mirrors:"]
    for name in wish.keys:
        lines += [f"  {quoted(name)}:", "    endpoint:", f"      - {quoted(str(wish.proxy))}"]
    if wish.ca is not None:
        lines += [
            "configs:",
            f"  {quoted(wish.proxy.authority)}:",
            "    tls:",
            f"      ca_file: {quoted(f'/{CA_FILE}')}",
        ]
    files = [ClientFile(f"etc/rancher/{kind}/registries.yaml", "\n".join([*lines, ""]))]
    if wish.fallback is Fallback.NO:
        files.append(ClientFile(f"etc/rancher/{kind}/config.yaml.d/50-entrepot.yaml", f"{_ALONE}: true\n"))
    return Setup([*files, *ca_files(wish, CA_FILE)], [*_notes(wish, kind), *of_kubelet(wish)])


def _notes(wish: Wish, kind: str) -> Iterator[str]:
    yield f"{kind} reads the files when it starts: restart it on each node, servers included."
    if wish.fallback is Fallback.NO:
        yield f"{_ALONE} is known from the releases of January 2024 on; it counts for the registries named here."
    if wish.has_wildcards:
        yield '"*" stands for the names with a star, and so for all others: the proxy answers 404 where it knows none.'


# ---------------------------------------------------------------- what a node has


def chains(files: NodeFiles, question: Question) -> Iterator[Chain]:
    for kind in (each for each in _KINDS if f"etc/rancher/{each}" in files.folders):
        path = f"etc/rancher/{kind}/registries.yaml"
        try:
            mirrors = table(files.yaml(path).get("mirrors"))
            alone = _is_alone(files, kind)
        except Unread as unread:
            yield from unread.chains(kind, question, PATIENCE, f"correct it: {kind} does not start with it")
            continue
        for registry in question.registries:
            yield _chain(files, question, kind, mirrors, registry, alone)


def _is_alone(files: NodeFiles, kind: str) -> FilePlace | None:
    """Where the registry itself is forbidden; of several files the last counts."""
    folder, found = f"etc/rancher/{kind}", None
    for path in (f"{folder}/config.yaml", *files.within(f"{folder}/config.yaml.d", ".yaml")):
        match files.yaml(path).get(_ALONE):
            case None:
                continue
            case said:
                found = files.place(path, _ALONE) if said in (True, "true") else None
    return found


def _chain(
    files: NodeFiles,
    question: Question,
    kind: str,
    mirrors: Mapping[str, Any],
    registry: MirroredRegistry,
    alone: FilePlace | None,
) -> Chain:
    path = f"etc/rancher/{kind}/registries.yaml"
    key = registry.name if registry.name in mirrors else "*"
    mirror = table(mirrors.get(key))
    hops, troubles = gathered(
        _hop(question, registry, mirror, endpoint, files.place(path, key, endpoint))
        for endpoint in strings(mirror.get("endpoint"))
    )
    end = files.place(path, key) if mirror else FilePlace(path)
    if alone is None or not mirror:
        hops.append(Hop(end, None))
    return Chain(kind, registry.name, hops, alone or end, PATIENCE, troubles)


def _hop(
    question: Question, registry: MirroredRegistry, mirror: Mapping[str, Any], endpoint: str, place: FilePlace
) -> ReadHop:
    url = parts_of(endpoint if "://" in endpoint else f"{_unwritten_scheme(endpoint)}://{endpoint}")
    if not asks_proxy(question.proxy, url.netloc, url.scheme):
        return of_another(registry, url.netloc, place, endpoint)
    troubles = list(wrong_scheme(question.proxy, url.scheme, place, endpoint))
    if url.path.rstrip("/") not in ("", "/v2", f"/v2/{registry.name}"):  # a path is taken as it is
        what = f"{endpoint} means requests to {url.path.rstrip('/')}/…, where the proxy has nothing"
        troubles.append(Trouble(place, what, f"write {question.proxy}"))
    strange = [each for each in table(mirror.get("rewrite")).values() if not str(each).startswith(f"{registry.name}/")]
    if strange:
        what = f"rewrite makes {strange[0]} of the names that the proxy is asked for; ?ns= names the registry already"
        troubles.append(Trouble(place, what, "remove rewrite"))
    return of_proxy(place, endpoint, troubles)


def _unwritten_scheme(endpoint: str) -> str:
    """http for loopback on a port that is not 443 (``normalizeEndpointAddress`` in pkg/agent/containerd)."""
    host = parts_of(f"//{endpoint}")
    odd = ":" in host.netloc.rpartition("]")[2] and not host.netloc.endswith(":443")
    return "http" if odd and is_own_address(host.hostname or "") else "https"

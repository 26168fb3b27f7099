"""containerd: a ``hosts.toml`` for each registry (docs/hosts.md), found by the CRI plugin's ``config_path``.

It names the registry in ``?ns=``, so the proxy's address needs no path. Hosts are tried in the order of the file, then
``server``, without which that is the registry itself; each request goes through them anew.
"""

from collections.abc import Iterator, Sequence

from proxy.clients.chains import Chain, FilePlace, Hop, Patience, Question, Trouble, gathered
from proxy.clients.cri_config import CERTS, CONFIG, CONFIG_PATH, CriRegistries, cri_registries
from proxy.clients.hosts_toml import Written, hop_of, hosts_of, hosts_toml
from proxy.clients.node_files import NodeFiles
from proxy.clients.setups import (
    CA_FILE,
    ClientFile,
    Fallback,
    MirroredRegistry,
    Setup,
    Wish,
    ca_files,
    of_kubelet,
)

_FORMS = (
    f"Kubernetes uses these files once /{CONFIG} says where they are; restart it after that, never for them:\n"
    f'  [plugins."io.containerd.grpc.v1.cri".registry]     # containerd 1.7, version = 2\n    {CONFIG_PATH}\n'
    f'  [plugins."io.containerd.cri.v1.images".registry]   # containerd 2, version = 3\n    {CONFIG_PATH}\n'
    f"ctr is told by --hosts-dir /{CERTS}; nerdctl finds them by itself."
)
PATIENCE = Patience(30.0, " for each request")
"""Releases before that limit, 1.6 among them, wait until Kubernetes gives the pull up (``image_pull_progress_timeout``,
5 minutes by itself), which then ends with no other host asked."""


def setup(wish: Wish) -> Setup:
    files = [
        ClientFile(f"{CERTS}/{_folder(registry.name)}/hosts.toml", _text(wish, registry)) for registry in wish.named
    ]
    notes = [_FORMS]
    if wish.has_wildcards:
        files.append(ClientFile(f"{CERTS}/_default/hosts.toml", _text(wish, None)))
        notes.append(_of_default(wish))
    return Setup([*files, *ca_files(wish, CA_FILE)], [*notes, *of_kubelet(wish)])


def _text(wish: Wish, registry: MirroredRegistry | None) -> str:
    server = str(wish.proxy) if wish.fallback is Fallback.NO else registry.url if registry else None
    return hosts_toml(wish.proxy, server, f"/{CA_FILE}" if wish.ca is not None else None)


def _of_default(wish: Wish) -> str:
    told = "_default stands for the names with a star, and so for every registry without a folder of its own: "
    if wish.fallback is Fallback.YES:
        return f"{told}the proxy answers 404 for those that it does not know, and containerd goes on to the registry."
    return f"{told}with --fallback no, what the proxy does not know cannot be pulled."


def _folder(name: str) -> str:
    """``host_port_``: containerd looks there first, and the name holds no colon, which some file systems refuse."""
    host, colon, port = name.partition(":")
    return f"{host}_{port}_" if colon else host


# ---------------------------------------------------------------- what a node has


def is_here(files: NodeFiles) -> bool:
    return files.has(CONFIG) or CERTS in files.folders


def chains(files: NodeFiles, question: Question) -> Iterator[Chain]:
    """The way of Kubernetes; where there is no ``config.toml``, of clients that find the files by themselves."""
    cri = cri_registries(files)
    for registry in question.registries:
        written = _written(files, question, registry, cri)
        yield Chain("containerd", registry.name, written.hops, written.place, PATIENCE, written.troubles)


def _written(files: NodeFiles, question: Question, registry: MirroredRegistry, cri: CriRegistries) -> Written:
    if cri.broken is not None:
        return Written(cri.broken, [], cri.troubles)
    if found := next(
        (path for root in cri.folders for path in _candidates(root, registry.name) if path in files.folders), None
    ):
        path = f"{found}/hosts.toml"
        written = _hidden(found) if not files.has(path) else hosts_of(files, path, question.proxy, registry)
        return written._replace(troubles=[*cri.troubles, *written.troubles])
    if mirrors := cri.mirrors.get(registry.name, cri.mirrors.get("*", ())):
        return _mirrored(files, question, registry, mirrors)
    end = cri.troubles[0].place if cri.troubles else FilePlace(cri.folders[0] if cri.folders else CONFIG)
    waits = any(path in files.folders for path in _candidates(CERTS, registry.name))
    return Written(end, [Hop(end, None)], cri.troubles if waits else [])


def _candidates(root: str, name: str) -> list[str]:
    """The first folder that is there counts, whatever is in it (``hostPaths`` in core/remotes/docker/config)."""
    return [f"{root}/{folder}" for folder in dict.fromkeys((_folder(name), name, "_default"))]


def _hidden(folder: str) -> Written:
    place = FilePlace(folder)
    what = "the folder has no hosts.toml, and yet _default does not count for a registry that has a folder"
    trouble = Trouble(place, what, f"write /{folder}/hosts.toml, or remove the folder")
    return Written(place, [Hop(place, None)], [trouble])


def _mirrored(
    files: NodeFiles, question: Question, registry: MirroredRegistry, mirrors: Sequence[tuple[str, FilePlace]]
) -> Written:
    """By the older form, after which the registry itself is always asked. A path is taken as it is."""
    hops, troubles = gathered(
        hop_of(files, place, question.proxy, registry, url, {"override_path": url.count("/") > 2})
        for url, place in mirrors
    )
    end = mirrors[0][1]
    return Written(end, [*hops, Hop(end, None)], troubles)

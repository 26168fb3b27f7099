"""containerd: a ``hosts.toml`` for each registry (docs/hosts.md), found by the CRI plugin's ``config_path``.

It names the registry in ``?ns=``, so the proxy's address needs no path. Hosts are tried in the order of the file, then
``server``, without which that is the registry itself; each request goes through them anew.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from proxy.clients.chains import Chain, FilePlace, Hop, Patience, Question, Trouble
from proxy.clients.hosts_toml import Written, hops_of, hosts_toml
from proxy.clients.node_files import NodeFiles, Unread, table
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

CERTS = "etc/containerd/certs.d"
CONFIG = "etc/containerd/config.toml"
_CRI = ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images")
_CONFIG_PATH = f'config_path = "/{CERTS}"'
_FORMS = (
    f"Kubernetes uses these files once /{CONFIG} says where they are; restart it after that, never for them:\n"
    f'  [plugins."io.containerd.grpc.v1.cri".registry]     # containerd 1.7, version = 2\n    {_CONFIG_PATH}\n'
    f'  [plugins."io.containerd.cri.v1.images".registry]   # containerd 2, version = 3\n    {_CONFIG_PATH}\n'
    f"ctr is told by --hosts-dir /{CERTS}; nerdctl finds them by itself."
)
_NEEDS = f"write it as `entrepot clients containerd` says: {_CONFIG_PATH}"
PATIENCE = Patience(30.0, " for each request (1.6: without end)")


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


def further_folders(files: NodeFiles) -> list[str]:
    """Folders that the configuration names, below the root: what ``chains`` wants to see beside ``/etc``."""
    return [folder for _, _, found in _config_paths(files) for folder in found]


def chains(files: NodeFiles, question: Question) -> Iterator[Chain]:
    """The way of Kubernetes; where there is no ``config.toml``, of clients that find the files by themselves."""
    folders, troubles = _searched(files)
    for registry in question.registries:
        yield _chain(files, question, registry, folders, troubles)


def _chain(
    files: NodeFiles, question: Question, registry: MirroredRegistry, folders: list[str], troubles: list[Trouble]
) -> Chain:
    found = next((path for root in folders for path in _candidates(root, registry.name) if path in files.folders), None)
    if found is None:
        end = troubles[0].place if troubles else FilePlace(folders[0] if folders else CONFIG)
        wrong = _matters(files, registry, troubles)
        return Chain("containerd", registry.name, [Hop(end, None)], end, PATIENCE, wrong)
    path = f"{found}/hosts.toml"
    written = _shadow(found, path, files) or hops_of(files, path, question.proxy, registry)
    return Chain("containerd", registry.name, written.hops, FilePlace(path), PATIENCE, [*troubles, *written.troubles])


def _matters(files: NodeFiles, registry: MirroredRegistry, troubles: list[Trouble]) -> list[Trouble]:
    """What is wrong with ``config.toml`` is a trouble where files wait to be found by it."""
    waits = any(path in files.folders for path in _candidates(CERTS, registry.name))
    return troubles if waits else []


def _candidates(root: str, name: str) -> list[str]:
    """The first folder that is there counts, whatever is in it (``hostPaths`` in core/remotes/docker/config)."""
    return [f"{root}/{folder}" for folder in dict.fromkeys((_folder(name), name, "_default"))]


def _shadow(folder: str, path: str, files: NodeFiles) -> Written | None:
    if files.has(path):
        return None
    place = FilePlace(folder)
    what = "the folder has no hosts.toml, and yet _default does not count for a registry that has a folder"
    return Written([Hop(place, None)], [Trouble(place, what, f"write /{path}, or remove the folder")])


def _searched(files: NodeFiles) -> tuple[list[str], list[Trouble]]:
    """The folders that are looked into, and what is wrong with how they are named."""
    if not files.has(CONFIG):
        return [CERTS], []
    try:
        version = files.toml(CONFIG).get("version", 1)
    except Unread as unread:
        return [], [unread.trouble("correct it: containerd does not start with it")]
    troubles = []
    for path, plugin, folders in _config_paths(files):
        place = files.place(path, plugin, "config_path")
        if version == 3 and plugin == "io.containerd.grpc.v1.cri":
            what = f"{plugin} is passed over in a file of version = 3: config_path is not set"
            troubles.append(Trouble(place, what, '[plugins."io.containerd.cri.v1.images".registry] is its name there'))
            continue
        return folders, [*_mirrors_too(files), *_several(place, folders)]
    return [], troubles or [
        Trouble(FilePlace(CONFIG), "config_path is not set: Kubernetes looks at no hosts.toml", _NEEDS)
    ]


def _config_paths(files: NodeFiles) -> list[tuple[str, str, list[str]]]:
    """By file and plugin, the newer plugin first."""
    found = []
    for path in (CONFIG, *files.within("etc/containerd/conf.d", ".toml")):
        try:
            plugins = table(files.toml(path).get("plugins"))
        except Unread:
            continue
        for plugin in reversed(_CRI):
            written = _registry(plugins, plugin).get("config_path")
            if isinstance(written, str) and written:
                folders = [folder.strip("/") for folder in written.split(":") if folder.strip("/")]
                found.append((path, plugin, folders))
    return found


def _registry(plugins: Mapping[str, Any], plugin: str) -> Mapping[str, Any]:
    return table(table(plugins.get(plugin)).get("registry"))


def _several(place: FilePlace, folders: list[str]) -> Iterator[Trouble]:
    if len(folders) > 1:
        what = "config_path lists several folders, which releases of containerd 2 pass over"
        yield Trouble(place, what, f"name one: {_CONFIG_PATH}")


def _mirrors_too(files: NodeFiles) -> Iterator[Trouble]:
    plugins = table(files.toml(CONFIG).get("plugins"))
    for plugin in _CRI:
        if _registry(plugins, plugin).get("mirrors"):
            place = files.place(CONFIG, plugin, "registry.mirrors")
            yield Trouble(place, "mirrors beside config_path: Kubernetes finds no CRI then", "remove registry.mirrors")

"""What containerd's ``config.toml`` says of registries to its CRI plugin (docs/cri/registry.md, docs/man/
containerd-config.toml.5.md): the folders to search, or mirrors by its older form, which names no folder.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

from proxy.clients.chains import FilePlace, Trouble
from proxy.clients.node_files import NodeFiles, Unread, strings, table

CERTS = "etc/containerd/certs.d"
CONFIG = "etc/containerd/config.toml"
CONFIG_PATH = f'config_path = "/{CERTS}"'
_OLDER, _NEWER = "io.containerd.grpc.v1.cri", "io.containerd.cri.v1.images"
_NEEDS = f"write it as `entrepot clients containerd` says: {CONFIG_PATH}"


class CriRegistries(NamedTuple):
    """``folders`` are searched in their order; ``mirrors`` are endpoints by registry, with where they stand, and count
    where no folder is named. Paths are below the root."""

    folders: Sequence[str]
    mirrors: Mapping[str, Sequence[tuple[str, FilePlace]]]
    troubles: Sequence[Trouble]
    broken: FilePlace | None = None  # why Kubernetes can pull nothing at all


def cri_registries(files: NodeFiles) -> CriRegistries:
    """Where there is no ``config.toml``, the folder in which other clients look by themselves."""
    if not files.has(CONFIG):
        return CriRegistries([CERTS], {}, [])
    try:
        sections = list(_sections(files))
    except Unread as unread:
        return CriRegistries([], {}, [unread.trouble("correct it: containerd does not start with it")], unread.place)
    troubles = [trouble for section in sections for trouble in section.troubles()]
    counted = [section for section in sections if not section.is_passed_over]
    mirrors = {name: found for section in counted for name, found in section.mirrors().items()}
    found = next((section for section in reversed(counted) if section.folders), None)
    if found is not None and mirrors:
        return CriRegistries([], {}, [found.both()], found.place)
    if found is not None:
        return CriRegistries(found.folders, {}, list(found.several()))
    if mirrors:
        return CriRegistries([], mirrors, troubles)
    unset = Trouble(FilePlace(CONFIG), "config_path is not set: Kubernetes looks at no hosts.toml", _NEEDS)
    return CriRegistries([], {}, troubles or [unset])


def further_folders(files: NodeFiles) -> list[str]:
    """Folders that the configuration names: what must be read beside ``/etc``."""
    return list(cri_registries(files).folders)


class _Section(NamedTuple):
    """One plugin's ``registry`` in one file."""

    files: NodeFiles
    path: str
    version: object
    plugin: str
    registry: Mapping[str, Any]

    @property
    def is_passed_over(self) -> bool:
        """An older plugin's section is taken over only from a file of an older version."""
        return self.plugin == _OLDER and self.version == 3

    @property
    def folders(self) -> list[str]:
        written = self.registry.get("config_path")
        return [each.strip("/") for each in written.split(":") if each.strip("/")] if isinstance(written, str) else []

    def mirrors(self) -> dict[str, list[tuple[str, FilePlace]]]:
        return {
            name: [(url, self.files.place(self.path, f'"{name}"', url)) for url in strings(table(each).get("endpoint"))]
            for name, each in table(self.registry.get("mirrors")).items()
        }

    def troubles(self) -> Iterator[Trouble]:
        if self.is_passed_over and self.folders:
            what = f"{self.plugin} is passed over in a file of version = 3: config_path is not set"
            yield Trouble(self.place, what, f'[plugins."{_NEWER}".registry] is its name there')

    def both(self) -> Trouble:
        what = "mirrors stand beside config_path: the CRI plugin does not start, and Kubernetes pulls nothing"
        return Trouble(self.place, what, "remove registry.mirrors")

    def several(self) -> Iterator[Trouble]:
        if len(self.folders) > 1:
            what = "config_path lists several folders, which releases of containerd 2 pass over"
            yield Trouble(self.place, what, f"name one: {CONFIG_PATH}")

    @property
    def place(self) -> FilePlace:
        return self.files.place(self.path, self.plugin, "config_path")


def _sections(files: NodeFiles) -> Iterator[_Section]:
    """Of the file and its imports, in the order in which they count. Raises Unread."""
    main = files.toml(CONFIG)
    for path, document in ((CONFIG, main), *((path, files.toml(path)) for path in _imports(files, main))):
        for plugin in (_OLDER, _NEWER):
            registry = table(table(table(document.get("plugins")).get(plugin)).get("registry"))
            if registry:
                yield _Section(files, path, document.get("version", main.get("version", 1)), plugin, registry)


def _imports(files: NodeFiles, main: Mapping[str, Any]) -> list[str]:
    found = []
    for written in strings(main.get("imports")):
        pattern = written.lstrip("/") if written.startswith("/") else f"etc/containerd/{written}"
        found += sorted(path for path in files.texts if path != CONFIG and fnmatchcase(path, pattern))
    return found

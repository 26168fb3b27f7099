"""podman, skopeo, buildah and CRI-O: ``registries.conf`` and what stands beside it (containers-registries.conf(5),
containers-registries.conf.d(5)).

A mirror's location takes the place of the registry's name, so the name is written behind the proxy's: the path form.
The home of a pull is chosen once, at its first manifest.
"""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from proxy.clients.chains import (
    Chain,
    FilePlace,
    Hop,
    Patience,
    Question,
    ReadHop,
    Trouble,
    asks_proxy,
    gathered,
    of_another,
    of_proxy,
)
from proxy.clients.node_files import NodeFiles, Unread, tables
from proxy.clients.setups import (
    ClientFile,
    Fallback,
    MirroredRegistry,
    Setup,
    Wish,
    ca_files,
    of_kubelet,
    quoted,
    without_path_form,
)

MAIN = "etc/containers/registries.conf"
FOLDER = "etc/containers/registries.conf.d"
OURS = f"{FOLDER}/50-entrepot.conf"
PATIENCE = Patience(None)
_SCHEMES = ("http://", "https://")
_INSECURE = "write insecure = true beside it: without it only TLS is spoken"


def setup_podman(wish: Wish) -> Setup:
    notes = [
        "A user's own ~/.config/containers/registries.conf takes the place of all files below /etc.",
        *without_path_form(wish, "podman"),
    ]
    return Setup(_files(wish), notes)


def setup_crio(wish: Wish) -> Setup:
    notes = [
        "CRI-O reads the files again at `systemctl reload crio`.",
        *without_path_form(wish, "CRI-O"),
        *of_kubelet(wish),
    ]
    return Setup(_files(wish), notes)


def _files(wish: Wish) -> list[ClientFile]:
    text = "\n".join(_table(wish, registry) for registry in wish.with_path_form)
    certificates = ca_files(wish, f"etc/containers/certs.d/{wish.proxy.authority}/ca.crt")
    return [ClientFile(OURS, text), *certificates]


def _table(wish: Wish, registry: MirroredRegistry) -> str:
    mirror = [f"location = {quoted(f'{wish.proxy.authority}/{registry.name}')}"]
    mirror += [] if wish.proxy.secure else ["insecure = true"]
    lines = ["[[registry]]", f"prefix = {quoted(registry.name)}"]
    if wish.fallback is Fallback.NO:
        return "\n".join([*lines, *mirror, ""])
    lines += [f"location = {quoted(registry.location)}", *(["insecure = true"] if registry.is_plain else [])]
    return "\n".join([*lines, "[[registry.mirror]]", *mirror, ""])


# ---------------------------------------------------------------- what a node has


class _Entry(NamedTuple):
    path: str
    prefix: str
    table: Mapping[str, Any]


def _clients_here(files: NodeFiles) -> list[str]:
    """Who reads these files."""
    podman = ["podman"] if _paths(files) else []
    crio = ["CRI-O"] if "etc/crio" in files.folders else []
    return podman + crio


def chains(files: NodeFiles, question: Question) -> Iterator[Chain]:
    clients = _clients_here(files)
    try:
        entries = _entries(files)
    except Unread as unread:
        for client in clients:
            yield from unread.chains(client, question, PATIENCE, "correct it: nothing can be pulled with it")
        return
    for client in clients:
        for registry in question.registries:
            yield _chain(client, files, entries, question, registry)


def _paths(files: NodeFiles) -> list[str]:
    return [path for path in (MAIN, *files.within(FOLDER, ".conf")) if files.has(path)]


def _entries(files: NodeFiles) -> Mapping[str, _Entry]:
    """By prefix; of two with the same the later file's counts, whole. Raises Unread."""
    found: dict[str, _Entry] = {}
    for path in _paths(files):
        document = files.toml(path)
        if "registries" in document:
            raise Unread(files.place(path, "[registries"), "is of version 1, which has no mirrors")
        for table in tables(document.get("registry")):
            prefix = str(table.get("prefix") or table.get("location") or "").rstrip("/")
            found[prefix] = _Entry(path, prefix, table)
    return found


def _entry(entries: Mapping[str, _Entry], name: str) -> _Entry | None:
    """The one of the whole registry: its name, or the longest of the wildcards that cover it."""
    wild = [each for prefix, each in entries.items() if prefix.startswith("*.") and name.endswith(prefix[1:])]
    return entries.get(name) or max(wild, key=lambda each: len(each.prefix), default=None)


def _chain(
    client: str, files: NodeFiles, entries: Mapping[str, _Entry], question: Question, registry: MirroredRegistry
) -> Chain:
    entry = _entry(entries, registry.name)
    if entry is None:
        end = FilePlace(MAIN if files.has(MAIN) else FOLDER)
        return Chain(client, registry.name, [Hop(end, None)], end, PATIENCE)
    itself = {"location": registry.name, **entry.table, "pull-from-mirror": "all"}
    mirrors = tables(entry.table.get("mirror"))
    hops, wrong = gathered(_hop(files, entry, question, registry, each) for each in (*mirrors, itself))
    troubles = [*_narrower(files, entries, registry.name), *wrong]
    end = hops[-1].place
    if entry.table.get("blocked") is True:
        end = files.place(entry.path, f'"{entry.prefix}"', "blocked")
        hops = []
        troubles.append(Trouble(end, f"{registry.name} is blocked: nothing of it can be pulled", "remove blocked"))
    return Chain(client, registry.name, hops, end, PATIENCE, troubles)


def _narrower(files: NodeFiles, entries: Mapping[str, _Entry], name: str) -> Iterator[Trouble]:
    """The longest prefix counts alone, so a part of the registry may go another way."""
    for prefix, entry in entries.items():
        if prefix.startswith(f"{name}/"):
            place = files.place(entry.path, f'"{prefix}"')
            yield Trouble(place, f"{prefix} goes its own way: the longest prefix counts", "give it the mirror too")


def _hop(
    files: NodeFiles, entry: _Entry, question: Question, registry: MirroredRegistry, written: Mapping[str, Any]
) -> ReadHop:
    """Of a mirror, or of the registry's own location."""
    location = str(written.get("location") or "").rstrip("/")
    place = files.place(entry.path, f'"{entry.prefix}"', f'"{location}')
    if location.startswith(_SCHEMES):
        what = f"{location} has a scheme: nothing can be pulled with this file"
        return of_proxy(place, location, [Trouble(place, what, "write host, port and path")])
    authority, _, path = location.partition("/")
    if not asks_proxy(question.proxy, authority, question.proxy.scheme):
        return of_another(registry, authority, place, location)
    wrong = (*_wrong(question, registry, written, place, path), *_by_digest_only(entry, written, place))
    return of_proxy(place, location, wrong)


def _wrong(
    question: Question, registry: MirroredRegistry, written: Mapping[str, Any], place: FilePlace, path: str
) -> Iterator[Trouble]:
    location = f"{question.proxy.authority}/{registry.name}"
    if path != registry.name and not (not path and question.default == registry.name):
        meant = path or question.default or "no registry"
        yield Trouble(
            place, f"it does not name {registry.name}, so the proxy takes it for {meant}", f"write {location}"
        )
    if not question.proxy.secure and written.get("insecure") is not True:
        yield Trouble(place, f"plain http is not allowed for {question.proxy.authority}", _INSECURE)


def _by_digest_only(entry: _Entry, written: Mapping[str, Any], place: FilePlace) -> Iterator[Trouble]:
    kind = written.get("pull-from-mirror", "digest-only" if entry.table.get("mirror-by-digest-only") is True else "all")
    if kind in ("digest-only", "tag-only"):
        other = "tags" if kind == "digest-only" else "digests"
        yield Trouble(place, f"the mirror is {kind}: {other} are asked of the next", 'write pull-from-mirror = "all"')

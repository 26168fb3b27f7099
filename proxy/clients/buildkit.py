"""BuildKit: ``buildkitd.toml`` (docs/buildkitd.toml.md). A mirror is asked by the path form and by ``?ns=``; after the
mirrors comes the registry itself, always.
"""

from collections.abc import Iterator, Mapping
from typing import Any

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
from proxy.clients.node_files import NodeFiles, Unread, strings, table
from proxy.clients.setups import (
    CA_FILE,
    ClientFile,
    Fallback,
    MirroredRegistry,
    Setup,
    Wish,
    ca_files,
    quoted,
    without_path_form,
)

CONFIG = "etc/buildkit/buildkitd.toml"
PATIENCE = Patience(None)


def setup(wish: Wish) -> Setup:
    registries = [_table(wish, registry) for registry in wish.with_path_form]
    ours = [f"[registry.{quoted(wish.proxy.authority)}]"]
    ours += [] if wish.proxy.secure else ["  http = true"]
    ours += [] if wish.ca is None else [f"  ca = [{quoted(f'/{CA_FILE}')}]"]
    text = "\n".join([*registries, *ours, ""])
    return Setup([ClientFile(CONFIG, text), *ca_files(wish, CA_FILE)], list(_notes(wish)))


def _table(wish: Wish, registry: MirroredRegistry) -> str:
    lines = [
        f"[registry.{quoted(registry.name)}]",
        f"  mirrors = [{quoted(f'{wish.proxy.authority}/{registry.name}')}]",
    ]
    if registry.is_plain:
        lines.append("  http = true")
    return "\n".join(lines)


def _notes(wish: Wish) -> Iterator[str]:
    if wish.fallback is Fallback.NO:
        yield "BuildKit always asks the registry itself after its mirrors: only a firewall forbids that."
    yield "docker buildx: `docker buildx create --buildkitd-config FILE`; a builder that runs is made anew for it."
    yield from without_path_form(wish, "BuildKit")


# ---------------------------------------------------------------- what a node has


def is_here(files: NodeFiles) -> bool:
    return files.has(CONFIG)


def chains(files: NodeFiles, question: Question) -> Iterator[Chain]:
    try:
        registries = table(files.toml(CONFIG).get("registry"))
    except Unread as unread:
        yield from unread.chains("buildkit", question, PATIENCE, "correct it: buildkitd does not start with it")
        return
    for registry in question.registries:
        yield _chain(files, question, registries, registry)


def _chain(files: NodeFiles, question: Question, registries: Mapping[str, Any], registry: MirroredRegistry) -> Chain:
    mirrors = strings(table(registries.get(registry.name)).get("mirrors"))
    hops, troubles = gathered(_hop(files, question, registries, registry, mirror) for mirror in mirrors)
    end = files.place(CONFIG, f'"{registry.name}"')
    return Chain("buildkit", registry.name, [*hops, Hop(end, None)], end, PATIENCE, troubles)


def _hop(
    files: NodeFiles, question: Question, registries: Mapping[str, Any], registry: MirroredRegistry, mirror: str
) -> ReadHop:
    authority, _, path = mirror.partition("/")
    place = files.place(CONFIG, f'"{mirror}"')
    if not asks_proxy(question.proxy, authority, question.proxy.scheme):
        return of_another(registry, authority, place, mirror)
    return of_proxy(place, mirror, _wrong(question, registries, registry, authority, path, place))


def _wrong(
    question: Question,
    registries: Mapping[str, Any],
    registry: MirroredRegistry,
    authority: str,
    path: str,
    place: FilePlace,
) -> Iterator[Trouble]:
    if path not in ("", registry.name):
        yield Trouble(place, f"it names {path}, not {registry.name}", f"write {authority}/{registry.name}")
    plain = table(registries.get(authority)).get("http") is True
    if not question.proxy.secure and not plain and not question.proxy.is_own:
        fix = f'write [registry."{authority}"] with http = true'
        yield Trouble(place, f"plain http is not allowed for {authority}", fix)

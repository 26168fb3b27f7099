"""One ``hosts.toml`` of containerd, in both directions (docs/hosts.md; ``parseHostConfig`` in
core/remotes/docker/config)."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from proxy.clients.chains import (
    FilePlace,
    Hop,
    ReadHop,
    Trouble,
    asks_proxy,
    gathered,
    of_another,
    of_proxy,
    parts_of,
    wrong_scheme,
)
from proxy.clients.node_files import NodeFiles, Unread, strings, table
from proxy.clients.setups import MirroredRegistry, ProxyAddress, quoted

_DIAL = "5s"  # a proxy whose packets are lost costs this, not the 30 s that containerd waits by itself
_KNOWN = {"pull", "resolve", "push", "referrers"}
_PASSED_OVER = "correct it: containerd passes the file over, and pulls go to the registry itself"


class Written(NamedTuple):
    """What a file comes to; ``place`` is what ends the chain."""

    place: FilePlace
    hops: Sequence[Hop]
    troubles: Sequence[Trouble]


def hosts_toml(proxy: ProxyAddress, server: str | None, ca: str | None) -> str:
    """``server`` is the last resort, None for the registry itself; ``ca`` a path on the node."""
    last = [] if server is None else [f"server = {quoted(server)}"]
    last += [f"ca = {quoted(ca)}"] if ca and server == str(proxy) else []
    host = [
        f"[host.{quoted(str(proxy))}]",
        '  capabilities = ["pull", "resolve"]',
        *([f"  ca = {quoted(ca)}"] if ca else []),
        f"  dial_timeout = {quoted(_DIAL)}",
    ]
    return "\n".join([*last, *([""] if last else []), *host, ""])


def hosts_of(files: NodeFiles, path: str, proxy: ProxyAddress, registry: MirroredRegistry) -> Written:
    """The hosts in their order, then ``server``."""
    whole = FilePlace(path)
    try:
        document = files.toml(path)
    except Unread as unread:
        return Written(whole, [Hop(whole, None)], [unread.trouble(_PASSED_OVER)])
    hosts = [(url, table(host)) for url, host in table(document.get("host")).items()]
    if strange := sorted({each for _, host in hosts for each in strings(host.get("capabilities"))} - _KNOWN):
        place = files.place(path, strange[0])
        return Written(
            place, [Hop(place, None)], [Trouble(place, f"no capability is called {strange[0]}", _PASSED_OVER)]
        )
    server = document.get("server")
    if isinstance(server, str) and server:
        hosts.append((server, document))
    hops, troubles = gathered(
        hop_of(files, files.place(path, f'"{url}"'), proxy, registry, url, host) for url, host in hosts
    )
    last = [] if server else [Hop(whole, None)]
    return Written(whole, [*hops, *last], list(dict.fromkeys(troubles)))


def hop_of(
    files: NodeFiles,
    place: FilePlace,
    proxy: ProxyAddress,
    registry: MirroredRegistry,
    written: str,
    host: Mapping[str, Any],
) -> ReadHop:
    """One host with its settings."""
    url = parts_of(written if written.startswith("http") else f"https://{written}")
    if not asks_proxy(proxy, url.netloc, url.scheme):
        return of_another(registry, url.netloc, place, written)
    troubles = [
        *_scheme(proxy, url.scheme, place, written),
        *_path(url.path, registry, place, written, bool(host.get("override_path"))),
        *_capabilities(host, place, written),
        *_certificates(files, host, place),
    ]
    return of_proxy(place, written, troubles)


def _scheme(proxy: ProxyAddress, scheme: str, place: FilePlace, written: str) -> Iterator[Trouble]:
    if "://" not in written and not proxy.secure:
        yield Trouble(place, f"{written} has no scheme, and so means https", f"write {proxy}")
    else:
        yield from wrong_scheme(proxy, scheme, place, written)


def _path(path: str, registry: MirroredRegistry, place: FilePlace, written: str, override: bool) -> Iterator[Trouble]:
    """``/v2`` is put behind a path that does not end in it, unless ``override_path`` takes it as it is."""
    asked = path.rstrip("/")
    if not override and not asked.endswith("/v2"):
        asked += "/v2"
    if asked not in ("/v2", f"/v2/{registry.name}"):
        what = f"{written} means requests to {asked}/…, where the proxy has nothing"
        yield Trouble(place, what, "leave the path and override_path out: containerd names the registry in ?ns=")


def _capabilities(host: Mapping[str, Any], place: FilePlace, written: str) -> Iterator[Trouble]:
    capabilities = [each.lower() for each in strings(host.get("capabilities"))] or list(_KNOWN)
    if missing := [each for each in ("pull", "resolve") if each not in capabilities]:
        lost = "layers and manifests by digest are" if missing[0] == "pull" else "tags are"
        what = f"{written} has not the capability {missing[0]}: {lost} asked of the next host"
        yield Trouble(place, what, 'write capabilities = ["pull", "resolve"]')


def _certificates(files: NodeFiles, host: Mapping[str, Any], place: FilePlace) -> Iterator[Trouble]:
    """What is named below the folder of the file, or in ours, must be there; other folders are not looked into."""
    folder = place.path.rpartition("/")[0]
    for written in strings(host.get("ca")):
        full = written.strip("/") if written.startswith("/") else f"{folder}/{written}"
        if re.match(r"etc/(containerd|entrepot)/", full) and not files.has(full):
            yield Trouble(place, f"ca is /{full}, which is not there: no host is asked then", "put the file there")

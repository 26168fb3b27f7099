"""Which token servers may see a registry's credentials. Pure.

A challenge comes from the network, so its realm is not to be believed: credentials go to the registry itself, to what
the configuration lists, and to the few token servers that are known to belong to a registry.
"""

from collections.abc import Mapping, Sequence

from proxy.upstream.target import Origin, TargetRefused, parse_target

WELL_KNOWN: Mapping[str, Sequence[str]] = {
    "registry-1.docker.io": ("auth.docker.io",),
    "index.docker.io": ("auth.docker.io",),
    "docker.io": ("auth.docker.io",),
    "registry.gitlab.com": ("gitlab.com",),
}
"""Registry host to the hosts of its token servers, https on the default port."""


def realm_may_be_asked(realm: Origin, home: Origin) -> bool:
    """May this token server be asked at all, if only for an anonymous token? https, unless the registry has none."""
    return realm.scheme == "https" or home.scheme == "http"


def realm_allowed(realm: Origin, home: Origin, ports_differ: bool, listed: Sequence[str]) -> bool:
    """May credentials for the registry at ``home`` be sent to ``realm``?

    ``ports_differ`` says that the registry's URL names its port, so that its token server may be on another port of
    the same host. ``listed`` holds hosts, ``host:port`` or origins from the configuration.
    """
    if not realm_may_be_asked(realm, home):
        return False
    if realm == home or (ports_differ and realm.host == home.host):
        return True
    if any(realm == Origin("https", host, 443) for host in WELL_KNOWN.get(home.host, ())):
        return True
    return realm in {origin for entry in listed if (origin := listed_origin(entry)) is not None}


def listed_origin(entry: str) -> Origin | None:
    """The origin that an entry of ``realms`` stands for, https where it names no scheme; None where it is none."""
    try:
        return parse_target(entry if "://" in entry else f"https://{entry}").origin
    except TargetRefused:
        return None

"""What a WWW-Authenticate header asks for, and which token servers may see a registry's credentials. Pure, linear in
the length of the header.

RFC 9110 section 11.6.1, and the forms that registries really send: several challenges in one line and several lines,
any case, white space round ``=`` and ``,``, quoted values with escapes, commas and spaces inside a quoted scope.

A challenge comes from the network, so its realm is not to be believed: credentials go to the registry itself, to what
the configuration lists, and to the few token servers that are known to belong to a registry.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from proxy.upstream.target import Origin, TargetRefused, parse_target

HEADER_LIMIT = 8192  # characters of all header lines together; what stands behind is not read

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SPACE = re.compile(r"[ \t]*")
_SEPARATORS = re.compile(r"[ \t,]*")
_BARE = re.compile(r"[^\s,\"]*")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")


WELL_KNOWN: Mapping[str, Sequence[str]] = {
    "registry-1.docker.io": ("auth.docker.io",),
    "index.docker.io": ("auth.docker.io",),
    "docker.io": ("auth.docker.io",),
    "registry.gitlab.com": ("gitlab.com",),
}
"""Registry host to the hosts of its token servers, https on the default port."""


class Challenge(NamedTuple):
    """``scheme`` and the names of parameters are in lower case; the first of two equal names counts."""

    scheme: str
    parameters: Mapping[str, str]

    @property
    def realm(self) -> str | None:
        return self.parameters.get("realm")

    @property
    def service(self) -> str | None:
        return self.parameters.get("service")

    @property
    def scope(self) -> str | None:
        return self.parameters.get("scope")


def parse_challenges(lines: Sequence[str]) -> tuple[Challenge, ...]:
    """All challenges in their order. What cannot be read ends the line it stands in."""
    found: list[Challenge] = []
    left = HEADER_LIMIT
    for line in lines:
        found.extend(_challenges(line[:left]))
        left -= min(left, len(line))
    return tuple(found)


def _challenges(line: str) -> Iterator[Challenge]:
    current: tuple[str, dict[str, str]] | None = None
    position = _end(_SEPARATORS, line, 0)
    while position < len(line):
        token = _TOKEN.match(line, position)
        if token is None:
            break
        after = _end(_SPACE, line, token.end())
        if line[after : after + 1] == "=" and current is not None:
            value, position = _value(line, _end(_SPACE, line, after + 1))
            if value is None:
                break
            current[1].setdefault(token.group().lower(), value)
        elif line[after : after + 1] == "=":
            break
        else:
            if current is not None:
                yield Challenge(*current)
            current = (token.group().lower(), {})
            position = _past_token68(line, after) if after > token.end() else after
        position = _end(_SEPARATORS, line, position)
    if current is not None:
        yield Challenge(*current)


def _end(pattern: re.Pattern[str], line: str, position: int) -> int:
    match = pattern.match(line, position)
    return match.end() if match else position


def _past_token68(line: str, position: int) -> int:
    """Behind a credential-like blob such as that of Negotiate; it would otherwise read as a parameter or a scheme."""
    match = _TOKEN68.match(line, position)
    return match.end() if match and match.group().rstrip().endswith("=") else position


def _value(line: str, position: int) -> tuple[str | None, int]:
    if line[position : position + 1] != '"':
        end = _end(_BARE, line, position)
        return line[position:end], end
    quoted = _QUOTED.match(line, position)
    if quoted is None:
        return None, len(line)
    return _ESCAPE.sub(r"\1", quoted.group(1)), quoted.end()


def pull_scope(name: str) -> str:
    """The scope of a pull, for a challenge that names none (distribution token specification, "Requesting a token")."""
    return f"repository:{name}:pull"


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

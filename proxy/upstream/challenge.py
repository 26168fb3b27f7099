"""What a WWW-Authenticate header asks for. Pure, linear in the length of the header.

RFC 9110 section 11.6.1, and the forms that registries really send: several challenges in one line and several lines,
any case, white space round ``=`` and ``,``, quoted values with escapes, commas and spaces inside a quoted scope.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

HEADER_LIMIT = 8192  # characters of all header lines together; what stands behind is not read

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SPACE = re.compile(r"[ \t]*")
_SEPARATORS = re.compile(r"[ \t,]*")
_BARE = re.compile(r"[^\s,\"]*")
_TOKEN68 = re.compile(r"[A-Za-z0-9._~+/-]+=*[ \t]*(?=,|$)")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")


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
    """The scope of a pull, for a challenge that names none (distribution token specification, "Requesting a token");
    empty for no repository, which asks for a token that says only who we are."""
    return f"repository:{name}:pull" if name else ""

"""A registry's own members: who has which password, and what each of them may read there.

``FaultUpstream.guard`` takes it in place of a ``Guard``. With ``tokens`` the registry asks for those of its own token
server, which asks for the password; without, for the password itself.
"""

import base64
import json
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from tests.cast.line import Line

_NAME = re.compile(r"/v2/(.+)/(?:manifests|blobs|tags|referrers)/")


@dataclass
class Members:
    """``rights`` are by user, those of nobody in particular under an empty name. A token that was given stays good
    whatever happens to the rights, as one does that carries its own scope."""

    passwords: dict[str, str]
    rights: dict[str, set[str]]
    tokens: bool = True
    given: dict[str, frozenset[str]] = field(default_factory=dict)  # token → what it opens
    asked: list[str] = field(default_factory=list)  # users that proved themselves, in order

    def challenge(self, own_realm: str, name: str) -> str:
        if not self.tokens:
            return 'Basic realm="members"'
        return f'Bearer realm="{own_realm}",service="members",scope="repository:{name}:pull"'

    def admits(self, line: Line) -> bool:
        scheme, _, given = line.seen.headers.get("authorization", "").partition(" ")
        found = _NAME.match(line.seen.target)
        name = found[1] if found else ""
        if self.tokens:
            return name in self.given.get(given, frozenset()) if scheme == "Bearer" else False
        user = self._user(scheme, given)
        return name in self._open_to(user) | {""} if user else bool(name) and name in self.rights.get("", set())

    def knows(self, line: Line) -> bool:
        """Whether it is the right that is missing, and not the password."""
        authorization = line.seen.headers.get("authorization", "")
        return not self.tokens and bool(authorization) and self._user(*authorization.partition(" ")[::2]) is not None

    async def issue(self, line: Line) -> None:
        authorization = line.seen.headers.get("authorization", "")
        user = self._user(*authorization.partition(" ")[::2]) if authorization else ""
        if user is None:
            await line.answer(401, b'{"errors": [{"code": "UNAUTHORIZED"}]}')
            return
        scope = parse_qs(urlsplit(line.seen.target).query).get("scope", [""])[0]
        name = scope.partition(":")[2].rpartition(":")[0]
        token = f"given-{len(self.given)}"
        self.given[token] = frozenset({name}) & self._open_to(user) | {""}
        await line.answer(200, json.dumps({"token": token, "expires_in": 3600}).encode())

    def _open_to(self, user: str) -> set[str]:
        return self.rights.get("", set()) | self.rights.get(user, set())

    def _user(self, scheme: str, given: str) -> str | None:
        if scheme != "Basic":
            return "" if not self.tokens and not scheme else None
        user, _, password = base64.b64decode(given).decode().partition(":")
        if self.passwords.get(user) != password:
            return None
        self.asked.append(user)
        return user

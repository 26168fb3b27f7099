"""A token server's side of the bargain: which tokens it gives, and which the registry takes."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.cast.line import Line


@dataclass
class Guard:
    """Give it to a registry with ``up.guard``; the same one may serve ``/token`` of another."""

    realm: str = ""  # the registry's own /token where empty
    service: str = "cast"
    user: tuple[str, str] | None = None  # whom it gives tokens to; anybody where None
    form: dict[str, Any] = field(default_factory=lambda: {"expires_in": 300})  # what stands beside the token
    field_name: str = "token"
    challenge_scope: bool = True
    good: set[str] = field(default_factory=set)
    given: int = 0

    def challenge(self, own_realm: str, name: str) -> str:
        scope = f',scope="repository:{name}:pull"' if self.challenge_scope else ""
        return f'Bearer realm="{self.realm or own_realm}",service="{self.service}"{scope}'

    def admits(self, line: Line) -> bool:
        return line.seen.headers.get("authorization", "").removeprefix("Bearer ") in self.good

    def revoke(self) -> None:
        self.good.clear()

    async def issue(self, line: Line) -> None:
        if self.user is not None and line.seen.headers.get("authorization") != basic(*self.user):
            await line.answer(401, b'{"details":"incorrect username or password"}')
            return
        self.given += 1
        scope = parse_qs(urlsplit(line.seen.target).query).get("scope", [""])[0]
        token = f"token-{self.given}-{scope.partition(':')[2]}"
        self.good.add(token)
        await line.answer(200, json.dumps({self.field_name: token, **self.form}).encode())


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

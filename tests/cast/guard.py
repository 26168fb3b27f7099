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
    refresh: str | None = None  # the refresh token that it takes, by POST
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
        if line.seen.method == "POST":
            await self._refreshed(line)
            return
        if self.user is not None and line.seen.headers.get("authorization") != basic(*self.user):
            await line.answer(401, b'{"details":"incorrect username or password"}')
            return
        await self._give(line, parse_qs(urlsplit(line.seen.target).query).get("scope", [""])[0], self.field_name)

    async def _refreshed(self, line: Line) -> None:
        """The OAuth2 form of the specification."""
        form = parse_qs(line.seen.body.decode(), strict_parsing=True)
        named = line.seen.headers.get("content-type") == "application/x-www-form-urlencoded" and form.get("client_id")
        if not named or form.get("grant_type") != ["refresh_token"] or form.get("service") != [self.service]:
            await line.answer(400, b'{"error":"invalid_request"}')
        elif form.get("refresh_token") != [self.refresh]:
            await line.answer(400, b'{"error":"invalid_grant"}')
        else:
            await self._give(line, form.get("scope", [""])[0], "access_token")

    async def _give(self, line: Line, scope: str, field_name: str) -> None:
        self.given += 1
        token = f"token-{self.given}-{scope.partition(':')[2]}"
        self.good.add(token)
        await line.answer(200, json.dumps({field_name: token, **self.form}).encode())


def basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()

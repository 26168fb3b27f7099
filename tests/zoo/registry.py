"""A registry that behaves as its ``Manners`` say, on up to three loopback hosts: itself, its token server, its storage.

``shown`` counts what of its manners was met, by name, so that a scene can tell that it has shown what it is about.
"""

import itertools
import json
import os
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from proxy.core.names import Digest
from tests.cast import Act, FaultUpstream, Line, Seen
from tests.cast.guard import basic
from tests.zoo.bodies import Bodies
from tests.zoo.manners import HTML, Basic, Bearer, Manners
from tests.zoo.pages import pages
from tests.zoo.storage import StorageHost

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
TOKEN_HOST = "127.0.0.3"


class ScriptedRegistry:
    """One kind of registry. Kinds differ in ``manners``, and in the methods that they replace."""

    manners: ClassVar[Manners]

    def __init__(self) -> None:
        bearer = self.manners.auth if isinstance(self.manners.auth, Bearer) else None
        self.up = FaultUpstream(base=self.manners.base)
        self.token_server = FaultUpstream(host=TOKEN_HOST) if bearer and bearer.elsewhere else self.up
        self.shown: Counter[str] = Counter()
        self.bodies = Bodies(self.shown, closes=self.manners.closes)
        storage = self.manners.storage
        self.storage = StorageHost(storage, self.bodies, self.shown) if storage is not None else None
        self.private: set[str] = set()  # names that anonymous clients may not see
        self.password: str | None = None  # that is good now, where it is not the configured one
        self.head_manifest = self.manners.head_manifest
        self.tags: dict[str, list[str]] = {}
        self._good: set[str] = set()  # tokens
        self._numbers = itertools.count(1)
        self._life = AsyncExitStack()

    # ------------------------------------------------------------ life

    async def __aenter__(self) -> Self:
        for host in self.hosts:
            await self._life.enter_async_context(host)
        self.open()
        if isinstance(self.manners.auth, Bearer):
            self.token_server.always(self.manners.auth.path, self._token)
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self._life.aclose()

    def open(self) -> None:
        """It answers as itself."""
        for kind, act in self._acts().items():
            self.up.always(kind, act)

    def be_steady(self) -> None:
        """Whatever a scene has told it."""
        self.open()
        self.bodies.instead.clear()
        self.bodies.gate = self.password = None
        self.head_manifest = self.manners.head_manifest
        self.up.forget_plays()

    def close(self) -> None:
        """From now on something else stands in front of it."""
        for kind in self._acts():
            self.up.always(kind, self.away)

    def _acts(self) -> dict[str, Act]:
        return {
            "ping": self._ping,
            "manifest": self._manifest,
            "blob": self._blob,
            "tags": self._tags,
            "referrers": self._referrers,
        }

    async def vanish(self) -> None:
        """It, its storage and its token server: nobody is there any more."""
        for host in self.hosts:
            await host.vanish()

    @property
    def hosts(self) -> list[FaultUpstream]:
        storage = [self.storage.up] if self.storage is not None else []
        return list(dict.fromkeys([self.up, self.token_server, *storage]))

    # ------------------------------------------------------------ as Entrepot is told of it

    @property
    def name(self) -> str:
        return self.manners.name

    def settings(self) -> dict[str, Any]:
        """Its entry under ``upstreams``. A password is in an environment variable of its own."""
        found: dict[str, Any] = {"url": self.up.url}
        if self.user is not None:
            variable = "ZOO_" + "".join(letter if letter.isalnum() else "_" for letter in self.name).upper()
            os.environ[variable] = self.user[1]
            found["auth"] = {"type": "basic", "username": self.user[0], "password_env": variable}
        if self.token_server is not self.up:
            found["realms"] = [self.token_server.url]
        return found

    @property
    def user(self) -> tuple[str, str] | None:
        return self.manners.auth.user if self.manners.auth is not None else None

    def repository(self, slug: str) -> str:
        return f"{self.manners.home}/{slug}"

    # ------------------------------------------------------------ content

    def put_blob(self, name: str, content: bytes) -> Digest:
        digest = self.up.blob(name, content)
        if self.storage is not None:
            self.storage.put(digest, content)
        return digest

    def put_manifest(self, name: str, tag: str | None, raw: bytes, media_type: str = OCI_MANIFEST) -> Digest:
        if tag is not None:
            self.tags.setdefault(name, []).append(tag)
            self.up.tags(name, self.tags[name])
        return self.up.manifest(name, tag, raw, media_type)

    def put_tags(self, name: str, tags: list[str]) -> None:
        self.tags[name] = tags
        self.up.tags(name, tags)

    def revoke(self) -> None:
        """No token that it has given is good any more."""
        self._good.clear()

    def trip_token_server(self, act: Act) -> None:
        """What its token server does next."""
        assert isinstance(self.manners.auth, Bearer)
        self.token_server.plays(self.manners.auth.path, act)

    # ------------------------------------------------------------ what has been asked

    def asked(self, kind: str, method: str | None = None) -> list[Seen]:
        return [seen for seen in self.up.requests(kind) if method in (None, seen.method)]

    def transfers(self, digest: Digest) -> list[Seen]:
        """Requests that brought bytes of a blob."""
        return self.bodies.of(digest)

    # ------------------------------------------------------------ what kinds of registry replace

    def challenge(self, name: str) -> str:
        auth = self.manners.auth
        if not isinstance(auth, Bearer):
            return f'Basic realm="{auth.realm if auth is not None else self.name}"'
        realm = f"{self.token_server.url}{auth.path}"
        scope = f',scope="{auth.scope.format(name=name)}"' if auth.scope and name else ""
        return f'Bearer realm="{realm}",service="{auth.service}"{scope}{auth.beside}'

    async def refuse_unknown(self, line: Line, name: str) -> None:
        """Without a good credential."""
        self.shown["challenged"] += 1
        await self.error(
            line, 401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": self.challenge(name)}
        )

    async def refuse_private(self, line: Line, name: str) -> None:
        """With one that has no right to this repository."""
        challenge = f'{self.challenge(name)},error="insufficient_scope"'
        await self.error(line, 401, "UNAUTHORIZED", "authentication required", {"WWW-Authenticate": challenge})

    async def refuse_token(self, line: Line) -> None:
        """What the token server says to a wrong password."""
        await line.answer(401, b'{"details":"incorrect username or password"}', {"Content-Type": "application/json"})

    async def no_referrers(self, line: Line) -> None:
        await line.answer(404, b"404 page not found\n", {"Content-Type": "text/plain; charset=utf-8"})

    async def limited(self, line: Line) -> None:
        """Too many requests."""
        await self.error(line, 429, "TOOMANYREQUESTS", "too many requests", {"Retry-After": "30"})

    async def away(self, line: Line) -> None:
        """What stands in front of it while it is away."""
        await line.answer(503, b"<html><body><h1>503 Service Temporarily Unavailable</h1></body></html>", HTML)

    def manifest_headers(self) -> Mapping[str, str]:
        return {}

    # ------------------------------------------------------------ acts

    async def error(
        self, line: Line, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        body = json.dumps({"errors": [{"code": code, "message": message, "detail": None}]}).encode()
        await self.answer(line, status, body, {"Content-Type": self.manners.json_type, **(headers or {})})

    async def answer(self, line: Line, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        close = {"Connection": "close"} if self.manners.closes else {}
        await line.answer(status, body, {**self.manners.headers, **close, **headers})
        if self.manners.closes:
            line.finish()

    async def _ping(self, line: Line) -> None:
        if await self._admits(line, ""):
            await self.answer(line, 200, b"{}", {"Content-Type": "application/json"})

    async def _manifest(self, line: Line) -> None:
        name = _name(line)
        if not await self._admits(line, name):
            return
        if line.content.status != 200:
            await self.error(line, 404, "MANIFEST_UNKNOWN", "manifest unknown")
            return
        if line.seen.method == "HEAD" and self.head_manifest != 200:
            self.shown["HEAD of a manifest refused"] += 1
            await self.answer(line, self.head_manifest, b"", {})
            return
        await self.bodies.opened()
        headers = {**line.content.headers, **self.manifest_headers()}
        if self.manners.manifest_type != "exact":
            self.shown["type not stated"] += 1
            del headers["Content-Type"]
            headers |= {"Content-Type": self.manners.manifest_type} if self.manners.manifest_type else {}
        if line.seen.method == "GET" and not self.manners.digest_on_get:
            self.shown["no digest header"] += 1
            del headers["Docker-Content-Digest"]
        await self.answer(line, 200, line.content.body, headers)

    async def _blob(self, line: Line) -> None:
        if not await self._admits(line, _name(line)):
            return
        if line.seen.method == "HEAD" and self.manners.head_blob != 200:
            await self.error(line, self.manners.head_blob, "UNAUTHORIZED", "authentication required")
        elif line.content.status != 200:
            await self.error(line, 404, "BLOB_UNKNOWN", "blob unknown to registry")
        elif refused := self.bodies.refusal(line, self.manners.ranges):
            await self.error(line, refused, "UNSUPPORTED", "Range is not supported")
        elif self.storage is None:
            await self.bodies.send(line, self.manners.headers, self.manners.ranges)
        else:
            await self._redirect(line, self.storage)

    async def _redirect(self, line: Line, storage: StorageHost) -> None:
        assert self.manners.storage is not None
        self.shown["redirected"] += 1
        digest = Digest.parse(urlsplit(line.seen.target).path.rpartition("/")[2])
        await self.answer(line, self.manners.storage.status, b"", {"Location": storage.signed_url(digest)})

    async def _tags(self, line: Line) -> None:
        name = _name(line)
        if not await self._admits(line, name):
            return
        if name not in self.tags:
            await self.error(line, 404, "NAME_UNKNOWN", "repository name not known to registry")
            return
        page = pages(self.manners.paging, name, self.tags[name], urlsplit(line.seen.target).query, self.up.url)
        self.shown.update(page.shown)
        if page.refused is not None:
            await self.error(line, *page.refused, "invalid number of results requested")
            return
        body = json.dumps({"name": name, "tags": page.tags, **self.beside_tags()}).encode()
        link = {"Link": page.link} if page.link else {}
        await self.answer(line, 200, body, {"Content-Type": self.manners.json_type, **link})

    def beside_tags(self) -> Mapping[str, Any]:
        """What else stands in a page of tags."""
        return {}

    async def _referrers(self, line: Line) -> None:
        if not self.manners.referrers:
            self.shown["no referrers API"] += 1
            await self.no_referrers(line)
        elif await self._admits(line, _name(line)):
            self.shown["referrers"] += 1
            body = line.content.body if line.content.status == 200 else EMPTY_INDEX
            await self.answer(line, 200, body, {"Content-Type": OCI_INDEX})

    async def _token(self, line: Line) -> None:
        auth = self.manners.auth
        assert isinstance(auth, Bearer)
        line.seen.kind = "token"
        self.shown["asked for a token"] += 1
        if auth.user is not None and line.seen.headers.get("authorization") != basic(auth.user[0], self._password()):
            await self.refuse_token(line)
            return
        token = self.issue()
        body = json.dumps({**{name: token for name in auth.names}, **auth.form}).encode()
        await line.answer(200, body, {"Content-Type": "application/json"})

    def issue(self) -> str:
        token = f"token-{next(self._numbers)}"
        self._good.add(token)
        return token

    def _password(self) -> str:
        assert self.user is not None
        return self.password or self.user[1]

    async def _admits(self, line: Line, name: str) -> bool:
        """Answers by itself where it does not."""
        if not self._knows(line.seen.headers.get("authorization", "")):
            await self.refuse_unknown(line, name)
        elif name in self.private:
            self.shown["private refused"] += 1
            await self.refuse_private(line, name)
        else:
            return True
        return False

    def _knows(self, given: str) -> bool:
        match self.manners.auth:
            case Bearer():
                return given.removeprefix("Bearer ") in self._good
            case Basic() as auth:
                return given == basic(auth.user[0], self._password())
            case None:
                return True


EMPTY_INDEX = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}).encode()


def _name(line: Line) -> str:
    path = urlsplit(line.seen.target).path
    return path.partition("/v2/")[2].rsplit("/", 2)[0]

"""Amazon ECR private, with the AWS API that gives its tokens.

- Basic with a token of the region on every request; without a good one: 401 and plain text. (The 403 of one that has
  expired is believed only of a token older than a minute; tests/upstream has scenes of it.)
- GET of a manifest has no ``Docker-Content-Digest``, HEAD has it (aws/containers-roadmap#1931).
- Blobs: 307 to S3, presigned for GET; S3 takes no second authorization.
- ``n`` above 1000 is refused with ``UNSUPPORTED``; the link's ``last`` is an opaque token
  (google/go-containerregistry#1091).
- 429 ``TOOMANYREQUESTS`` "Rate exceeded".
"""

import base64
import json
import time
from typing import Any

from tests.cast import Act, FaultUpstream, Line
from tests.cast.guard import basic
from tests.zoo.manners import Basic, Cursor, Manners, Paging, Storage
from tests.zoo.registry import ScriptedRegistry

_REGION = "eu-central-1"


class Ecr(ScriptedRegistry):
    manners = Manners(
        f"123456789012.dkr.ecr.{_REGION}.amazonaws.com",
        auth=Basic("https://123456789012.dkr.ecr.eu-central-1.amazonaws.com/", ("AWS", "")),
        storage=Storage(307, head=403),
        paging=Paging(usual=1000, most=1000, refused=(405, "UNSUPPORTED"), cursor=Cursor.OPAQUE_LAST),
        digest_on_get=False,
        json_type="application/json; charset=utf-8",
    )

    def __init__(self) -> None:
        super().__init__()
        self.api = FaultUpstream()

    async def __aenter__(self) -> "Ecr":
        await super().__aenter__()
        self.api.always("/", self._authorization_token)
        return self

    @property
    def hosts(self) -> list[FaultUpstream]:
        return [*super().hosts, self.api]

    @property
    def user(self) -> tuple[str, str] | None:
        return None  # it signs in with AWS

    def settings(self) -> dict[str, Any]:
        auth = {"type": "ecr", "region": _REGION, "endpoint_url": self.api.url}
        return {"url": self.up.url, "auth": auth}

    def trip_token_server(self, act: Act) -> None:
        self.api.plays("/", act)

    async def _authorization_token(self, line: Line) -> None:
        self.shown["asked for a token"] += 1
        token = base64.b64encode(f"AWS:{self.issue()}".encode()).decode()
        data = {"authorizationToken": token, "expiresAt": time.time() + 43200, "proxyEndpoint": f"https://{self.name}"}
        kind = {"Content-Type": "application/x-amz-json-1.1"}
        await line.answer(200, json.dumps({"authorizationData": [data]}).encode(), kind)

    def _knows(self, given: str) -> bool:
        return any(given == basic("AWS", token) for token in self._good)

    async def refuse_unknown(self, line: Line, name: str) -> None:
        self.shown["challenged"] += 1
        await line.answer(401, b"Not Authorized\n", {"WWW-Authenticate": self.challenge(name)})

    async def refuse_private(self, line: Line, name: str) -> None:
        why = f"User: arn:aws:iam::123456789012:role/pull is not authorized to perform: ecr:BatchGetImage on {name}"
        await self.error(line, 403, "DENIED", why)

    async def limited(self, line: Line) -> None:
        await self.error(line, 429, "TOOMANYREQUESTS", "Rate exceeded")

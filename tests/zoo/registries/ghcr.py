"""GitHub Container Registry.

- Realm ``/token`` on the registry itself; its answer is ``{"token": …}`` and nothing else; anonymous tokens are needed
  for public repositories too.
- A private or missing repository: the token server gives no token, 403 ``DENIED`` (buildkit, containers/image issues).
- Blobs: 307 to ``pkg-containers.githubusercontent.com``, signed for one GET; a HEAD of it is 403.
- No referrers API: 303 to a page for people on github.com (sigstore/cosign and oras issues).
- 429 with advice below a millisecond in its text (actions/runner-images, "allowed: 44000/minute").
- Bodies of manifests and blobs that end early (google/go-containerregistry#1500).
- Pages of 100 tags.
"""

from urllib.parse import parse_qs, urlsplit

from tests.cast import Line
from tests.zoo.manners import HTML, Bearer, Manners, Paging, Storage
from tests.zoo.registry import ScriptedRegistry


class Ghcr(ScriptedRegistry):
    manners = Manners(
        "ghcr.io",
        auth=Bearer("/token", "ghcr.io"),
        storage=Storage(307, head=403),
        paging=Paging(usual=100, most=1000),
        home="owner",
    )

    async def _token(self, line: Line) -> None:
        scope = parse_qs(urlsplit(line.seen.target).query).get("scope", [""])[0]
        if scope.split(":")[1:2] and scope.split(":")[1] in self.private:
            line.seen.kind = "token"
            self.shown["private refused"] += 1
            await self.error(line, 403, "DENIED", "requested access to the resource is denied")
        else:
            await super()._token(line)

    async def no_referrers(self, line: Line) -> None:
        await self.answer(line, 303, b"", {"Location": f"{self.up.url}/a-page-for-people", **HTML})

    async def limited(self, line: Line) -> None:
        await self.error(line, 429, "TOOMANYREQUESTS", "retry-after: 700.624µs, allowed: 44000/minute")

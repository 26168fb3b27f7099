"""Google Artifact Registry.

- ``/v2/PROJECT/REPOSITORY/IMAGE``; realm ``/v2/token``; the challenge of ``/v2/`` has no scope.
- Blobs: 302 to a storage host of Google's with a signed path.
- A page of tags says ``child`` and ``manifest`` too; GCR gave all tags at once whatever ``n`` was
  (google/go-containerregistry ``pkg/v1/google``).
- Referrers: redirected to a sign-in page, 200 and HTML.
- A private repository: 403 ``DENIED`` with a sentence about unauthenticated requests.
"""

from collections.abc import Mapping
from typing import Any

from tests.cast import Line, roles
from tests.zoo.manners import HTML, Bearer, Manners, Paging, Storage
from tests.zoo.registry import ScriptedRegistry

_PAGE = b"<!DOCTYPE html><html><title>Sign in - Google Accounts</title></html>"


class ArtifactRegistry(ScriptedRegistry):
    manners = Manners(
        "europe-docker.pkg.dev",
        auth=Bearer("/v2/token", "europe-docker.pkg.dev", form={"expires_in": 43200}),
        storage=Storage(302, head=403),
        paging=Paging(obeys_n=False),
        home="project/images",
    )

    async def __aenter__(self) -> "ArtifactRegistry":
        await super().__aenter__()
        self.up.always("/signin", roles.answers(200, _PAGE, HTML))
        return self

    async def refuse_private(self, line: Line, name: str) -> None:
        why = f'Unauthenticated request. Unauthenticated requests do not have permission to "{name}"'
        await self.error(line, 403, "DENIED", why)

    async def no_referrers(self, line: Line) -> None:
        await self.away(line)

    async def away(self, line: Line) -> None:
        await self.answer(line, 302, b"", {"Location": f"{self.up.url}/signin"})

    def beside_tags(self) -> Mapping[str, Any]:
        return {"child": [], "manifest": {}}

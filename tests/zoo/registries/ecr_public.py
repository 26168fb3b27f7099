"""Amazon ECR Public.

- Realm ``/token/`` with the literal scope ``aws``; Basic anywhere else is 400.
- A token that is not good (any more): 400 ``DENIED`` and no challenge (aws/containers-roadmap#2835,
  oras-project/oras-go#1227).
- HEAD of any blob: 401, however good the token (aws/containers-roadmap#2671).
- GET of a manifest has no ``Docker-Content-Digest``.
- Blobs: 307 to CloudFront, whose signed URLs were reported not to take a Range (docker-archive/docker-registry#449).
- 429 "Rate exceeded" above one pull a second.
"""

from tests.cast import Line
from tests.zoo.manners import Bearer, Manners, Paging, Ranges, Storage
from tests.zoo.registry import ScriptedRegistry


class EcrPublic(ScriptedRegistry):
    manners = Manners(
        "public.ecr.aws",
        auth=Bearer("/token/", "public.ecr.aws", scope="aws"),
        storage=Storage(307, head=403, ranges=Ranges.IGNORED),
        paging=Paging(usual=100, most=1000, refused=(405, "UNSUPPORTED")),
        head_blob=401,
        digest_on_get=False,
        home="alias",
        refuses=(403, 404),
    )

    async def _admits(self, line: Line, name: str) -> bool:
        given = line.seen.headers.get("authorization", "")
        if given and given.removeprefix("Bearer ") not in self._good:
            self.shown["bad token refused with 400"] += 1
            await self.error(line, 400, "DENIED", "Your Authorization Token is invalid.")
            return False
        return await super()._admits(line, name)

    async def refuse_private(self, line: Line, name: str) -> None:
        await self.error(line, 404, "NAME_UNKNOWN", f"The repository with name '{name}' does not exist in the registry")

    async def limited(self, line: Line) -> None:
        await self.error(line, 429, "TOOMANYREQUESTS", "Rate exceeded")

"""GitLab's registry.

- The token server is another host, ``/jwt/auth`` with service ``container_registry``; its answer is ``{"token": …}``,
  good for five minutes without saying so. A user signs in there with a deploy token.
- Blobs: 307 to object storage, signed for GET.
- Pages of tags by ``last``; the link may have ``last`` before ``n`` and no ``n`` where none was asked.
- The ``Docker-Distribution-Api-Version`` header, ``charset=utf-8`` in the type of JSON.
"""

from tests.cast import Line
from tests.zoo.manners import HTML, Bearer, Manners, Paging, Storage
from tests.zoo.registry import ScriptedRegistry


class GitLab(ScriptedRegistry):
    manners = Manners(
        "registry.gitlab.com",
        auth=Bearer("/jwt/auth", "container_registry", elsewhere=True, user=("deploy-token", "glpat-zoo")),
        storage=Storage(307, head=403),
        paging=Paging(usual=100, most=1000),
        home="group/project",
        json_type="application/json; charset=utf-8",
    )

    async def refuse_token(self, line: Line) -> None:
        body = b'{"errors":[{"code":"UNAUTHORIZED","message":"HTTP Basic: Access denied."}]}'
        await line.answer(403, body, {"Content-Type": "application/json"})

    async def away(self, line: Line) -> None:
        await line.answer(502, b"<!DOCTYPE html><html><title>GitLab is not responding (502)</title></html>", HTML)

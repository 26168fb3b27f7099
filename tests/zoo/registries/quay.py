"""quay.io.

- Realm ``/v2/auth``; its answer is ``{"token": …}``, a token of an hour that does not say so.
- A repository that is private or not there: 401 ``UNAUTHORIZED`` whatever token was sent.
- Blobs: 302 to a CDN, signed.
- Manifests as ``text/html`` (moby/moby#19526).
- Pages of 50 tags, an absolute link, the next one named by ``next_page``; ``last`` is ignored (regclient/regclient#272,
  deitch/docker_registry2#56, TritonDataCenter/node-docker-registry-client#12).
- 429 with a page of nginx and no ``Retry-After`` above a few requests a second.
"""

from tests.cast import Line
from tests.zoo.manners import HTML, Bearer, Cursor, Manners, Paging, Storage
from tests.zoo.registry import ScriptedRegistry


class Quay(ScriptedRegistry):
    manners = Manners(
        "quay.io",
        auth=Bearer("/v2/auth", "quay.io"),
        storage=Storage(302, head=403),
        paging=Paging(
            usual=50, most=50, cursor=Cursor.NEXT_PAGE, link='<{url}/v2/{name}/tags/list?{query}>; rel="next"'
        ),
        manifest_type="text/html; charset=utf-8",
        home="organisation",
    )

    async def limited(self, line: Line) -> None:
        await line.answer(429, b"<html><head><title>429 Too Many Requests</title></head></html>", HTML)

"""Docker Hub.

- The token server is another host, ``auth.docker.io``; its answer has ``token``, ``access_token``, ``expires_in`` 300
  and ``issued_at``; the challenge of ``/v2/`` has no scope (Docker's "Registry authentication", containerd's tests).
- Blobs: 307 to a CDN, signed for GET.
- ``ratelimit-limit``, ``ratelimit-remaining``, ``docker-ratelimit-source`` on manifests; HEAD is free; a 429 of the
  pull limit is OCI JSON without ``Retry-After`` (docs.docker.com, "Docker Hub usage and limits").
- Pages of 100 tags where ``n`` is not given (gadievron/raptor#495).
- Official images live under ``library/``.
"""

from collections.abc import Mapping

from tests.cast import Line
from tests.zoo.manners import Bearer, Manners, Paging, Storage
from tests.zoo.registry import ScriptedRegistry

_LIFE = {"expires_in": 300, "issued_at": "2026-08-01T10:00:00.123456789Z"}


class DockerHub(ScriptedRegistry):
    manners = Manners(
        "docker.io",
        auth=Bearer("/token", "registry.docker.io", elsewhere=True, names=("token", "access_token"), form=_LIFE),
        storage=Storage(307, head=403, headers={"Content-Type": "application/octet-stream"}),
        paging=Paging(usual=100, most=1000),
        home="library",
    )

    def manifest_headers(self) -> Mapping[str, str]:
        self.shown["rate limit headers"] += 1
        source = {"docker-ratelimit-source": "192.0.2.7"}
        return {"ratelimit-limit": "100;w=21600", "ratelimit-remaining": "76;w=21600", **source}

    async def limited(self, line: Line) -> None:
        why = "You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit"
        await self.error(line, 429, "TOOMANYREQUESTS", why)

"""Artifactory, in its path form.

- ``/artifactory/api/docker/KEY/v2/…`` with the realm below the same path.
- Bearer and Basic are offered in one line; POST to the realm is 401.
- 400 to any request with a Range (containerd/containerd#11953, #11998).
- The link to the next page lacks the path and the key, and its ``last`` is a number (renovatebot/renovate#15080,
  #20745, RTFACT-18971).
- Blobs come from itself.
"""

from tests.zoo.manners import Bearer, Cursor, Manners, Paging, Ranges
from tests.zoo.registry import ScriptedRegistry

_BASE = "/artifactory/api/docker/docker-remote"


class Artifactory(ScriptedRegistry):
    manners = Manners(
        "artifactory.example.com",
        auth=Bearer(
            "/v2/token",
            "artifactory.example.com",
            names=("token", "access_token"),
            form={"expires_in": 3600},
            user=("puller", "zoo-artifactory"),
            beside=', Basic realm="Artifactory Realm"',
        ),
        ranges=Ranges.REFUSED_400,
        paging=Paging(cursor=Cursor.NUMBER, most=10_000),
        base=_BASE,
        referrers=True,
    )

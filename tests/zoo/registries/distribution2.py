"""distribution 2 behind somebody's own token server, with a storage middleware that redirects.

- HEAD of a manifest with a token: 405 (distribution/distribution#1485, 2.2.1).
- The token server says ``"expires_in": "300"``, a string (distribution/distribution#1746).
- Blobs: 307 to URLs whose signature covers the Range, so that a request with another one is 403 (aws/aws-sdk-js#2471
  says so of S3's version 4 signatures).
- No referrers API: 404 in plain text; JSON with a charset; a ``last`` before the ``n`` of a link.
"""

from tests.zoo.manners import Bearer, Manners, Paging, Ranges, Storage
from tests.zoo.registry import ScriptedRegistry


class Distribution2(ScriptedRegistry):
    manners = Manners(
        "registry.example.com:5000",
        auth=Bearer("/auth/token", "registry.example.com", form={"expires_in": "300"}),
        storage=Storage(307, head=403, ranges=Ranges.REFUSED_403),
        paging=Paging(),
        head_manifest=405,
        json_type="application/json; charset=utf-8",
    )

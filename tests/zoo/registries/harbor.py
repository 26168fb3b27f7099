"""Harbor.

- Realm ``/service/token``, service ``harbor-registry``, ``token`` and ``access_token``, an ``issued_at`` that may be
  empty (goharbor/harbor#23753); a session cookie with each answer; robot accounts have a ``$`` in their name.
- Manifests without a ``Content-Type`` (goharbor/harbor#13740).
- Blobs: 307 to Ceph's object gateway, which replays ``Content-Encoding: aws-chunked`` of the upload (ceph/ceph#64440,
  versity/versitygw#2398).
- Referrers: it has the API.
- Away, something in front answers 200 and a page to every path (goharbor/harbor#23882).
- HEAD of a manifest that is not supported (crossplane/crossplane#3222): 404.
"""

from collections.abc import Mapping

from tests.cast import Line
from tests.zoo.manners import HTML, Bearer, Manners, Paging, Storage
from tests.zoo.registry import ScriptedRegistry


class Harbor(ScriptedRegistry):
    manners = Manners(
        "harbor.example.com",
        auth=Bearer(
            "/service/token",
            "harbor-registry",
            names=("token", "access_token"),
            form={"expires_in": 1800, "issued_at": ""},
            user=("robot$pull", "zoo-harbor"),
        ),
        storage=Storage(307, headers={"Content-Type": "binary/octet-stream", "Content-Encoding": "aws-chunked"}),
        paging=Paging(most=1000),
        referrers=True,
        head_manifest=404,
        manifest_type=None,
        home="library",
    )

    def manifest_headers(self) -> Mapping[str, str]:
        return {"Set-Cookie": "sid=0123456789abcdef; Path=/; HttpOnly"}

    async def away(self, line: Line) -> None:
        await line.answer(200, b"<!DOCTYPE html><html><title>We'll be back soon</title></html>", HTML)

"""Nexus Repository, a Docker repository on a port of its own.

- Basic, ``realm="Sonatype Nexus Repository Manager"``.
- HEAD of a manifest: 404 though GET has it (crazy-max/diun#1614).
- The link to the next page is absolute and has the internal path ``/repository/NAME`` in it, which that port answers
  with 400 (sonatype/nexus-public#1011).
- No referrers API: 404 with a page of HTML.
- Each connection ends after one answer, as behind a reverse proxy without keep-alive.
- A range of one byte: 416. Assumed: lazy pullers ask for ``bytes=0-1`` and nobody else for so little.
"""

from tests.cast import Line
from tests.zoo.manners import HTML, Basic, Manners, Paging, Ranges
from tests.zoo.registry import ScriptedRegistry


class Nexus(ScriptedRegistry):
    manners = Manners(
        "nexus.example.com:8083",
        auth=Basic("Sonatype Nexus Repository Manager", ("puller", "zoo-nexus")),
        ranges=Ranges.SINGLE_BYTE_REFUSED,
        paging=Paging(link='<{url}/repository/docker-hub/v2/{name}/tags/list?{query}>; rel="next"'),
        head_manifest=404,
        closes=True,
    )

    async def no_referrers(self, line: Line) -> None:
        await self.answer(line, 404, b"<html><title>404 - Sonatype Nexus Repository</title></html>", HTML)

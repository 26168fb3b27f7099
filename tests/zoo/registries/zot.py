"""zot.

- No credentials; blobs from itself, ranges served; the referrers API with its filter.
- The relation of a link is not in quotes (RFC 8288 allows a token); the link's token has a name of its own, as any
  registry may choose: ``nextToken``.
- Away, a proxy in front answers every path with its own page, 200 (project-zot/zot#2416).
"""

from tests.cast import Line
from tests.zoo.manners import HTML, Cursor, Manners, Paging
from tests.zoo.registry import ScriptedRegistry


class Zot(ScriptedRegistry):
    manners = Manners(
        "zot.example.com",
        paging=Paging(cursor=Cursor.NEXT_TOKEN, most=1000, link="</v2/{name}/tags/list?{query}>; rel=next"),
        referrers=True,
        home="images",
    )

    async def away(self, line: Line) -> None:
        await line.answer(200, b"<!doctype html><html><body>welcome</body></html>", HTML)

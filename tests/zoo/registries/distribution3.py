"""distribution 3.

- No credentials; blobs from itself, ranges served.
- ``n`` above 1000 is refused with 400 ``PAGINATION_NUMBER_INVALID`` (distribution/distribution#4844, #4856).
- No referrers API: 404 in plain text.
- 429 of a limiter in front of it, with a date in ``Retry-After``.
"""

from email.utils import formatdate
from time import time

from tests.cast import Line
from tests.zoo.manners import Manners, Paging
from tests.zoo.registry import ScriptedRegistry


class Distribution3(ScriptedRegistry):
    manners = Manners(
        "registry.example.com",
        paging=Paging(usual=1000, most=1000, refused=(400, "PAGINATION_NUMBER_INVALID")),
        json_type="application/json; charset=utf-8",
    )

    async def limited(self, line: Line) -> None:
        when = formatdate(time() + 30, usegmt=True)
        await line.answer(429, b"slow down\n", {"Content-Type": "text/plain", "Retry-After": when})

"""The pages of the status page and what keeps the first one fresh, as answers of the admin listener."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import aclosing
from functools import partial
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlencode

from aiohttp import web

from proxy.admin.inventory import InventoryOperations
from proxy.admin.inventory_messages import ImageLine, InspectedImage, InspectedPart, InspectRequest, ListRequest
from proxy.admin.live import LiveOperation
from proxy.admin.messages import NothingMore
from proxy.admin.page.overview import Overview, overview_of
from proxy.admin.page.site import HEADERS, STATIC, PageTemplates, static_file
from proxy.admin.report import Status
from proxy.core.errors import Absent, Fault, RequestFault
from proxy.tasks.off_loop import off_loop

T = TypeVar("T")
PageAnswer = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ROWS = 200  # of one page
_PARTS = 2000
_LOOKING = 2.0  # seconds that a list may take; then it is told that there is more
_EVERY = 2.0  # seconds between two looks for what has changed
_STREAMS = 16  # of the listener's connections, that may wait for changes
_LOOKS = 300  # of one stream; then the browser asks again, and the gate is asked whether it may
_LONGEST = 1024  # characters of what is looked for


class PageSources(NamedTuple):
    """What the pages tell. ``held`` are bytes by registry."""

    status: Callable[[], Status]
    live: LiveOperation
    held: Callable[[], Mapping[str, int]]
    inventory: InventoryOperations


class StatusPages:
    """``pool`` makes the HTML, off the loop. ``every``: seconds between two looks for what has changed."""

    def __init__(self, sources: PageSources, pool: Executor, every: float = _EVERY) -> None:
        self._sources = sources
        self._pool = pool
        self._every = every
        self._templates = PageTemplates()
        self._streams = 0

    def routes(self, guarded: Callable[[PageAnswer], PageAnswer]) -> Sequence[web.RouteDef]:
        """All of them; ``guarded`` is put around each, to let in who may see the status."""
        answers: dict[str, PageAnswer] = {
            "/": self._overview,
            "/events": self._events,
            "/repositories": self._repositories,
            "/repository": self._repository,
            "/image": self._image,
            **{f"/static/{name}": partial(self._static, name) for name in STATIC},
        }
        return [web.get(path, guarded(answer), allow_head=False) for path, answer in answers.items()]

    async def refused(self, status: int, title: str, words: str) -> web.Response:
        """A page that says why there is no other."""
        return await self._page("refused", status, here="", title=title, words=words)

    async def _overview(self, _: web.Request) -> web.StreamResponse:
        return await self._page("overview", here="status", view=await self._view())

    async def _static(self, name: str, _: web.Request) -> web.StreamResponse:
        body = await off_loop(self._pool, partial(static_file, name))
        return web.Response(body=body, content_type=STATIC[name], headers=HEADERS)

    async def _repositories(self, request: web.Request) -> web.StreamResponse:
        """What names one image goes there at once."""
        q = request.query.get("q", "").strip()[:_LONGEST]
        if "@sha" in q or q.startswith(("sha256:", "sha512:")) or ":" in q.rpartition("/")[2]:
            return web.HTTPSeeOther(f"/image?{urlencode({'reference': q})}")
        pattern = q if "*" in q else f"*{q}*"
        try:
            found, more = await _first(self._sources.inventory.repositories(pattern), _ROWS)
        except Fault as fault:
            return await self._failed(fault)
        return await self._page("repositories", here="repositories", q=q, repositories=found, more=more)

    async def _repository(self, request: web.Request) -> web.StreamResponse:
        name = request.query.get("name", "")[:_LONGEST]
        try:
            asked = ListRequest(repository=name.replace("*", "").replace("?", ""))
            lines, more = await _first(self._sources.inventory.list(asked), _ROWS)
        except Fault as fault:
            return await self._failed(fault)
        images = [line for line in lines if isinstance(line, ImageLine)]
        return await self._page("repository", here="repositories", name=name, images=images, more=more)

    async def _image(self, request: web.Request) -> web.StreamResponse:
        reference = request.query.get("reference", "")[:_LONGEST]
        try:
            inspection = self._sources.inventory.inspect(InspectRequest(reference=reference))
            lines, more = await _first(inspection, 1 + _PARTS)
        except Fault as fault:
            return await self._failed(fault)
        (image,) = [line for line in lines if isinstance(line, InspectedImage)]
        parts = [line for line in lines if isinstance(line, InspectedPart)]
        return await self._page("image", here="repositories", image=image, parts=parts, more=more)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """The parts of the first page that have changed, as server-sent events (HTML standard, section 9.2)."""
        if self._streams >= _STREAMS:
            return web.Response(status=503, headers=HEADERS, text="too many pages are open")
        self._streams += 1
        try:
            answer = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
            await answer.prepare(request)
            await self._tell(answer)
        except ConnectionError:
            pass  # the page was closed
        finally:
            self._streams -= 1
        return answer

    async def _tell(self, answer: web.StreamResponse) -> None:
        told: Mapping[str, str] = {}
        for _ in range(_LOOKS):
            view = await self._view()
            parts = await off_loop(self._pool, partial(self._templates.blocks, "overview", view=view))
            changed = {name: html for name, html in parts.items() if told.get(name) != html}
            # A comment where nothing has: else nobody would notice that the page was closed.
            await answer.write(f"data: {json.dumps(changed)}\n\n".encode() if changed else b":\n\n")
            told = parts
            if view.state == "stopping":
                return
            await asyncio.sleep(self._every)

    async def _view(self) -> Overview:
        async with aclosing(self._sources.live.live(NothingMore())) as live:
            return overview_of(self._sources.status(), await anext(live), self._sources.held(), time.time())

    async def _page(self, template: str, status: int = 200, /, **values: Any) -> web.Response:
        html = await off_loop(self._pool, partial(self._templates.render, template, **values))
        return web.Response(text=html, status=status, content_type="text/html", headers=HEADERS)

    async def _failed(self, fault: Fault) -> web.Response:
        match fault:
            case RequestFault():
                return await self.refused(400, "This is no name", str(fault))
            case Absent():
                return await self.refused(404, "Not held", str(fault))
            case _:
                return await self.refused(503, "It cannot be told now", str(fault))


async def _first(lines: AsyncGenerator[T, None], most: int) -> tuple[list[T], bool]:
    """As many as there is room and time for; and whether there are more."""
    found: list[T] = []
    until = time.monotonic() + _LOOKING
    async with aclosing(lines):
        async for line in lines:
            if len(found) >= most or (found and time.monotonic() > until):
                return found, True
            found.append(line)
    return found, False

"""The status page, as a browser without JavaScript gets it: one proxy for all stories."""

import asyncio
import json
import os
import re
from base64 import b64encode
from collections.abc import AsyncIterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession

from proxy.admin.live_messages import LiveFill, LiveView
from proxy.admin.page.overview import overview_of
from proxy.admin.page.site import HEADERS, PageTemplates
from proxy.admin.report import CacheReport, LifecycleReport, ScrubReport, Status, TokenReport, UpstreamReport
from tests.cast import FaultUpstream, roles
from tests.scenarios.client import Client, Reply
from tests.scenarios.house import APP, NAME, MiB, blob_path, manifest_path
from tests.scenarios.process import Site, site
from tests.scenarios.shelf import put_image, put_index

TOKEN = "a token of some length"
EVIL = "<img src=x onerror=alert(1)>"
NOTHING = LiveView(at=0, connections=0, requests=0, fills=0, served=0, fetched=0, arriving=(), pulls=())


def status(**changes: Any) -> Status:
    plain = {
        "version": "1",
        "uptime_seconds": 5.0,
        "cache": CacheReport(committed_bytes=0, reserved_bytes=0, soft_limit_bytes=1 << 30, hard_limit_bytes=1 << 30),
        "fills": {"arriving": 0},
        "evicted_bytes": 0,
        "lifecycle": LifecycleReport(),
        "scrub": ScrubReport(contents=0, size=0, bad=0),
        "pins": 0,
        "connections": 0,
        "requests_active": 0,
        "outcomes": {},
        "upstreams": {},
        "aws_tokens": {},
        "immutable_tags_moved": {},
    }
    return Status.model_validate({**plain, **changes})


def test_trouble_comes_first_and_the_registries_that_have_it() -> None:
    upstreams = {
        "ok.test": UpstreamReport(requests=9, bytes=5),
        "down.test": UpstreamReport(
            requests=9, bytes=5, last_fault="it fell", last_fault_seconds_ago=900.0, closed_off=1
        ),
        "scarce.test": UpstreamReport(requests=9, bytes=5, rate_limit=100, rate_limit_remaining=4),
        "shaky.test": UpstreamReport(requests=9, bytes=5, last_fault="it slipped", last_fault_seconds_ago=5.0),
        "off.test": UpstreamReport(requests=0, bytes=0, offline=True),
        "new.test": UpstreamReport(requests=0, bytes=0),
    }
    view = overview_of(
        status(
            upstreams=upstreams,
            degraded={"room": "the disk is full"},
            outcomes={"hit": 6, "stale": 1, "miss": 3, "error": 50},
            aws_tokens={"us-east-1": TokenReport(calls=1, failures=1, expires_in=3600.0, trouble="AccessDenied")},
            immutable_tags_moved={"a.test/x:1": "sha256:0123456789abcdef"},
        ),
        NOTHING.model_copy(update={"served": 400, "fetched": 100}),
        {"ok.test": 3, "": 1},
        1000.0,
    )
    assert view.state == "degraded"
    assert [each.what for each in view.troubles] == [
        *("room", "AWS token of us-east-1", "upstream down.test", "quota of scarce.test", "tag moved"),
    ]
    assert [(row.name, row.state) for row in view.upstreams] == [
        ("down.test", "down"),
        ("shaky.test", "troubled"),
        ("ok.test", "ok"),
        ("scarce.test", "ok"),
        ("new.test", "unused"),
        ("off.test", "offline"),
    ]
    assert (view.hit_ratio, view.bytes_ratio, view.held_in_all) == (0.7, 0.75, 4)
    assert overview_of(status(), NOTHING, {}, 0.0).hit_ratio is None


def test_whatever_others_wrote_is_escaped_in_the_page_and_in_what_keeps_it_fresh() -> None:
    fill = LiveFill(digest=EVIL, repository_name=EVIL, received=1, size=2, clients=1, origins=())
    evil = UpstreamReport(requests=1, bytes=1, last_fault=EVIL, last_fault_seconds_ago=1.0, closed_off=1)
    found = status(
        degraded={EVIL: EVIL}, upstreams={EVIL: evil}, outcomes={EVIL: 1}, immutable_tags_moved={EVIL: EVIL},
        aws_tokens={EVIL: TokenReport(calls=1, failures=1, trouble=EVIL)},
    )  # fmt: skip
    view = overview_of(found, NOTHING.model_copy(update={"arriving": (fill,), "fills": 1}), {EVIL: 1}, 0.0)
    templates = PageTemplates()
    page = templates.render("overview", here="status", view=view)
    parts = templates.blocks("overview", view=view)
    refused = templates.render("refused", here="", title=EVIL, words=EVIL)
    for html in (page, *parts.values(), refused):
        assert "<img" not in html
    assert unescape(page).count(EVIL) >= 12
    assert set(parts) == {"state", "figures", "fills", "upstreams", "held", "outcomes"}
    for name, html in parts.items():
        assert f'<section id="{name}"' in page
        assert html.strip() in page


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("token") / "token"
    path.write_text(TOKEN.replace(" ", "-"))
    path.chmod(0o600)
    return path


@pytest.fixture
async def entrepot(tmp_path: Path, upstream: FaultUpstream, token: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, upstream.url, {"admin_token_file": str(token)}) as running:
        yield running
        await running.stop()


def shown(reply: Reply, status: int = 200) -> str:
    """The page, which is of no other host and runs nothing that stands in it."""
    assert reply.status == status, reply.body
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    for name, value in HEADERS.items():
        assert reply.headers[name.lower()] == value
    html = reply.body.decode()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:", html)
    assert re.findall(r"<script([^>]*)>", html) == [' src="/static/page.js" defer']
    assert all(link.startswith(("/", "#")) for link in re.findall(r'(?:href|src|action)="([^"]*)"', html))
    assert html.count("<h1>") == html.count("<main") == 1
    return html


async def told(answer: ClientResponse) -> dict[str, str]:
    """The next event."""
    assert (answer.status, answer.content_type) == (200, "text/event-stream")
    async for line in answer.content:
        if line.startswith(b"data: "):
            changed: dict[str, str] = json.loads(line.removeprefix(b"data: "))
            return changed
    raise AssertionError("it ended")


async def test_the_page_tells_what_is_held_and_what_arrives_and_leads_down_to_the_layers(
    entrepot: Site, upstream: FaultUpstream
) -> None:
    layer, other = os.urandom(MiB), os.urandom(1000)
    image, second = put_image(upstream, "v1", layer), put_image(upstream, "v2", other)
    index = put_index(upstream, "multi", image, second)
    paths = [manifest_path(tag) for tag in ("v1", "v2", "multi")]
    for path in (*paths, *map(blob_path, (*image.parts, *second.parts))):
        assert (await entrepot.get(path)).status == 200
    gate = asyncio.Event()
    coming = upstream.blob(APP, os.urandom(8 * MiB))
    upstream.plays("blob", roles.holds(4 * MiB, gate))
    reader = await entrepot.pull(blob_path(coming))
    await reader.received(1000)

    page = shown(await entrepot.ask_admin("/"))
    assert f'<a href="/repositories?q={NAME}">{NAME}</a>' in page
    assert coming[:19] in page
    assert 'max="8388608"' in page

    repositories = shown(await entrepot.ask_admin("/repositories?q=library"))
    assert f'<a href="/repository?name={NAME}/{APP}">' in repositories
    assert "None." in shown(await entrepot.ask_admin("/repositories?q=nothing-like-it"))
    repository = shown(await entrepot.ask_admin(f"/repository?name={NAME}/{APP}"))
    for each in (image, second, index):
        assert each.digest[:19] in repository
    shown_index = shown(await entrepot.ask_admin(f"/image?reference={NAME}/{APP}:multi"))
    for digest in (index.digest, *(index.all - {index.digest})):
        assert digest[:19] in shown_index
    assert "1.0MiB" in shown_index
    for query in (f"{NAME}/{APP}:multi", f"{NAME}/{APP}@{image.digest}", str(image.digest)):
        found = await entrepot.ask_admin(f"/repositories?q={query}")
        assert found.status == 303
        shown(await entrepot.ask_admin(found.headers["location"]))
    assert "not held" in shown(await entrepot.ask_admin(f"/image?reference={NAME}/{APP}:none"), 404)
    shown(await entrepot.ask_admin("/image?reference=:::"), 400)

    events = f"http://127.0.0.1:{entrepot.admin}/events"
    async with ClientSession() as session, session.get(events) as answer:
        known = await told(answer)
        assert set(known) == {"state", "figures", "fills", "upstreams", "held", "outcomes"}
        assert coming[:19] in known["fills"]
        gate.set()
        while "Nothing." not in known["fills"]:
            changed = await told(answer)
            assert not [name for name, html in changed.items() if known[name] == html], "only what has changed"
            known |= changed
    reader.leave()


async def test_only_so_many_pages_are_kept_fresh_and_one_that_is_closed_gives_its_place_back(entrepot: Site) -> None:
    events = f"http://127.0.0.1:{entrepot.admin}/events"
    async with ClientSession() as session:
        answers = [await session.get(events) for _ in range(16)]
        for answer in answers:
            await told(answer)
        async with session.get(events) as refused:
            assert refused.status == 503
        answers.pop().close()
        while True:
            async with session.get(events) as answer:
                if answer.status == 200:
                    break
        for answer in answers:
            answer.close()


async def test_who_is_not_on_this_machine_is_asked_for_the_token_by_the_browser_for_all_that_there_is(
    entrepot: Site, token: Path
) -> None:
    async def asked(path: str, **headers: str) -> Reply:
        async with await Client.connect(entrepot.admin) as client:
            await client.ask(path, {"X-Forwarded-For": "192.0.2.1", "Connection": "close", **headers})
            return await client.reply()

    for path in ("/", "/events", "/repositories", "/image?reference=x", "/static/page.js"):
        refused = await asked(path)
        shown(refused, 401)
        assert refused.headers["www-authenticate"] == 'Basic realm="entrepot admin", charset="UTF-8"'
    word = b64encode(b"anybody:" + token.read_bytes()).decode()
    shown(await asked("/", Authorization=f"Basic {word}"))
    shown(await asked("/", Authorization=f"Basic {b64encode(b'anybody:else').decode()}"), 401)
    foreign = await asked("/", Authorization=f"Basic {word}", **{"Sec-Fetch-Site": "cross-site"})
    assert "another site" in shown(foreign, 403)

    for name, kind in (("style.css", "text/css"), ("page.js", "text/javascript"), ("icon.svg", "image/svg+xml")):
        reply = await entrepot.ask_admin(f"/static/{name}")
        assert (reply.status, reply.headers["content-type"]) == (200, kind)
        assert reply.headers["x-content-type-options"] == "nosniff"
    for path in ("/static/nothing", "/static/..%2fpages.py", "/static/"):
        assert (await entrepot.ask_admin(path)).status == 404

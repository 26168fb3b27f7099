"""The status page in a real browser: fresh, at home on small and large screens, in both schemes, by keyboard."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.admin.browser import CHROMIUM, Tab, browser
from tests.cast import FaultUpstream, roles
from tests.scenarios.house import APP, NAME, MiB, blob_path, manifest_path
from tests.scenarios.process import Site, site
from tests.scenarios.shelf import put_image, put_index

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser (apt-get install chromium)"),
]

PICTURES = os.environ.get("ENTREPOT_PICTURES")  # a folder that keeps them
CONTRAST = """
(() => {
  const channels = (color) => {
    const found = color.match(/[0-9.]+/g).map(Number);
    return {rgb: found.slice(0, 3), alpha: found.length > 3 ? found[3] : 1};
  };
  const light = (rgb) => {
    const linear = rgb.map((c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const found = channels(getComputedStyle(at).backgroundColor);
      if (found.alpha === 1) return found.rgb;
    }
    return [255, 255, 255];
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!text || !element.checkVisibility()) continue;
    const [one, other] = [light(channels(getComputedStyle(element).color).rgb), light(ground(element))];
    const contrast = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
    if (contrast < 4.5) poor.push(`${element.tagName} ${element.textContent.trim()}: ${contrast}`);
  }
  return poor;
})()
"""
"""Text that stands out from its ground by less than WCAG 2.2 demands (1.4.3, level AA)."""
BEYOND = """
[...document.querySelectorAll("body *")].filter((element) => {
  const at = element.getBoundingClientRect();
  const hidden = getComputedStyle(element).clipPath !== "none" || element.closest("thead, .skip");
  return !hidden && at.width > 0 && at.right > document.documentElement.clientWidth + 1;
}).map((element) => element.outerHTML.slice(0, 80))
"""
"""What lies beyond the right edge."""
NAMELESS = """
[...document.querySelectorAll("input, button, a, progress, meter, section, nav, [role=region]")].filter((element) =>
  !(element.labels?.length || element.getAttribute("aria-label") || element.textContent.trim())
).map((element) => element.outerHTML.slice(0, 80))
"""
"""What a screen reader has no name for."""


@pytest.fixture
async def entrepot(tmp_path: Path, upstream: FaultUpstream) -> AsyncIterator[Site]:
    upstreams = {NAME: {"url": upstream.url}, "down.test": {"url": "http://127.0.0.1:9"}}
    async with site(tmp_path / "entrepot", upstream.url, {"upstreams": upstreams}) as running:
        yield running
        await running.stop()


@pytest.fixture
async def tab(tmp_path: Path) -> AsyncIterator[Tab]:
    async with browser(tmp_path / "browser") as tab:
        yield tab


async def test_the_page_lives_in_a_browser(entrepot: Site, upstream: FaultUpstream, tab: Tab, tmp_path: Path) -> None:
    image = put_image(upstream, "v1", os.urandom(MiB))
    index = put_index(upstream, "multi", image)
    for path in (*map(manifest_path, ("v1", "multi")), *map(blob_path, image.parts)):
        assert (await entrepot.get(path)).status == 200
    await entrepot.get("/v2/down.test/a/b/manifests/1")
    gate = asyncio.Event()
    coming = upstream.blob(APP, os.urandom(8 * MiB))
    upstream.plays("blob", roles.holds(4 * MiB, gate))
    reader = await entrepot.pull(blob_path(coming))
    await reader.received(1000)

    here = f"http://127.0.0.1:{entrepot.admin}"
    pages = {
        "status": "/",
        "repositories": "/repositories",
        "repository": f"/repository?name={NAME}/{APP}",
        "image": f"/image?reference={NAME}/{APP}@{index.digest}",
        "refused": "/image?reference=nothing.test/a:1",
    }
    for width in (400, 1600):
        for scheme in ("light", "dark"):
            await tab.look(width, scheme)
            for name, path in pages.items():
                await tab.open(here + path)
                assert await tab.run("document.title") != ""
                assert await tab.run(CONTRAST) == [], (name, width, scheme)
                assert await tab.run(BEYOND) == [], (name, width, scheme)
                assert await tab.run(NAMELESS) == [], (name, width, scheme)
                await tab.picture(tmp_path / f"{name}-{width}-{scheme}.png")

    # By keyboard: the first step skips to the content; a search goes off by Enter.
    await tab.open(here)
    await tab.call("Input.dispatchKeyEvent", type="keyDown", key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert await tab.run("document.activeElement.className") == "skip"
    await tab.run("document.getElementById('q').focus()")
    await tab.call("Input.insertText", text=f"{NAME}/{APP}:multi")
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
    await tab.call("Input.dispatchKeyEvent", type="keyDown", **enter)
    await tab.until("location.pathname === '/image' && document.readyState === 'complete'")
    assert await tab.run("document.querySelector('.whole').textContent") == index.digest

    # It changes by itself while a pull goes on, and leaves alone what somebody reads.
    await tab.open(here)
    await tab.run("window.same = true")
    await tab.until("document.querySelector('progress') !== null")
    await tab.run("document.querySelector('#held .table').focus()")
    await tab.run("window.table = document.querySelector('#held .table')")
    gate.set()
    await tab.until("document.querySelector('#fills .quiet') !== null")
    await tab.until("document.querySelector('#outcomes').textContent.includes('fills completed')")
    assert await tab.run("window.same && window.table.isConnected && document.activeElement === window.table")
    reader.leave()

    assert [error for error in tab.errors if "404" not in error] == [], "but for the page that is not there"
    assert {url for url in tab.requested if not url.startswith(f"{here}/")} == set()
    if PICTURES is not None:
        for picture in tmp_path.glob("*.png"):
            shutil.copy(picture, PICTURES)
